"""Names, titles, options and image maps of all methods."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from camtrain.attributions import BaseAttribution, GuidedBackprop, InputGradient, SmoothGrad, saliency_map
from camtrain.attributions.guided_grad_cam import GuidedGradCAM
from camtrain.cams import BaseCAM, GradCAM, normalize, resize
from camtrain.methods import METHODS, TITLES, image_maps, is_differentiable, method_class, method_named
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
        if not inspect.isabstract(base) and base.__module__.startswith("camtrain."):
            found.add(base)
        bases += base.__subclasses__()
    assert found == set(METHODS.values())
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
    maps = image_maps(method_named("grad_cam", network, "layer2"), images, 3)
    torch.testing.assert_close(maps, normalize(resize(raw, (16, 24))))
    # The other order does not reach the same ends.
    assert not torch.allclose(maps, resize(normalize(raw), (16, 24)))


def test_attributions_are_reduced_over_channels(network):
    images = torch.rand(2, 3, 16, 24)
    raw = InputGradient(network)(images, 3)
    torch.testing.assert_close(image_maps(InputGradient(network), images, 3), normalize(saliency_map(raw)))
    summed = image_maps(InputGradient(network), images, 3, reduction="sum")
    torch.testing.assert_close(summed, normalize(raw.sum(dim=1)))


def test_half_precision_maps_are_float32_and_double_stays(network):
    images = torch.rand(1, 3, 16, 16)
    assert image_maps(GuidedBackprop(network.double()), images.double(), 0).dtype == torch.float64
    assert image_maps(GuidedBackprop(network.bfloat16()), images.bfloat16(), 0).dtype == torch.float32


def test_image_maps_of_a_differentiable_method_can_be_trained(network):
    images = torch.rand(2, 3, 16, 16)
    image_maps(method_named("grad_cam", network, differentiable=True), images, 0).square().mean().backward()
    assert network.conv1.weight.grad.abs().sum() > 0
    assert not image_maps(method_named("grad_cam", network), images, 0).requires_grad


def test_a_flat_map_is_zeros():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(network[4].weight)
    for name in ("grad_cam", "smooth_grad"):
        assert not image_maps(method_named(name, network, max_batch=4), torch.rand(1, 3, 8, 8), 0).any()


def test_the_seed_decides_the_noise(network):
    images = torch.rand(1, 3, 8, 8)
    first, again, other = (image_maps(method_named("smooth_grad", network, seed=seed), images, 0) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert isinstance(method_named("smooth_grad", network), SmoothGrad)
