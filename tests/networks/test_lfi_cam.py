"""The feature importance network by hand, and its gradient in float64."""

from __future__ import annotations

import math

import torch
from torch import nn

from camtrain.networks import FeatureImportanceHead
from camtrain.networks.lfi_cam import unit_range


def by_hand(features, images) -> FeatureImportanceHead:
    head = FeatureImportanceHead(channels=2, blocks=1)
    head.blocks, head.norm = nn.Identity(), nn.Identity()
    return head(features, images).attention


def test_values_by_hand():
    """Of the masked images alone; a gray image of ones is not seen."""
    features = torch.tensor([[[[0.0, 4.0], [2.0, 2.0]], [[-1.0, -1.0], [-1.0, 3.0]]]])
    # Masks (0, 1, ½, ½) and (0, 0, 0, 1) with means ½ and ¼: weights e^½ and e^¼, by their sum.
    first = math.exp(0.5) / (math.exp(0.5) + math.exp(0.25))
    second = 1 - first
    cam = [-second, 4 * first - second, 2 * first - second, 2 * first + 3 * second]
    assert cam[0] < 0 < cam[2] < cam[1] < cam[3]
    expected = torch.tensor([0, cam[1] / cam[3], cam[2] / cam[3], 1]).view(1, 1, 2, 2)
    torch.testing.assert_close(by_hand(features, torch.ones(1, 3, 2, 2)), expected)


def test_the_gray_image_weights_the_channels():
    """A channel at a dark pixel counts less than one at a bright pixel."""
    features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    images = torch.tensor([0.0, 3.0, 6.0]).view(1, 3, 1, 1) * torch.tensor([[0.2, 1.0]])  # gray 0.6 and 3
    attention = by_hand(features, images)
    # The importances are softmax(0.3, 1.5), so that the map is (w₁, w₂), of which the range is all of [0, 1].
    torch.testing.assert_close(attention, torch.tensor([[[[0.0, 1.0]]]]))
    head = FeatureImportanceHead(channels=2, blocks=1)
    head.blocks, head.norm = nn.Identity(), nn.Identity()
    torch.testing.assert_close(head.importance(features, images), torch.tensor([[0.3, 1.5]]).softmax(dim=1))
    # Resized: of four columns the pairs are averaged.
    wide = images.repeat_interleave(2, dim=3) + torch.tensor([-0.1, 0.1, -0.2, 0.2])
    torch.testing.assert_close(head.importance(features, wide), head.importance(features, images))


def test_an_image_is_attended_whatever_is_beside_it():
    torch.manual_seed(0)
    head = FeatureImportanceHead(channels=4, width=3).double().eval()
    features, images = torch.randn(3, 4, 5, 6).double(), torch.rand(3, 3, 20, 24).double()
    features[1] *= 10
    together = head(features, images)
    assert together.logits is None
    for number in range(3):
        alone = head(features[number : number + 1], images[number : number + 1]).attention
        torch.testing.assert_close(alone[0], together.attention[number])
        assert [extremum.item() for extremum in alone.detach().aminmax()] == [0, 1]


def test_flat_maps_have_no_attention_and_a_gradient_of_zero():
    head = FeatureImportanceHead(channels=2).eval()
    for value in (0.0, 2.0, -1.0):
        features = torch.full((1, 2, 3, 3), value, requires_grad=True)
        attention = head(features, torch.rand(1, 3, 9, 9)).attention
        assert not attention.any()
        (gradient,) = torch.autograd.grad(attention.sum(), features)
        assert not gradient.any()


def test_unit_range_is_that_of_each_map():
    maps = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(unit_range(maps), (maps - low) / (high - low))
    assert torch.autograd.gradcheck(unit_range, maps)
    assert torch.autograd.gradgradcheck(unit_range, maps)


def test_gradients_are_finite_in_float16():
    """A division by less than its smallest normal number has a gradient that overflows, whatever the loss scale."""
    maps = torch.zeros(1, 2, 2, 2, dtype=torch.float16)
    maps[0, 0, 0, 0], maps[0, 1, 0, 0] = 2e-6, 2e-4
    maps.requires_grad_()
    found = unit_range(maps)
    assert found[0, :, 0, 0].tolist() == [0, 1]
    found.sum().backward()
    assert bool(maps.grad.isfinite().all())


def test_gradient():
    torch.manual_seed(0)
    head = FeatureImportanceHead(channels=2, width=3, blocks=1).double().eval()
    features = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)

    def attention(features, images, *_):
        return head(features, images).attention

    inputs = (features, images, head.expand.weight, head.blocks[0].conv1.weight)
    # What the official code has none of: a gradient at the weights of the network that says what is important.
    gradients = torch.autograd.grad(attention(*inputs).square().sum(), inputs)
    assert all(float(gradient.norm()) > 1e-4 for gradient in gradients)
    assert torch.autograd.gradcheck(attention, inputs)
    assert torch.autograd.gradgradcheck(attention, inputs, fast_mode=True)
