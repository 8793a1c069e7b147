"""Names, titles, options and image maps of all methods."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camtrain.attributions import BaseAttribution, GuidedBackprop, InputGradient, SmoothGrad, saliency_map
from camtrain.attributions.guided_grad_cam import GuidedGradCAM
from camtrain.cams import BaseCAM, GradCAM, normalize, resize
from camtrain.gradients import Against, Contrast
from camtrain.methods import (
    FURTHER_METHODS,
    METHODS,
    TITLES,
    image_maps,
    is_differentiable,
    method_class,
    method_named,
    normalized_maps,
)
from camtrain.networks import CIFARResNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=5, width=4).eval()


@pytest.mark.parametrize("name", METHODS)
def test_a_name_is_that_of_the_file(name):
    assert METHODS[name].__module__.rpartition(".")[2] == name
    assert TITLES[name]
    assert method_class(name) is METHODS[name]


def test_no_method_is_forgotten():
    """Every class that ends a line of the family, in the two packages, has a name."""
    found = set()
    bases: list[type] = [BaseCAM, BaseAttribution]
    while bases:
        base = bases.pop()
        if not inspect.isabstract(base) and base.__module__.startswith(("camtrain.cams.", "camtrain.attributions.")):
            found.add(base)
        bases += base.__subclasses__()
    assert found == set(METHODS.values()) | set(FURTHER_METHODS.values())
    assert list(METHODS) == list(TITLES)
    assert len(METHODS) == 19


def test_differentiable_methods_are_those_that_train():
    differentiable = {name for name in METHODS if is_differentiable(name)}
    assert set(METHODS) - differentiable == {
        "score_cam", "ss_cam", "ablation_cam", "guided_grad_cam", "guided_backprop",
    }  # fmt: skip


def test_is_differentiable_hides_no_other_error(monkeypatch):
    def refuse(self, network, *, differentiable):
        raise ValueError("`network`: something else")

    monkeypatch.setattr(GradCAM, "__init__", refuse)
    with pytest.raises(ValueError, match="something else"):
        is_differentiable("grad_cam")


@pytest.mark.parametrize("name", METHODS)
def test_options_go_where_they_are_known(network, name):
    method = method_named(name, network, "layer2", max_batch=3, progress=True, seed=7, num_channels=2)
    assert type(method) is METHODS[name]
    # A method that averages over noise has its seed in its `NoisyImages`.
    settings = vars(method) | (vars(method.noisy) if hasattr(method, "noisy") else {})
    for option, value in {"max_batch": 3, "progress": True, "seed": 7, "num_channels": 2}.items():
        known = option in inspect.signature(METHODS[name]).parameters
        assert (option in settings) == known
        assert not known or settings[option] == value
    if isinstance(method, BaseCAM) and name != "attention_map":  # which has no layer to choose
        assert method.layers(torch.zeros(1, 3, 8, 8)) == [network.layer2]
    if isinstance(method, GuidedGradCAM):
        assert method._cam.layers(torch.zeros(1, 3, 8, 8)) == [network.layer2]


@pytest.mark.parametrize("name", ["num_channels", "max_batch", "num_samples", "num_steps", "seed"])
def test_a_wrong_option_is_named_by_a_method_that_ignores_it(network, name):
    with pytest.raises(ValueError, match=f"`{name}`: expected .*integer, got 2.5"):
        method_named("hi_res_cam", network, **{name: 2.5})


def test_what_does_not_exist_is_named(network):
    with pytest.raises(ValueError, match=r"`method`: none is called 'gradcam'; did you mean .*'grad_cam'"):
        method_named("gradcam", network)
    with pytest.raises(TypeError, match="`max_bach`: no method has an option of that name"):
        method_named("grad_cam", network, max_bach=3)
    with pytest.raises(ValueError, match="`target_layer`: no module is called 'layer9'"):
        method_named("grad_cam", network, "layer9")


def test_maps_at_a_layer_are_resized_then_normalized(network):
    images = torch.rand(2, 3, 16, 24)
    raw = GradCAM(network, "layer2")(images, 3)
    maps = normalized_maps(method_named("grad_cam", network, "layer2"), images, 3)
    torch.testing.assert_close(maps, normalize(resize(raw, (16, 24))))
    # The other order does not reach the same ends.
    assert not torch.allclose(maps, resize(normalize(raw), (16, 24)))


def test_attributions_are_reduced_over_channels(network):
    images = torch.rand(2, 3, 16, 24)
    raw = InputGradient(network)(images, 3)
    torch.testing.assert_close(normalized_maps(InputGradient(network), images, 3), normalize(saliency_map(raw)))
    summed = normalized_maps(InputGradient(network), images, 3, reduction="sum")
    torch.testing.assert_close(summed, normalize(raw.sum(dim=1)))


def test_half_precision_maps_are_float32_and_double_stays(network):
    images = torch.rand(1, 3, 16, 16)
    assert normalized_maps(GuidedBackprop(network.double()), images.double(), 0).dtype == torch.float64
    assert normalized_maps(GuidedBackprop(network.bfloat16()), images.bfloat16(), 0).dtype == torch.float32


def test_image_maps_of_a_differentiable_method_can_be_trained(network):
    images = torch.rand(2, 3, 16, 16)
    normalized_maps(method_named("grad_cam", network, differentiable=True), images, 0).square().mean().backward()
    assert network.conv1.weight.grad.abs().sum() > 0
    assert not normalized_maps(method_named("grad_cam", network), images, 0).requires_grad


def test_a_flat_map_is_zeros():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(network[4].weight)
    for name in ("grad_cam", "smooth_grad"):
        assert not normalized_maps(method_named(name, network, max_batch=4), torch.rand(1, 3, 8, 8), 0).any()


def test_the_seed_decides_the_noise(network):
    images = torch.rand(1, 3, 8, 8)
    first, again, other = (
        normalized_maps(method_named("smooth_grad", network, seed=seed), images, 0) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert isinstance(method_named("smooth_grad", network), SmoothGrad)


# One call ----------------------------------------------------------------------------------------


class Remembering(nn.Module):
    """Keeps the sizes of the batches that it is run on, and whether it is in training mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner, self.sizes, self.modes = network, [], set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(images))
        self.modes.add(self.training)
        return self.inner(images)


