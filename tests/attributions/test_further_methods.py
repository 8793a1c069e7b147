"""Occlusion, RISE, DeepLift and GradientSHAP: by hand, against captum's own call, and as all methods are."""

from __future__ import annotations

import sys

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.attributions import RISE, DeepLift, GradientSHAP, IntegratedGradients, Occlusion, rise_masks
from camtrain.gradients import Against, Contrast
from camtrain.messages import CamtrainWarning
from camtrain.methods import FURTHER_METHODS, METHODS, image_maps, method_named, method_names
from camtrain.networks import CIFARResNet
from tests.test_methods_leave_no_trace import (
    TrippedError,
    assert_same,
    make_images,
    make_method,
    make_network,
    surroundings,
    trace,
)

SEEDED = {"seed": 0}
LABELS = torch.tensor([2, 0, 3])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).double().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# As all methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FURTHER_METHODS)
def test_one_calling_convention(name):
    network, images = make_network(name).double(), make_images().double()
    method = make_method(name, network, seed=0)
    with torch.no_grad():
        ranked = network(images).argsort(dim=1, descending=True)
    predicted, runner_up = ranked[:, 0], ranked[:, 1]
    assert method.differentiable is False
    found = method(images, LABELS)
    assert found.shape == images.shape
    assert found.dtype == torch.float64
    near = {"rtol": 1e-5, "atol": 1e-6}  # captum's Occlusion adds up in float32
    torch.testing.assert_close(method(images), method(images, predicted), **near)
    torch.testing.assert_close(method(images, Contrast()), method(images, Contrast(predicted, runner_up)), **near)
    torch.testing.assert_close(method(images, Against(LABELS)), -found, **near)
    contrast = method(images, Contrast(LABELS, predicted))
    torch.testing.assert_close(contrast, found - method(images, predicted), **near)
    alone = torch.cat([method(images[[n]], LABELS[[n]]) for n in range(3)])
    torch.testing.assert_close(found, alone, **near)
    with pytest.raises(ValueError, match="`class_idx`: expected classes from 0 to 3, got 4"):
        method(images, 4)
    with pytest.raises(ValueError, match="`differentiable`: expected False, got True"):
        FURTHER_METHODS[name](network, differentiable=True)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", FURTHER_METHODS)
def test_leaves_no_trace_also_after_an_error(name, training):
    network = make_network(name, training=training)
    method = make_method(name, network)
    before, around = trace(network), surroundings()
    with torch.inference_mode():
        images = make_images()
        first = method(images, LABELS)
        assert torch.equal(method(images, LABELS), first)
    assert_same(before, trace(network))
    assert_same(around, surroundings())
    assert not images.requires_grad
    for fails_at in (0, 1):
        network.tripwire.arm(fails_at)
        with pytest.raises(TrippedError):
            method(images)
        network.tripwire.arm(float("inf"))
    before["tripwire.state"] = trace(network)["tripwire.state"]
    assert_same(before, trace(network))


def test_names():
    assert set(FURTHER_METHODS).isdisjoint(METHODS)
    assert set(method_names("all")).isdisjoint(FURTHER_METHODS)
    assert method_names("rise,shuffled_occlusion") == ["rise", "shuffled_occlusion"]
    with pytest.raises(ValueError, match="did you mean 'deep_lift'"):
        method_names("deeplift")


