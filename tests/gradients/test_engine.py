from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.gradients import InputGradientPenalty
from camtrain.gradients.engine import forward_pass, input_gradients, penalties

LABELS = torch.tensor([0, 2, 1])


def network_with(*layers):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    return network.double()


def images():
    torch.manual_seed(1)
    return torch.randn(3, 3, 6, 6, dtype=torch.float64)


def cross_entropy(logits):
    return F.cross_entropy(logits, LABELS[: len(logits)])


def found_in(network, inputs, **settings):
    penalty = InputGradientPenalty(lambda gradients, _guided: gradients.flatten(1).sum(1), **settings)
    return found_by(network, inputs, cross_entropy, penalty)


def found_by(network, inputs, loss, penalty):
    return input_gradients(forward_pass(network, inputs, loss, penalty), penalty, create_graph=False)


def test_gradients_are_those_of_each_image_alone():
    network, inputs = network_with(), images()
    found = found_in(network, inputs, needs_guided_gradient=True)
    for i in range(3):
        image = inputs[i : i + 1].clone().requires_grad_()
        loss = F.cross_entropy(network(image), LABELS[i : i + 1])
        torch.testing.assert_close(found.gradients[i : i + 1], torch.autograd.grad(loss, image)[0])
        penalty = InputGradientPenalty(lambda g, _: g.sum((1, 2, 3)), needs_guided_gradient=True)
        alone = found_by(network, image, lambda logits, i=i: F.cross_entropy(logits, LABELS[i : i + 1]), penalty)
        torch.testing.assert_close(found.guided_gradients[i : i + 1], alone.guided_gradients)
    assert not inputs.requires_grad


def test_the_guided_gradient_is_taken_only_where_it_is_needed():
    without_relus = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 3)).double()
    assert found_in(without_relus, images()).guided_gradients is None
    with pytest.raises(ValueError, match="no ReLU-like activation"):
        found_in(without_relus, images(), needs_guided_gradient=True)


@pytest.mark.parametrize(("statistics", "leaks"), [("batch", True), ("running", False)])
def test_batch_statistics_leak_between_images_and_running_ones_do_not(statistics, leaks):
    # The loss looks at image 0 only: what reaches the others came through BatchNorm.
    network = network_with(nn.BatchNorm2d(4))
    penalty = InputGradientPenalty(lambda g, _: g.sum((1, 2, 3)), True, statistics)
    found = found_by(network, images(), lambda logits: F.cross_entropy(logits[:1], LABELS[:1]), penalty)
    for gradients in (found.gradients, found.guided_gradients):
        own, others = gradients[0].norm(), gradients[1:].norm()
        assert own > 0
        assert (others > 0.01 * own) if leaks else (others == 0)


def test_running_statistics_are_those_that_evaluation_uses_after_this_step():
    network, inputs = network_with(nn.BatchNorm2d(4, momentum=0.5)), images()
    found = found_in(network, inputs, batch_norm_statistics="running")
    assert network[1].num_batches_tracked == 1
    assert all(module.training for module in network.modules())
    network.eval()
    leaf = inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(network(leaf), LABELS, reduction="sum"), leaf)
    torch.testing.assert_close(found.gradients, expected)


def test_the_second_forward_draws_the_same_dropout_masks():
    class Recorded(nn.Dropout):
        def forward(self, activations):
            output = super().forward(activations)
            self.masks.append(output.detach() == 0)
            return output

    dropout = Recorded(0.5)
    dropout.masks = []
    network = network_with(dropout, nn.BatchNorm2d(4))
    torch.manual_seed(0)
    found_in(network, images(), batch_norm_statistics="running")
    after = torch.get_rng_state()
    first, second = dropout.masks
    assert torch.equal(first, second)
    assert 0.3 < first.double().mean() < 0.7
    # The generator goes on from where one forward pass leaves it.
    torch.manual_seed(0)
    network(images())
    assert torch.equal(torch.get_rng_state(), after)


def test_the_penalty_is_computed_outside_autocast():
    def product(gradients, _guided):
        flat = gradients.flatten(1)
        return (flat @ flat.T).diagonal()

    with torch.autocast("cpu", torch.bfloat16):
        network, penalty = network_with().float(), InputGradientPenalty(product)
        forward = forward_pass(network, images().float(), cross_entropy, penalty)
        found = input_gradients(forward, penalty, create_graph=False)
        each = penalties(penalty, found)
    assert forward.logits.dtype == torch.bfloat16
    assert each.dtype == torch.float32
    torch.testing.assert_close(each, found.gradients.flatten(1).square().sum(1))


def test_only_the_pass_whose_gradients_are_penalized_is_watched():
    class Watching:
        inside = False

        def __enter__(self):
            self.inside = True

        def __exit__(self, *_):
            self.inside = False

    for statistics, expected in (("batch", [True, True]), ("running", [False, True, True, False])):
        watching, seen, network = Watching(), [], network_with(nn.BatchNorm2d(4))

        def loss(logits, watching=watching, seen=seen):
            seen.append(watching.inside)
            return cross_entropy(logits)

        network.register_forward_hook(lambda *_, w=watching, s=seen: s.append(w.inside))
        penalty = InputGradientPenalty(lambda g, _: g.sum((1, 2, 3)), False, statistics)
        forward = forward_pass(network, images(), loss, penalty, watching)
        assert seen == expected
        assert (forward.explained is forward.classification) == (statistics == "batch")