@pytest.mark.parametrize(("name", "layer"), [("grad_cam", "layer2"), ("layer_cam", None), ("input_gradient", None)])
def test_one_call_is_the_built_method_in_evaluation_mode(network, name, layer):
    images = torch.rand(3, 3, 16, 24)
    expected = normalized_maps(method_named(name, network, layer), images, 2)
    network.train()
    network.layer1.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    torch.testing.assert_close(image_maps(network, images, name, 2, target_layer=layer), expected, rtol=0, atol=0)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grad_cam_of_the_predicted_class_is_the_default(network):
    images = torch.rand(2, 3, 16, 24)
    torch.testing.assert_close(image_maps(network, images), normalized_maps(GradCAM(network), images))


def test_a_holder_of_a_network_and_a_built_method_are_accepted(network):
    images, holder = torch.rand(2, 3, 16, 24), SimpleNamespace(network=network, mean=(0.5,))
    expected = image_maps(network, images, "layer_cam", target_layer="layer2")
    torch.testing.assert_close(image_maps(holder, images, "layer_cam", target_layer="layer2"), expected)
    built = method_named("layer_cam", network, "layer2")
    torch.testing.assert_close(image_maps(holder, images, built), expected)


def test_options_and_reduction_reach_the_method(network):
    images = torch.rand(2, 3, 8, 8)
    expected = SmoothGrad(network, num_samples=3, noise_level=0.4, seed=2)(images, 1)
    found = image_maps(
        network, images, "smooth_grad", 1, num_samples=3, noise_level=0.4, seed=2, max_batch=4, reduction="sum"
    )
    torch.testing.assert_close(found, normalize(expected.sum(dim=1)))


