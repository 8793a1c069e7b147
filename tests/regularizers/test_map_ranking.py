"""HINT's ranking loss: values by hand, and the whole against a loop over pairs in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain import Objective
from camtrain.regularizers import GradientNorm, MapRanking, RightForRightReasons, Sum, Term
from camtrain.regularizers.map_ranking import rank_violations
from tests.regularizers.smooth_network import batch, smooth_network

LAYER = "4"


def test_violations_by_hand():
    importance = torch.tensor([[0.5, 0.9, 0.25, 0.75]])
    # Pairs: (0, 2), (0, 3), (1, 2), (1, 3) and (0, 1); 0.4 of the last and 0.25 of (0, 3) are violations.
    found = rank_violations(importance, torch.tensor([[1.0, 0.5, 0.0, 0.0]]))
    assert found.values.item() == pytest.approx((0.4 + 0.25) / 5)
    assert found.counted.tolist() == [True]


def test_equal_regions_are_not_ordered():
    importance = torch.tensor([[0.5, 0.9, 0.25]])
    for human in (0.0, 1.0):
        found = rank_violations(importance, torch.full((1, 3), human))
        assert (found.values.item(), found.counted.item()) == (0.0, False)
    third = torch.tensor([[1 / 3, 1 / 3 - 1e-7, 0.0]])
    assert rank_violations(importance, third).values.item() == 0.0


def test_an_image_by_hand():
    """Regions of 2×2 pixels, of which the object covers 4, 1, 0 and 0."""
    cams = torch.tensor([[[1.0, 1.0, 8.0, 0.0], [1.0, 1.0, 0.0, 8.0], [0.0, -8.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, :2, :3] = True
    masks[0, 1, 2] = False
    # The means are 1, 4, -2 and 1/2, divided by 4; region 1 is more important than region 0.
    found = MapRanking(grid=2)(cams, masks)
    assert found.values.item() == pytest.approx((4 - 1) / 4 / 5)
    assert MapRanking(grid=2)(1e-6 * cams, masks).values.item() == pytest.approx((4 - 1) / 4 / 5)
    # Negated, regions 2 and 3 are more important than regions 0 and 1.
    assert MapRanking(grid=2)(-cams, masks).values.item() == pytest.approx((3 + 0.5 + 6 + 3.5) / 4 / 5)


def test_an_object_that_fills_the_image_does_not_count():
    cams = torch.rand(2, 12, 12)
    masks = torch.ones(2, 12, 12, dtype=torch.bool)
    masks[1, 0, 0] = False
    assert MapRanking()(cams, masks).counted.tolist() == [False, True]


def loop_loss(network, images, labels, masks, grid):
    """L at λ = 0.7, image by image, region by region, pair by pair; the last image is not annotated."""
    edges = [(math.floor(k * 8 / grid), math.ceil((k + 1) * 8 / grid)) for k in range(grid)]
    total = F.cross_entropy(network(images), labels)
    for image, label, mask in zip(images[:3], labels[:3].tolist(), masks[:3], strict=True):
        activations = network[:5](image[None])
        (gradients,) = torch.autograd.grad(network[5:](activations)[0, label], activations, create_graph=True)
        cam = F.interpolate((gradients * activations).sum(1)[:, None], size=(8, 8), mode="bilinear")[0, 0]
        windows = [(slice(*rows), slice(*columns)) for rows in edges for columns in edges]
        alphas = [cam[window].mean() for window in windows]
        largest = max(alphas, key=abs).abs()
        shares = [mask[window].double().mean() for window in windows]
        pairs = [
            F.relu(alphas[s] - alphas[r]) / largest
            for r in range(grid**2)
            for s in range(grid**2)
            if shares[r] - shares[s] > 1e-9
        ]
        total = total + 0.7 / 3 * sum(pairs) / len(pairs)
    return total


@pytest.mark.parametrize("grid", [2, 3, 6])
def test_value_and_gradient_are_those_of_a_loop(grid):
    network, (images, labels, masks) = smooth_network(), batch()
    found = Objective(MapRanking(target_layer=LAYER, grid=grid), 0.7)(network, images, labels, masks=masks).loss
    expected = loop_loss(network, images, labels, masks, grid)
    # 4/3, the inverse of the fraction of annotated images, is a float32.
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)
    parameters = list(network.parameters())
    for first, second in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-8)


def test_the_gradient_alone_ranks_nothing_behind_global_average_pooling():
    """Why the default map is gradient times activation, and not the paper's gradient."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head, images = nn.Linear(5, 3), torch.randn(1, 3, 8, 8)
    activations = network[:2](images)
    (gradients,) = torch.autograd.grad(head(network[2:](activations))[0, 1], activations)
    torch.testing.assert_close(gradients.sum(1), gradients.sum(1).mean().expand(1, 8, 8))
    assert (gradients * activations).sum(1).std() > 1e-4


def test_boxes_beside_other_terms_lazily_and_balanced():
    network, (images, labels, _) = smooth_network(), batch()
    boxes = [torch.tensor([[1.0, 2.0, 5.0, 6.0]])] * 3 + [torch.zeros(0, 4)]
    terms = [Term(GradientNorm(), 0.1), Term(RightForRightReasons(), 0.1), Term(MapRanking(target_layer=LAYER), 1.0)]
    objective = Objective(Sum(terms), 0.5, every_n_steps=2, balance_steps=1)
    first, second = (objective(network, images, labels, boxes=boxes) for _ in range(2))
    assert [step.regularized for step in (first, second)] == [True, False]
    of_terms = first.terms
    assert int(of_terms["map_ranking"].counted) == 3
    torch.testing.assert_close(of_terms["map_ranking"].scale * of_terms["map_ranking"].value, first.classification)
    expected = first.classification + sum(term.weight * term.scale * term.value for term in of_terms.values())
    torch.testing.assert_close(first.loss.detach().float(), expected)


def test_half_precision():
    network, (images, labels, masks) = smooth_network().float(), batch()
    objective = Objective(MapRanking(target_layer=LAYER), 1.0)
    steps = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step = objective(network, images.float(), labels, masks=masks)
        network.zero_grad()
        step.loss.backward()
        steps.append((step, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])))
    (precise, expected), (rounded, found) = steps
    assert rounded.regularization.dtype == torch.float32
    torch.testing.assert_close(rounded.regularization, precise.regularization, rtol=0.02, atol=0)
    assert F.cosine_similarity(found, expected, dim=0) > 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": 1}, "`grid`: expected an integer of at least 2, got 1"),
        ({"annotation": "polygons"}, "`annotation`: expected any, masks or boxes, got 'polygons'"),
        ({"method": "score_cam"}, "`method`: score_cam cannot be trained through"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MapRanking(**settings)
