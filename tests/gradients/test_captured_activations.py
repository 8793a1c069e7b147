from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camtrain.gradients import captured_activations


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 9, 2))


def deeper_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 2), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 4, 2)
    ).double()


def images(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(2, 3, 5, 5, dtype=dtype)


# One layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"differentiable": True}, {"differentiable": False}, {"gradients": False}], ids=str
)
def test_captures_what_the_layer_puts_out_before_the_next_one_works_in_place(options):
    model = network()
    with captured_activations(model[0], **options) as captured:
        output = model(images())
    expected = model[0](images())
    assert (expected < 0).any(), "otherwise the in-place ReLU changes nothing"
    assert torch.equal(captured.activations, expected)
    assert torch.equal(output, model(images())), "capturing changes no result"


@pytest.mark.parametrize("differentiable", [True, False])
def test_the_gradient_at_the_layer(differentiable):
    model = network()
    with captured_activations(model[0], differentiable=differentiable) as captured:
        score = model(images())[:, 1].sum()
    (found,) = torch.autograd.grad(score, captured.activations)
    activations = captured.activations.detach()
    expected = model[3].weight[1].reshape(1, 4, 3, 3) * (activations > 0)
    assert torch.equal(found, expected)


def test_only_a_differentiable_capture_keeps_what_lies_before_the_layer():
    model = network()
    with captured_activations(model[0], differentiable=True) as captured:
        model(images())
    assert torch.autograd.grad(captured.activations.sum(), model[0].weight)[0].abs().sum() > 0
    with captured_activations(model[0], differentiable=False) as captured:
        score = model(images()).sum()
    assert captured.activations.is_leaf
    assert torch.autograd.grad(score, model[0].weight, allow_unused=True)[0] is None


def test_works_where_gradients_are_off():
    model = network()
    with torch.no_grad(), captured_activations(model[0], differentiable=False) as captured:
        model[:1](images())
    assert captured.activations.requires_grad


def test_no_graph_where_no_gradients_are_wanted():
    model = network()
    with captured_activations(model[0], gradients=False) as captured:
        logits = model(images())
    assert not captured.activations.requires_grad
    assert not logits.requires_grad
    with (
        pytest.raises(ValueError, match="`differentiable`: expected False where no gradients are captured, got True"),
        captured_activations(model[0], gradients=False, differentiable=True),
    ):
        pass


# What lies before the layer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"differentiable": True}, [True, True, True, True]),
        ({"differentiable": False}, [False, False, True, True]),
        ({"gradients": False}, [False, False, False, False]),
    ],
    ids=str,
)
def test_what_lies_before_the_layer_is_run_without_a_graph(options, expected):
    model, enabled = deeper_network(), []
    for module in (model[0], model[2], model[3], model[5]):
        module.register_forward_pre_hook(lambda *_: enabled.append(torch.is_grad_enabled()))
    with captured_activations(model[2], **options):
        model(images(torch.float64))
    assert enabled == expected


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize(
    "options", [{"differentiable": True}, {"differentiable": False}, {"gradients": False}], ids=str
)
@pytest.mark.parametrize("fails", [False, True])
def test_gradients_are_on_or_off_afterwards_as_before(outside, options, fails):
    model = deeper_network()
    if fails:
        model[5] = nn.Linear(1, 1)  # the pass ends with an error of torch's, behind the layer
    with torch.set_grad_enabled(outside):
        try:
            with captured_activations(model[2], **options):
                model(images(torch.float64))
        except RuntimeError:
            assert fails
        assert torch.is_grad_enabled() == outside


def test_a_pass_under_autocast_leaves_the_next_one_its_graph():
    model = network()
    with torch.autocast("cpu", torch.bfloat16):
        for options in ({"differentiable": False}, {"gradients": False}):
            with captured_activations(model[1], **options):
                model(images())
            loss = model(images()).float().sum()
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            assert all(gradient.abs().amax() > 0 for gradient in gradients)


# Several layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("differentiable", [True, False])
@pytest.mark.parametrize("numbers", [(0, 2), (2, 0), (2, 0, 3), (1, 3)])
def test_several_layers_in_one_pass(differentiable, numbers):
    model, batch = deeper_network(), images(torch.float64)
    with captured_activations([model[number] for number in numbers], differentiable=differentiable) as captured:
        score = model(batch)[:, 1].sum()
    found = torch.autograd.grad(score, captured.of_layers)
    for number, activations, gradients in zip(numbers, captured.of_layers, found, strict=True):
        # By hand: the network cut in two behind the layer. Its ReLU works in place on what the first layer puts out.
        expected = model[: number + 1](batch).detach()
        assert torch.equal(activations, expected)
        leaf = expected.clone().requires_grad_()
        (by_hand,) = torch.autograd.grad(model[number + 1 :](leaf.clone())[:, 1].sum(), leaf)
        torch.testing.assert_close(gradients, by_hand, rtol=1e-12, atol=1e-14)
        assert by_hand.abs().amax() > 0


