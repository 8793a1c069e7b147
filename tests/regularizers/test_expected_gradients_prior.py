"""Priors on expected gradients, against a loop over images in float64 and against completeness."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from camtrain import Objective
from camtrain.regularizers import ExpectedGradientsPrior, GradientNorm, RightForRightReasons, Sum, Term
from tests.regularizers.smooth_network import batch, smooth_network


def loop_attributions(network, images, labels, num_samples, seed):
    """Expected gradients, image by image."""
    n = len(images)
    torch.manual_seed(seed)
    total = [torch.zeros_like(image) for image in images]
    for _ in range(num_samples):
        alpha, key = torch.rand(2, n)
        cycle = key.argsort().tolist()
        for i in range(n):
            other = images[cycle[(cycle.index(i) + 1) % n]]
            point = (other + alpha[i] * (images[i] - other)).requires_grad_()
            (gradient,) = torch.autograd.grad(network(point[None])[0, labels[i]], point, create_graph=True)
            total[i] = total[i] + (images[i] - other) * gradient / num_samples
    return total


def loop_penalty(attributions, prior, mask):
    if prior == "outside":
        return sum((attributions[:, y, x] ** 2).sum() for y in range(8) for x in range(8) if not mask[y, x])
    rough = (attributions[:, 1:] - attributions[:, :-1]).abs().mean() * 7 / 8
    rough = rough + (attributions[:, :, 1:] - attributions[:, :, :-1]).abs().mean() * 7 / 8
    return rough / attributions.std(unbiased=False)


@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("prior", ["smooth", "outside"])
def test_value_and_gradient_are_those_of_a_loop(prior, num_samples):
    network, (images, labels, masks) = smooth_network(), batch()
    masks[3, 1:4, 2:7] = True
    torch.manual_seed(3)
    regularizer = ExpectedGradientsPrior(prior, num_samples)
    found = Objective(regularizer, 0.7)(network, images, labels, masks=masks).loss
    attributions = loop_attributions(network, images, labels, num_samples, seed=3)
    each = [loop_penalty(*of_image[:1], prior, of_image[1]) for of_image in zip(attributions, masks, strict=True)]
    expected = F.cross_entropy(network(images), labels) + 0.7 * sum(each) / 4
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    parameters = list(network.parameters())
    both = (torch.autograd.grad(each, parameters, allow_unused=True) for each in (found, expected))
    for first, second in zip(*both, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-10)


def test_attributions_are_complete():
    """The mean over many points adds up to the difference of the logit and the mean logit of the others."""
    network, (images, labels, _) = smooth_network(), batch()
    torch.manual_seed(0)
    found = torch.stack([part.detach() for part in loop_attributions(network, images, labels, 400, seed=0)])
    sums = found.flatten(1).sum(1)
    logits = network(images).detach()[:, labels].T  # (image's label, image)
    own = logits.diagonal()
    others = (logits.sum(1) - own) / 3
    torch.testing.assert_close(sums, own - others, rtol=0.05, atol=0.1)


def test_a_network_that_is_linear_in_one_value_by_hand():
    """φ is zero but for that value, where it is the weight times the difference to the other image."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[0, 1] = 3.0  # the upper right pixel of the first channel
    images = torch.randn(2, 3, 2, 2)
    images[:, 0, 0, 1] = torch.tensor([5.0, 1.0])
    labels, masks = torch.tensor([0, 1]), torch.zeros(2, 2, 2, dtype=torch.bool)
    masks[0, 1, 0] = True
    masks[1] = True
    outside = Objective(ExpectedGradientsPrior("outside"), 1.0)
    step = outside(network, images, labels, masks=masks)
    assert step.regularization.item() == pytest.approx((3 * 4) ** 2 / 2)
    # One value among 12 has the standard deviation φ √11 / 12, and two neighbors. The second logit has no gradient.
    step = Objective(ExpectedGradientsPrior(), 1.0)(network, images, labels)
    assert step.regularization.item() == pytest.approx(2 / 11**0.5)
    assert int(step.terms["expected_gradients_prior"].counted) == 1


