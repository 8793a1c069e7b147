"""The ReLU at the end of a map, and the gradient that it may leave to a flat map."""

from __future__ import annotations

import pytest
import torch

from camtrain.cams import GradCAM, XGradCAM, grad_cam
from camtrain.cams.rectified import rectified
from camtrain.networks import CIFARResNet

MAPS = torch.tensor([[[3.0, -1.0]], [[-1.0, -3.0]], [[0.0, 0.0]]], dtype=torch.float64)
WEIGHTS = torch.tensor([[[5.0, 7.0]], [[5.0, 7.0]], [[5.0, 7.0]]], dtype=torch.float64)


def gradient(*, revived):
    maps = MAPS.clone().requires_grad_()
    found = rectified(maps, revived=revived)
    assert torch.equal(found, MAPS.relu())
    (found * WEIGHTS).sum().backward()
    return maps.grad


def test_without_reviving_it_is_the_relu():
    assert gradient(revived=False).tolist() == [[[5, 0]], [[0, 0]], [[0, 0]]]


def test_a_flat_map_has_the_gradient_of_the_map_over_its_mean_magnitude():
    """The mean magnitude of the second map is 2."""
    alive, flat, zeros = gradient(revived=True)
    assert alive.tolist() == [[5, 0]]
    assert flat.tolist() == [[2.5, 3.5]]
    assert zeros.tolist() == [[0, 0]]


@pytest.mark.parametrize("method", [GradCAM, XGradCAM])
def test_only_flat_maps_of_a_method_change_their_gradient(method):
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=4, num_classes=3).double().eval()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)

    def found(*, revived):
        made = method(network, "layer3", differentiable=True)
        made.revives_flat_maps = revived
        maps = made(images, torch.arange(8) % 3)
        return maps, [torch.autograd.grad(one.sum(), network.parameters(), retain_graph=True, allow_unused=True)
                      for one in maps]  # fmt: skip

    (plain, of_plain), (revived, of_revived) = found(revived=False), found(revived=True)
    assert torch.equal(plain, revived)
    is_flat = plain.flatten(1).amax(1) == 0
    assert 0 < int(is_flat.sum()) < 8
    for flat, first, second in zip(is_flat, of_plain, of_revived, strict=True):
        size = sum(float(each.abs().sum()) for each in second if each is not None)
        before = sum(float(each.abs().sum()) for each in first if each is not None)
        assert (before == 0) == bool(flat)
        assert size > 0
        if not flat:
            for one, other in zip(first, second, strict=True):
                assert (one is None) == (other is None)
                assert one is None or torch.equal(one, other)


def test_the_class_makes_the_map_of_the_function():
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=4, num_classes=3).eval()
    images = torch.randn(4, 3, 16, 16)
    ((activations, gradients),) = GradCAM(network, "layer3").derivatives(images, 1)
    assert torch.equal(GradCAM(network, "layer3")(images, 1), grad_cam(activations, gradients).detach())