@pytest.mark.parametrize(
    "class_idx",
    [
        None,
        1,
        torch.tensor(1),
        torch.tensor([0, 1, 2, 3, 4]),
        Contrast(None, 2),
        Against(torch.tensor([4, 3, 2, 1, 0])),
    ],
    ids=repr,
)
def test_large_batches_are_cut_up(network, class_idx):
    images = torch.rand(5, 3, 16, 16)
    expected = normalized_maps(GradCAM(network, "layer2"), images, class_idx)
    remembering = Remembering(network).train()
    maps = image_maps(remembering, images, class_idx=class_idx, target_layer="inner.layer2", max_batch=2)
    torch.testing.assert_close(maps, expected)
    assert remembering.sizes == [2, 2, 1]
    assert remembering.modes == {False}
    assert remembering.training


@pytest.mark.parametrize(
    "class_idx",
    [torch.arange(4) % 2, Contrast(torch.zeros(4, dtype=torch.long), 1), Contrast(1, torch.zeros(1, dtype=torch.long))],
    ids=["index", "contrast", "against"],
)
def test_classes_of_other_images_are_not_taken_for_those_of_a_part(network, class_idx):
    with pytest.raises(ValueError, match=r"`class_idx`: expected one class, or one for each of 2 images, got [41]$"):
        image_maps(network, torch.rand(2, 3, 16, 16), class_idx=class_idx, max_batch=2)


def test_a_network_is_left_in_its_mode_after_an_error(network):
    network.train()
    with pytest.raises(ValueError, match="`class_idx`: expected classes from 0 to 4, got 5"):
        image_maps(network, torch.rand(2, 3, 16, 16), class_idx=5)
    assert network.training


def test_no_images_have_no_maps(network):
    assert image_maps(network, torch.zeros(0, 3, 16, 24), target_layer="layer2").shape == (0, 16, 24)


@pytest.mark.parametrize("name", ["grad_cam", "input_gradient"])
def test_differentiable_maps_of_one_call_can_be_trained(network, name):
    network.train()
    maps = image_maps(network, torch.rand(3, 3, 16, 16), name, 0, differentiable=True, max_batch=2)
    maps.square().mean().backward()
    assert network.conv1.weight.grad.abs().sum() > 0
    assert not image_maps(network, torch.rand(1, 3, 16, 16), name, 0).requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"network": "resnet18"}, TypeError, "`network`: expected an nn.Module, or an object .*, got str"),
        ({"images": [[1.0]]}, TypeError, r"`images`: expected floating-point images \(N, C, H, W\), got list"),
        ({"images": torch.zeros(3, 8, 8)}, ValueError, r"`images`: .*, got torch.float32 of shape \(3, 8, 8\)"),
        ({"images": torch.zeros(1, 3, 8, 8).int()}, TypeError, "`images`: expected floating-point .*, got torch.int"),
        ({"method": "gradcam"}, ValueError, "`method`: none is called 'gradcam'; did you mean"),
        ({"method": GradCAM}, TypeError, "`method`: expected a name or a method built for the network, got <class"),
        ({"method": GradCAM(nn.Identity())}, ValueError, "`method`: .* got a GradCAM for another one"),
        ({"max_bach": 3}, TypeError, "`max_bach`: no method has an option of that name"),
        ({"max_batch": 0}, ValueError, "`max_batch`: expected a positive integer, got 0"),
        ({"reduction": "mean", "method": "input_gradient"}, ValueError, "`reduction`: expected 'max' or 'sum'"),
        ({"method": "score_cam", "differentiable": True}, ValueError, "`differentiable`: expected False, got True"),
    ],
)
def test_wrong_arguments_of_one_call(network, arguments, error, message):
    with pytest.raises(error, match=message):
        image_maps(**({"network": network, "images": torch.zeros(1, 3, 8, 8)} | arguments))


def test_a_built_method_leaves_nothing_to_choose(network):
    images, built = torch.zeros(1, 3, 8, 8), GradCAM(network, "layer2")
    with pytest.raises(ValueError, match="`target_layer`: expected None, since a built method has its target layer"):
        image_maps(network, images, built, target_layer="layer1")
    with pytest.raises(TypeError, match="`seed`: expected no options, since a built method has its own already"):
        image_maps(network, images, built, seed=1)