def test_images_without_annotation_do_not_count():
    network, (images, labels, masks) = smooth_network(), batch()
    step = Objective(ExpectedGradientsPrior("outside"), 1.0)(network, images, labels, masks=masks)
    assert int(step.terms["expected_gradients_prior"].counted) == 3
    with pytest.raises(ValueError, match="`boxes`: ExpectedGradientsPrior needs to know where the object is, got none"):
        Objective(ExpectedGradientsPrior("outside", annotation="boxes"), 1.0)(network, images, labels, masks=masks)


def test_the_only_image_of_a_batch_does_not_count():
    network, (images, labels, _) = smooth_network(), batch()
    step = Objective(ExpectedGradientsPrior(), 1.0)(network, images[:1], labels[:1])
    step.loss.backward()
    assert int(step.terms["expected_gradients_prior"].counted) == 0
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in network.parameters())


def test_each_sample_takes_one_more_pass_with_the_same_dropout():
    torch.manual_seed(0)
    seen = []
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Softplus(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 3)
    )
    network[3].register_forward_hook(lambda _module, _inputs, output: seen.append(output == 0))
    images, labels, _ = batch()
    Objective(ExpectedGradientsPrior(num_samples=2))(network, images.float(), labels)
    assert len(seen) == 3
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert int(network[1].num_batches_tracked) == 1


def test_beside_other_terms_lazily_and_balanced():
    network, (images, labels, masks) = smooth_network(), batch()
    terms = [
        Term(GradientNorm(), 0.1),
        Term(RightForRightReasons(), 0.1),
        Term(ExpectedGradientsPrior(), 1.0, name="smooth"),
        Term(ExpectedGradientsPrior("outside"), 1.0, name="outside"),
    ]
    objective = Objective(Sum(terms), 0.5, every_n_steps=2, balance_steps=1)
    torch.manual_seed(0)
    first, second = (objective(network, images, labels, masks=masks) for _ in range(2))
    assert [step.regularized for step in (first, second)] == [True, False]
    assert [int(term.counted) for term in first.terms.values()] == [4, 3, 4, 3]
    expected = first.classification + sum(term.weight * term.scale * term.value for term in first.terms.values())
    torch.testing.assert_close(first.loss.detach().float(), expected)
    nowhere = objective(network, images, labels, masks=torch.zeros_like(masks))
    assert {name for name, term in nowhere.terms.items() if term.computed} == {"gradient_norm", "smooth"}


@pytest.mark.parametrize("prior", ["smooth", "outside"])
def test_half_precision(prior):
    network, (images, labels, masks) = smooth_network().float(), batch()
    objective = Objective(ExpectedGradientsPrior(prior), 1.0)
    steps = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step = objective(network, images.float(), labels, masks=masks)
        network.zero_grad()
        step.loss.backward()
        gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
        steps.append((step, torch.cat(gradients)))
    (precise, expected), (rounded, found) = steps
    assert rounded.regularization.dtype == torch.float32
    torch.testing.assert_close(rounded.regularization, precise.regularization, rtol=0.05, atol=0)
    assert F.cosine_similarity(found, expected, dim=0) > 0.98


def test_a_vision_transformer():
    torch.manual_seed(0)
    network = VisionTransformer(16, 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    step = Objective(ExpectedGradientsPrior(), 1.0)(network, torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]))
    step.loss.backward()
    assert network.conv_proj.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior": "sparse"}, "`prior`: expected smooth or outside, got 'sparse'"),
        ({"num_samples": 0}, "`num_samples`: expected a positive integer, got 0"),
        ({"prior": "outside", "annotation": "polygons"}, "`annotation`: expected any, masks or boxes, got 'polygons'"),
        ({"annotation": "boxes"}, "`annotation`: expected any, because the prior smooth ignores it, got 'boxes'"),
        ({"floor": -1}, "`floor`: expected a positive, finite number, got -1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ExpectedGradientsPrior(**settings)