def test_the_graph_begins_at_the_layer_that_runs_first():
    model = deeper_network()
    with captured_activations([model[2], model[0]]) as captured:
        score = model(images(torch.float64)).sum()
    last, first = captured.of_layers
    assert first.is_leaf
    assert not last.is_leaf
    before, behind = torch.autograd.grad(score, [model[0].weight, model[2].weight], allow_unused=True)
    assert before is None
    assert behind.abs().amax() > 0


def test_a_block_and_the_layer_it_ends_with():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
    model = nn.Sequential(block, nn.Flatten(), nn.Linear(4 * 9, 2))
    with captured_activations([block, block[1]]) as captured:
        score = model(images())[:, 0].sum()
    of_block, of_layer = captured.of_layers
    assert torch.equal(of_block, of_layer)
    outer, inner = torch.autograd.grad(score, [of_block, of_layer])
    assert torch.equal(outer, inner)
    assert outer.abs().amax() > 0


def test_layers_on_two_branches():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(36, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head((self.left(images) * self.right(images)).flatten(1))

    torch.manual_seed(0)
    model = Branches().double()
    with captured_activations([model.right, model.left]) as captured:
        score = model(images(torch.float64))[:, 0].sum()
    right, left = captured.of_layers
    of_right, of_left = torch.autograd.grad(score, [right, left])
    row = model.head.weight[0].view(1, 4, 3, 3)
    torch.testing.assert_close(of_right, row * left)
    torch.testing.assert_close(of_left, row * right)


def test_one_layer_is_expected_where_its_activations_are_asked_for():
    model = network()
    with captured_activations([model[0], model[1]]) as captured:
        model(images())
    with pytest.raises(ValueError, match="`target_layer`: expected one layer, got 2"):
        captured.activations


# Layouts -----------------------------------------------------------------------------------------


class Doubled:
    """Maps that lie in the output at half their size and channels last, behind one row that is none of them."""

    def maps(self, output: Tensor) -> Tensor:
        return 2 * output[:, 1:].movedim(3, 1)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        return torch.cat([output[:, :1], maps.movedim(1, 3) / 2], dim=1)


@pytest.mark.parametrize("differentiable", [True, False])
def test_maps_flow_on_in_the_layout_of_the_layer(differentiable):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2), nn.Flatten(), nn.Linear(2 * 15, 2)).double()
    batch, seen = torch.randn(2, 3, 5, 5, dtype=torch.float64), []

    def layout_of(output, layer):
        seen.append((tuple(output.shape), layer))
        return Doubled()

    with captured_activations(model[1], differentiable=differentiable, layout_of=layout_of) as captured:
        logits = model(batch)
    assert torch.equal(logits, model(batch)), "capturing changes no result"
    assert seen == [((2, 3, 5, 4), model[1])]
    expected = 2 * model[:2](batch)[:, 1:].movedim(3, 1)
    assert torch.equal(captured.activations, expected)
    (found,) = torch.autograd.grad(logits[:, 1].sum(), captured.activations)
    leaf = model[:2](batch).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model[2:](leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(found, gradient[:, 1:].movedim(3, 1) / 2, rtol=1e-12, atol=1e-14)


# Errors ------------------------------------------------------------------------------------------


def test_the_hooks_are_removed_also_after_an_error():
    model = network()
    with pytest.raises(RuntimeError, match="inside"), captured_activations([model[0], model[1]]):
        raise RuntimeError("inside")
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_runs_never_or_twice_or_puts_out_no_map():
    model = network()
    with captured_activations(model[0], differentiable=True) as captured:
        pass
    with pytest.raises(ValueError, match="it ran 0 times"):
        captured.activations
    with captured_activations(model[0], differentiable=True) as captured:
        model(images())
        model(images())
    with pytest.raises(ValueError, match="it ran 2 times; choose the block around it"):
        captured.activations
    with (
        captured_activations(model[3], differentiable=True),
        pytest.raises(ValueError, match=r"puts out \(N, C, h, w\), got \(2, 2\)"),
    ):
        model(images())
