"""Soft insertion and deletion: values by hand, and the whole against a loop over images in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from camtrain import Objective
from camtrain.blurred import blurred
from camtrain.regularizers import GradientNorm, SoftInsertionDeletion, Sum, Term
from tests.regularizers.smooth_network import smooth_network

LAYER = "4"


def batch(num_images=4):
    torch.manual_seed(1)
    return torch.randn(num_images, 3, 8, 8).double(), torch.arange(num_images) % 3


def pixel_network():
    """The logits are the mean m of the pixels and -m, so that Grad-CAM is the positive part of the pixels."""
    network = nn.Sequential(
        nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2, bias=False)
    )
    with torch.no_grad():
        network[0].weight.fill_(1 / 3)
        network[3].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return network


PIXELS = 4.0, 2.0, 1.0, 0.5  # the map is 1, 1/2, 1/4, 1/8
IMAGE = torch.tensor(PIXELS).view(1, 1, 2, 2).expand(-1, 3, -1, -1)
THRESHOLDS = 0.75, 0.375  # between the first pixel and the second, and between the second and the third


def value(**settings):
    """L_R of the image at λ = 1."""
    regularizer = SoftInsertionDeletion(target_layer="0", num_thresholds=2, sharpness=8.0, **settings)
    return Objective(regularizer, 1.0)(pixel_network(), IMAGE, torch.tensor([0])).regularization.item()


def log_probability(pixels):
    """log p of class 0: p = 1 / (1 + exp(-2 m))."""
    return -math.log(1 + math.exp(-2 * sum(pixels) / 4))


def kept(threshold):
    return [1 / (1 + math.exp(-8 * (pixel / 4 - threshold))) for pixel in PIXELS]


INSERTION = -sum(log_probability(k * p for k, p in zip(kept(t), PIXELS, strict=True)) for t in THRESHOLDS) / 2
DELETED = [log_probability((1 - k) * p for k, p in zip(kept(t), PIXELS, strict=True)) for t in THRESHOLDS]


def test_insertion_by_hand():
    assert value(deletion_weight=0.0) == pytest.approx(INSERTION)
    assert value(deletion_weight=0.0, insertion_weight=3.0) == pytest.approx(3 * INSERTION)


def test_deletion_by_hand():
    ratio = sum(DELETED) / 2 - log_probability(PIXELS)
    assert ratio < 0
    assert value(insertion_weight=0.0) == pytest.approx(ratio)
    complement = -sum(math.log(1 - math.exp(each)) for each in DELETED) / 2
    assert value(insertion_weight=0.0, deletion="complement") == pytest.approx(complement)
    assert value(insertion_weight=2.0, deletion_weight=0.5) == pytest.approx(2 * INSERTION + 0.5 * ratio)


def test_all_pixels_but_one_are_the_most_that_a_threshold_selects():
    regularizer = SoftInsertionDeletion(target_layer="0", num_thresholds=1, largest_fraction=1.0, sharpness=1e4)
    (mask,) = regularizer._masks(torch.tensor([[[1.0, 0.5], [0.25, 0.125]]]))
    assert mask.tolist() == [[[1.0, 1.0], [1.0, 0.0]]]


def loop_loss(network, images, labels, background, complement):
    """L at λ = 0.7, image by image, with three thresholds up to 60 % of the pixels."""
    n = len(images)
    total = F.cross_entropy(network(images), labels)
    for image, label in zip(images, labels.tolist(), strict=True):
        activations = network[:5](image[None])
        (gradients,) = torch.autograd.grad(network[5:](activations)[0, label], activations, create_graph=True)
        cam = (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()
        cam = F.interpolate(cam[:, None], size=(8, 8), mode="bilinear", align_corners=False)[0, 0]
        cam = cam / cam.max()
        ranked = cam.flatten().sort(descending=True).values
        base = blurred(image[None])[0] if background == "blurred" else torch.zeros_like(image)

        def probability(picture, label=label):
            return network(picture[None]).softmax(1)[0, label]

        for share in (0.2, 0.4, 0.6):
            count = round(share * 64)
            mask = torch.sigmoid(20 * (cam - (ranked[count - 1] + ranked[count]) / 2))
            inserted, deleted = image * mask + base * (1 - mask), image * (1 - mask) + base * mask
            if complement:
                of_deletion = -(1 - probability(deleted)).log()
            else:
                of_deletion = (probability(deleted) / probability(image)).log()
            total = total + 0.7 / (3 * n) * (-0.9 * probability(inserted).log() + 0.4 * of_deletion)
    return total


@pytest.mark.parametrize("deletion", ["ratio", "complement"])
@pytest.mark.parametrize("background", ["zeros", "blurred"])
def test_value_and_gradient_are_those_of_a_loop(background, deletion):
    network, (images, labels) = smooth_network(), batch()
    with torch.no_grad():
        network[6].weight.mul_(0.3)  # no probability is 1
    regularizer = SoftInsertionDeletion(
        "grad_cam", LAYER, 0.9, 0.4, num_thresholds=3, largest_fraction=0.6, sharpness=20.0, background=background,
        deletion=deletion,
    )  # fmt: skip
    found = Objective(regularizer, 0.7)(network, images, labels).loss
    expected = loop_loss(network, images, labels, background, deletion == "complement")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    parameters = list(network.parameters())
    for first, second in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("settings", "passes"), [({}, 1 + 8), ({"insertion_weight": 0.0, "num_thresholds": 2}, 1 + 2)])
def test_a_step_takes_one_pass_for_each_threshold_and_term(settings, passes):
    seen, network, (images, labels) = [], smooth_network(), batch()
    network.register_forward_hook(lambda *_: seen.append(1))
    Objective(SoftInsertionDeletion(target_layer=LAYER, **settings))(network, images, labels)
    assert len(seen) == passes


def test_dead_maps_do_not_count():
    step = Objective(SoftInsertionDeletion(target_layer="0"), 1.0)(
        pixel_network(), torch.cat([IMAGE, -IMAGE]), torch.tensor([0, 0])
    )
    assert int(step.terms["soft_insertion_deletion"].counted) == 1
    assert torch.isfinite(step.loss)


def test_the_label_of_soft_labels_is_the_most_probable_class():
    images = torch.cat([IMAGE, IMAGE.flip(-1)])
    objective = Objective(SoftInsertionDeletion(target_layer="0"), 1.0)
    hard = objective(pixel_network(), images, torch.tensor([0, 0]))
    soft = objective(pixel_network(), images, torch.tensor([[0.7, 0.3], [0.9, 0.1]]))
    assert hard.regularization == soft.regularization


def test_beside_other_terms_lazily_and_balanced():
    network, (images, labels) = smooth_network(), batch()
    both = Sum([Term(GradientNorm(), 0.1), Term(SoftInsertionDeletion(target_layer=LAYER), 1.0)])
    objective = Objective(both, 0.5, every_n_steps=2, balance_steps=1)
    first, second, third = (objective(network, images, labels) for _ in range(3))
    assert [step.regularized for step in (first, second, third)] == [True, False, True]
    start = Objective(SoftInsertionDeletion(target_layer=LAYER)).measure(network, images, labels)
    assert start.regularization > 0
    term = first.terms["soft_insertion_deletion"]
    assert term.scale == pytest.approx(float(start.classification / start.regularization), rel=1e-5)
    rest = 2 * 0.5 * 0.1 * first.terms["gradient_norm"].scale * first.terms["gradient_norm"].value
    expected = first.classification + rest + 2 * 0.5 * term.scale * term.value
    torch.testing.assert_close(first.loss.detach().float(), expected)


@pytest.mark.parametrize("background", ["zeros", "blurred"])
def test_half_precision(background):
    """The passes are rounded, and the masks and the loss are not."""
    network, (images, labels) = smooth_network().float(), batch()
    objective = Objective(SoftInsertionDeletion(target_layer=LAYER, background=background), 1.0)
    steps = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step = objective(network, images.float(), labels)
        network.zero_grad()
        step.loss.backward()
        steps.append((step, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])))
    (precise, expected), (rounded, found) = steps
    assert rounded.regularization.dtype == torch.float32
    torch.testing.assert_close(rounded.regularization, precise.regularization, rtol=0.02, atol=0)
    assert F.cosine_similarity(found, expected, dim=0) > 0.99


def test_a_vision_transformer():
    torch.manual_seed(0)
    network = VisionTransformer(16, 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    step = Objective(SoftInsertionDeletion(num_thresholds=1), 1.0)(
        network, torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    )
    step.loss.backward()
    assert int(step.terms["soft_insertion_deletion"].counted) > 0
    assert network.conv_proj.weight.grad.isfinite().all()
    assert network.conv_proj.weight.grad.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"insertion_weight": -1.0}, "`insertion_weight`: expected a finite number of at least 0, got -1.0"),
        ({"deletion_weight": math.nan}, "`deletion_weight`: expected a finite number of at least 0, got nan"),
        ({"insertion_weight": 0.0, "deletion_weight": 0.0}, "`insertion_weight`: expected it or `deletion_weight` to"),
        ({"num_thresholds": 0}, "`num_thresholds`: expected a positive integer, got 0"),
        ({"largest_fraction": 0.0}, r"`largest_fraction`: expected a fraction in \(0, 1\], got 0.0"),
        ({"sharpness": 0.0}, "`sharpness`: expected a positive, finite number, got 0.0"),
        ({"background": "black"}, "`background`: expected zeros or blurred, got 'black'"),
        ({"deletion": "log"}, "`deletion`: expected ratio or complement, got 'log'"),
        ({"method": "input_gradient"}, "`method`: SoftInsertionDeletion needs a map at a layer"),
        ({"method": "score_cam"}, "`method`: score_cam cannot be trained through"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SoftInsertionDeletion(**settings)