@pytest.mark.parametrize("name", ["occlusion", "deep_lift", "gradient_shap"])
def test_without_captum(network, monkeypatch, name):
    for module in [module for module in sys.modules if module.partition(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ModuleNotFoundError, match=rf"{name} is computed by captum.*pip install 'camtrain\[captum\]'"):
        method_named(name, network)
    assert method_named("rise", network).num_samples == 1000


# Occlusion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_batch", "largest"), [(1, 3), (2, 3), (7, 6)])  # 3 where the class is found
def test_no_pass_of_occlusion_is_larger_than_max_batch(network, images, max_batch, largest):
    sizes = []
    baseline = images.flip(0)  # another one for each image
    expected = Occlusion(network, window=8, baseline=baseline)(images, LABELS)
    network.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    found = Occlusion(network, window=8, baseline=baseline, max_batch=max_batch)(images, LABELS)
    torch.testing.assert_close(found, expected)
    assert max(sizes[1:]) <= max_batch
    assert max(sizes) == largest


def test_occlusion_by_brute_force(network, images):
    found = Occlusion(network, window=(8, 4), stride=4, baseline=[0.1, 0.2, 0.3], max_batch=7)(images, LABELS)
    total, count = torch.zeros(3, 16, 16).double(), torch.zeros(16, 16)
    with torch.no_grad():
        own = network(images).gather(1, LABELS[:, None])[:, 0]
        for y in range(0, 9, 4):
            for x in range(0, 13, 4):
                hidden = images.clone()
                hidden[:, :, y : y + 8, x : x + 4] = torch.tensor([0.1, 0.2, 0.3]).double().view(3, 1, 1)
                loss = own - network(hidden).gather(1, LABELS[:, None])[:, 0]
                total[:, y : y + 8, x : x + 4] += loss.view(3, 1, 1)
                count[y : y + 8, x : x + 4] += 1
    expected = total / count
    torch.testing.assert_close(found, expected.unsqueeze(1).expand_as(found), rtol=1e-4, atol=1e-7)
    direct = captum.attr.Occlusion(network).attribute(
        images, target=LABELS, sliding_window_shapes=(3, 8, 4), strides=(3, 4, 4),
        baselines=torch.tensor([0.1, 0.2, 0.3]).double().view(1, 3, 1, 1).expand_as(images),
    )  # fmt: skip
    torch.testing.assert_close(found, direct.double())
    # The map is the loss, and not its magnitude.
    low, high = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    maps = image_maps(network, images, "occlusion", LABELS, window=(8, 4), stride=4, baseline=[0.1, 0.2, 0.3])
    torch.testing.assert_close(maps, (expected - low) / (high - low), rtol=0, atol=1e-4)


def test_sizes_of_windows(network, images):
    assert Occlusion(network)._sizes((224, 100)) == ((28, 13), (14, 7))
    with pytest.raises(ValueError, match="`window`: expected at most 16×16, the image, got 17×17"):
        Occlusion(network, window=17)(images)
    with pytest.raises(ValueError, match="`stride`: expected at most the window, 4×4, got 5×5"):
        Occlusion(network, window=4, stride=5)(images)
    with pytest.raises(ValueError, match="`window`: expected one number of pixels, or two"):
        Occlusion(network, window=(3, 8, 8))
    assert Occlusion(network)(images[:0]).shape == (0, 3, 16, 16)


# RISE --------------------------------------------------------------------------------------------


def test_rise_by_hand(network, images):
    masks = rise_masks((16, 16), 6, generator=torch.Generator().manual_seed(4)).double()
    assert ((masks >= 0) & (masks <= 1)).all()
    with torch.no_grad():
        scores = torch.stack([network(images * mask).softmax(1)[torch.arange(3), LABELS] for mask in masks])
    expected = torch.einsum("kn,khw->nhw", scores, masks) / (6 * 0.5)
    for max_batch in (1, 4, 100):
        found = RISE(network, num_samples=6, seed=4, max_batch=max_batch)(images, LABELS)
        torch.testing.assert_close(found, expected.unsqueeze(1).expand_as(found))


def test_rise_finds_what_the_network_sees():
    class Corner(nn.Module):
        def forward(self, images):
            return 20 * (images[:, :1, :8, :8].mean(dim=(2, 3)) - 0.5)

    map_ = image_maps(Corner(), torch.ones(1, 3, 32, 32), "rise", 1, num_samples=400, seed=0)[0]
    assert map_[:8, :8].mean() > 2 * map_[16:, 16:].mean()
    assert map_.argmax() // 32 < 10


# DeepLift ----------------------------------------------------------------------------------------


class Modules(nn.Sequential):
    """No module runs twice."""

    def __init__(self):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))


@pytest.mark.filterwarnings("ignore:Input Tensor 0", "ignore:Setting ")
def test_deep_lift_is_captums(images):
    network = Modules().double()
    baseline = torch.full_like(images, 0.25)
    expected = captum.attr.DeepLift(network).attribute(images, baseline, target=LABELS)
    # captum's max pooling is not complete with this baseline.
    torch.testing.assert_close(DeepLift(network, 0.25, tolerance=None)(images, LABELS), expected.detach())


@pytest.mark.filterwarnings("ignore:Input Tensor 0", "ignore:Setting ")
def test_deep_lift_of_a_residual_network_is_complete(network, images):
    """Its ReLU modules run twice in each block, which captum refuses; its attributions add up all the same."""
    with pytest.raises(RuntimeError, match="only once"):
        captum.attr.DeepLift(network).attribute(images, target=1)
    found = DeepLift(network)(images, LABELS)
    with torch.no_grad():
        gain = network(images) - network(torch.zeros_like(images))
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), gain[torch.arange(3), LABELS])
    assert not hasattr(network.layer1[0].relu, "copies")


@pytest.mark.parametrize("max_batch", [1, 2, 4])
def test_no_pass_of_deep_lift_is_larger_than_max_batch(network, images, max_batch):
    sizes = []
    expected = DeepLift(network)(images, LABELS)
    network.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    found = DeepLift(network, max_batch=max_batch)(images, LABELS)
    torch.testing.assert_close(found, expected)
    assert max(sizes) == max(max_batch, 2)  # an image and its baseline


def test_deep_lift_warns_of_functions(images):
    class Functional(Modules):
        def forward(self, images):
            features = F.relu(self[3](F.relu(self[0](images - 0.5))))
            return self[7](features.mean(dim=(2, 3)))

    with pytest.warns(CamtrainWarning, match="DeepLift: the attributions of . of 3 images do not add up"):
        DeepLift(Functional().double())(images, LABELS)
    DeepLift(Functional().double(), tolerance=None)(images, LABELS)


# GradientSHAP ------------------------------------------------------------------------------------


def test_gradient_shap_is_captums(network, images):
    baselines = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    found = GradientSHAP(network, baselines, num_samples=5, noise=0.1, seed=7)(images, LABELS)
    for number in range(3):
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        one = captum.attr.GradientShap(network)
        expected = one.attribute(images[[number]], baselines, n_samples=5, stdevs=0.1, target=LABELS[[number]])
        torch.testing.assert_close(found[[number]], expected.detach())


def test_gradient_shap_comes_near_integrated_gradients(network, images):
    many = GradientSHAP(network, num_samples=300, seed=0)(images, LABELS)
    exact = IntegratedGradients(network, num_steps=200, tolerance=None)(images, LABELS)
    assert (many - exact).norm() < 0.1 * exact.norm()


def test_baselines_that_do_not_fit(network, images):
    with pytest.raises(ValueError, match=r"`baselines`: expected \(B, 3, 16, 16\) .*, got \(2, 3, 8, 8\)"):
        GradientSHAP(network, torch.zeros(2, 3, 8, 8))(images)
    with pytest.raises(ValueError, match="`baseline`: expected finite values"):
        GradientSHAP(network, float("nan"))
