"""Attention mining, saliency-guided training, consistency and distillation, against their formulas written out."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain import Objective
from camtrain.cams import GradCAM, GradCAMPlusPlus, resize
from camtrain.gradients import DoubleBackprop
from camtrain.networks import AttentionHead, AttentionOutput
from camtrain.regularizers import (
    AttentionBranchLoss,
    AttentionMining,
    EnergyInside,
    MapConsistency,
    MapDistillation,
    SaliencyGuided,
)
from tests.regularizers.smooth_network import batch, smooth_network


def regularization(regularizer, network, images, labels, **annotation):
    return Objective(regularizer, 1.0, DoubleBackprop())(network, images, labels, **annotation).regularization


def assert_equal(found, expected):
    """Without an absolute tolerance, in which a small penalty would drown."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def maps(network, images, labels):
    """Grad-CAM by hand, at the size of the images, in [0, 1]."""
    activations = network[:5](images)
    logits = network[5:](activations)
    (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), activations)
    cams = (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()
    cams = F.interpolate(cams[:, None], size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    return (cams / cams.amax((1, 2), keepdim=True)).detach()


def test_attention_mining():
    network, (images, labels, masks) = smooth_network(), batch()
    cams = maps(network, images, labels)
    # A threshold inside of the range of these maps: at another one everything would be erased, or nothing.
    left = images - torch.sigmoid(10 * (cams - 0.9))[:, None] * images
    probabilities = network(left).softmax(1).gather(1, labels[:, None])[:, 0]
    found = regularization(AttentionMining(target_layer="4", threshold=0.9), network, images, labels)
    assert_equal(found, probabilities.mean().float())
    of_masks = ((cams - masks.double()) ** 2).mean((1, 2)) * torch.tensor([1, 1, 1, 0])
    found = regularization(
        AttentionMining(target_layer="4", mask_weight=10, threshold=0.9), network, images, labels, masks=masks
    )
    assert_equal(found, (probabilities + 10 * of_masks).mean().float())


def test_saliency_guided():
    network, (images, labels, _) = smooth_network(), batch()
    leaf = images.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(network(leaf).gather(1, labels[:, None]).sum(), leaf)
    torch.manual_seed(4)
    noise = torch.rand_like(images)
    masked = images.clone()
    for image in range(len(images)):
        saliency = gradients[image].abs().amax(0)
        least = saliency.flatten().argsort()[: 64 // 4]
        for pixel in least.tolist():
            for channel in range(3):
                low, high = images[image, channel].min(), images[image, channel].max()
                value = low + noise[image, channel].flatten()[pixel] * (high - low)
                masked[image, channel, pixel // 8, pixel % 8] = value
    first, second = network(images).softmax(1), network(masked).softmax(1)
    expected = (first * (first.log() - second.log())).sum(1).mean()
    torch.manual_seed(4)
    found = regularization(SaliencyGuided(share=0.25), network, images, labels)
    assert_equal(found, expected.float())


def test_consistency_of_flips():
    network, (images, labels, _) = smooth_network(), batch()
    expected = ((maps(network, images, labels).flip(-1) - maps(network, images.flip(-1), labels)) ** 2).mean()
    found = regularization(MapConsistency(target_layer="4", transform="flip"), network, images, labels)
    assert_equal(found, expected.float())


def test_a_symmetric_network_is_consistent_under_flips_and_not_under_crops():
    network, (images, labels, _) = smooth_network(), batch()
    with torch.no_grad():
        for layer in (network[0], network[3]):
            layer.weight.copy_((layer.weight + layer.weight.flip(-1)) / 2)
        head = network[6].weight.view(3, 5, 4, 4)
        head.copy_((head + head.flip(-1)) / 2)
    assert regularization(MapConsistency(target_layer="4", transform="flip"), network, images, labels) < 1e-12
    assert regularization(MapConsistency(target_layer="4", transform="crop"), network, images, labels) > 1e-4


def test_crops_lie_inside_the_image_and_have_all_sizes_that_are_said():
    torch.manual_seed(0)
    images = torch.zeros(2000, 3, 8, 8)
    grid = MapConsistency(transform="crop", smallest_crop=0.6)._grid(images)
    low, high = grid.amin((1, 2)), grid.amax((1, 2))
    sides = (high - low) / 2 * 8 / 7  # from the first to the last center of a pixel
    torch.testing.assert_close(sides[:, 0], sides[:, 1])
    assert float(sides.min()) == pytest.approx(0.605, abs=0.0051)
    assert float(sides.max()) == pytest.approx(0.995, abs=0.0051)
    # Their edges are half a pixel of the crop beyond the centers.
    assert float((low - sides / 8).min()) >= -1 - 1e-6
    assert float((high + sides / 8).max()) <= 1 + 1e-6
    assert float((low + high).std(dim=0).min()) > 0.1  # not all in the center
    assert bool((grid[:, 0, 0, 0] < grid[:, 0, -1, 0]).all())
    both = MapConsistency()._grid(images)
    assert bool((both[:, 0, 0, 0] > both[:, 0, -1, 0]).all())
    assert float((both.amax((1, 2)) - both.amin((1, 2))).std()) > 0.1


def test_contrastive_consistency():
    network, (images, labels, _) = smooth_network(), batch()
    first = maps(network, images, labels).flip(-1).flatten(1)
    second = maps(network, images.flip(-1), labels).flatten(1)
    similarities = F.cosine_similarity(second[:, None], first[None], dim=2) / 0.5
    expected = -(similarities.diagonal() - similarities.logsumexp(1)).mean()
    regularizer = MapConsistency(target_layer="4", transform="flip", contrastive=True)
    assert_equal(regularization(regularizer, network, images, labels), expected.float())


def test_distillation_of_grad_cam_plus_plus():
    network, (images, labels, _) = smooth_network(), batch()
    torch.manual_seed(8)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[3].weight.add_(0.3 * torch.randn_like(other[3].weight))
    both = [resize(GradCAMPlusPlus(each, "4")(images, labels), (8, 8)).flatten(1) for each in (network, other)]
    first, second = (each / each.norm(dim=1, keepdim=True) for each in both)
    expected = (first - second).square().sum(1).mean()
    regularizer = MapDistillation(other, target_layer="4", teacher_layer="4")
    assert_equal(regularization(regularizer, network, images, labels), expected.float())
    assert expected > 1e-3
    assert regularization(MapDistillation(copy.deepcopy(network)), network, images, labels) < 1e-12


@pytest.mark.parametrize("method", ["grad_cam_plus_plus", "activations"])
def test_the_teacher_keeps_its_precision(method):
    """As in a training with Lightning's `64-true` or `bf16-true`, which changes the network and its images alone."""
    network, (images, labels, _) = smooth_network(), batch()
    how = {"method": method, "target_layer": "4", "teacher_layer": "4"}
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[3].weight.mul_(-1)
    expected = regularization(MapDistillation(copy.deepcopy(other), **how), network, images, labels)
    found = MapDistillation(other.float(), **how)
    torch.testing.assert_close(regularization(found, network, images, labels), expected, rtol=1e-4, atol=0)
    assert found.teacher[0].weight.dtype == torch.float32


def test_distillation_of_activations_by_hand():
    network, (images, labels, _) = smooth_network(), batch()
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[3].weight.mul_(-1)
    both = [F.interpolate((each[:5](images) ** 2).sum(1, keepdim=True), size=(8, 8), mode="bilinear").flatten(1)
            for each in (network, other)]  # fmt: skip
    first, second = (each / each.norm(dim=1, keepdim=True) for each in both)
    regularizer = MapDistillation(other, method="activations", target_layer="4", teacher_layer="4")
    found = regularization(regularizer, network, images, labels)
    assert_equal(found, (first - second).square().sum(1).mean().detach().float())


def test_the_teacher_is_left_alone(tmp_path):
    network, (images, labels, _) = smooth_network(), batch()
    torch.save(
        {"state_dict": {f"network.{name}": value for name, value in network.state_dict().items()}}, tmp_path / "c"
    )
    other = smooth_network().train()
    with torch.no_grad():
        other[6].weight.zero_()
    regularizer = MapDistillation(other, str(tmp_path / "c"), target_layer="4", teacher_layer="4")
    assert torch.equal(other[6].weight, network[6].weight), "the checkpoint was read"
    step = Objective(regularizer, 1.0)(network, images, labels)
    step.loss.backward()
    assert all(parameter.grad is None for parameter in other.parameters())
    assert not regularizer.state_dict()
    assert not list(regularizer.parameters())
    torch.save({"weight": torch.zeros(1)}, tmp_path / "d")
    with pytest.raises(ValueError, match=r"`checkpoint`: .* does not fit a Sequential"):
        MapDistillation(smooth_network(), str(tmp_path / "d"))
    with pytest.raises(FileNotFoundError, match=r"`checkpoint`: expected a file, got .*nowhere"):
        MapDistillation(smooth_network(), str(tmp_path / "nowhere"))


def test_the_map_of_the_training_pass_is_the_method_of_its_own_pass():
    """Under BatchNorm, which normalizes by the batch in both."""
    network, (images, labels, masks) = smooth_network().insert(1, nn.BatchNorm2d(4).double()), batch()
    cams = resize(GradCAM(network, "5")(images, labels), (8, 8))
    expected = EnergyInside()(cams, masks)
    found = regularization(EnergyInside(target_layer="5"), network, images, labels, masks=masks)
    assert_equal(found, expected.values[expected.counted].mean().float())


@pytest.mark.parametrize(("method", "layer"), [("layer_cam", "1"), ("grad_cam", "4")])
def test_head_and_stem_receive_the_gradient_of_a_map(method, layer):
    network, (images, labels, masks) = smooth_network(), batch()
    objective = Objective(EnergyInside(method, layer), 1.0)
    loss = objective(network, images, labels, masks=masks).loss
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(loss, parameters.values())
    plain = torch.autograd.grad(Objective()(network, images, labels).loss, parameters.values())
    changed = {name for name, a, b in zip(parameters, found, plain, strict=True) if not torch.allclose(a, b, atol=1e-9)}
    assert {"0.weight", "6.weight"} <= changed


def test_the_loss_of_an_attention_branch():
    class Head(AttentionHead):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5 * 16, 3).double()

        def forward(self, features, images):
            return AttentionOutput(features.mean(1, keepdim=True), self.linear(features.flatten(1)))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = smooth_network()
            self.head = Head()

        def forward(self, images):
            features = self.backbone[:5](images)
            self.head(features, images)
            return self.backbone[5:](features)

    network, (images, labels, _) = Network(), batch()
    expected = F.cross_entropy(network.head(network.backbone[:5](images), images).logits, labels)
    assert_equal(regularization(AttentionBranchLoss(), network, images, labels), expected.float())
    with pytest.raises(ValueError, match="`network`: AttentionBranchLoss needs an attention head"):
        regularization(AttentionBranchLoss(), smooth_network(), images, labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionMining(mask_weight=-1), "`mask_weight`: expected a finite number of at least 0, got -1"),
        (lambda: AttentionMining(annotation="boxes"), "`annotation`: expected any, because mask_weight = 0 ignores it"),
        (lambda: AttentionMining(sharpness=0), "`sharpness`: expected a positive, finite number, got 0"),
        (lambda: AttentionMining(threshold=2), r"`threshold`: expected a number in \[0, 1\], got 2"),
        (lambda: AttentionMining("input_gradient"), "`method`: AttentionMining needs a map at a layer"),
        (lambda: SaliencyGuided(1.0), "`share`: expected a fraction between 0 and 1, got 1.0"),
        (lambda: MapConsistency(transform="rotate"), "`transform`: expected one of"),
        (lambda: MapConsistency(smallest_crop=0), r"`smallest_crop`: expected a fraction in \(0, 1\], got 0"),
        (lambda: MapConsistency(temperature=0), "`temperature`: expected a positive, finite number, got 0"),
        (lambda: MapConsistency("input_gradient"), "`method`: MapConsistency needs a map at a layer"),
        (lambda: MapDistillation(nn.Identity(), method="input_gradient"), "`method`: MapDistillation needs a map"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_contrast_of_pairs_one_of_which_is_dead():
    """Of maps that differ more than a network's: each against all first maps that are alive."""
    generator = torch.Generator().manual_seed(5)
    first, second = torch.rand(2, 4, 3, 3, generator=generator, dtype=torch.float64) ** 4
    first[1], second[3] = 0, -1
    found = MapConsistency(contrastive=True, temperature=0.5)._of_pairs(first, second)
    assert found.flat.tolist() == [False, True, False, True]
    assert found.values[found.flat].tolist() == [1, 1]
    assert found.counted.all()
    for row in (0, 2):
        cosines = {other: F.cosine_similarity(second[row].flatten(), first[other].flatten(), dim=0) for other in (0, 2)}
        scaled = {other: (cosine / 0.5).exp() for other, cosine in cosines.items()}
        assert_equal(found.values[row], -(scaled[row] / sum(scaled.values())).log())
    assert MapConsistency()._of_pairs(first, second).flat.tolist() == [False, True, False, True]
