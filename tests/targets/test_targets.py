"""Targets: their numbers by hand, methods that explain them, and images with data of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.attributions import InputGradient, IntegratedGradients, SmoothGrad
from camtrain.cams import CAM, AblationCAM, GradCAM, LayerCAM, ScoreCAM, TaylorCAM
from camtrain.gradients import Against, Contrast, as_target, class_score, fixed_class, repeated_class, selected_class
from camtrain.methods import METHODS, image_maps, method_named
from camtrain.networks import CIFARResNet
from camtrain.targets import (
    DetectionScore,
    EachImage,
    OutputPart,
    SegmentationScore,
    Similarity,
    SoftmaxScore,
    Target,
)

OF_PROBABILITIES = ("score_cam", "ss_cam", "taylor_cam")
"""Methods that take probabilities of classes, and a target as it is."""


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).double().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Every method ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Integrated Gradients")
@pytest.mark.parametrize("name", [name for name in METHODS if name != "attention_map"])
def test_every_method_explains_a_target_as_it_explains_the_class(network, images, name):
    """Image by image, in variants of the images, and in parts of the batch."""
    images = images[..., :8, :8]
    labels = torch.tensor([1, 2, 0])
    if name in OF_PROBABILITIES:
        each = EachImage([lambda logits, label=label: logits.softmax(0)[label] for label in labels.tolist()])
    else:
        each = EachImage([lambda logits, label=label: logits[label] for label in labels.tolist()])
    method = method_named(name, network, "layer3" if name == "cam" else "layer2", max_batch=4, seed=0)
    expected = method(images, labels)
    torch.testing.assert_close(method(images, each), expected)
    assert expected.abs().max() > 0
    torch.testing.assert_close(
        image_maps(network, images, method, each, max_batch=2), image_maps(network, images, method, labels, max_batch=2)
    )
    with torch.no_grad():
        of_function = method(images, lambda logits: (logits.softmax(1) if name in OF_PROBABILITIES else logits)[:, 3])
    torch.testing.assert_close(of_function, method(images, 3))


def test_a_function_that_returns_no_number_of_each_image(network, images):
    for wrong, got in ((lambda logits: logits.sum(), r"\(\)"), (lambda logits: logits, r"\(3, 4\)"), (len, "int")):
        with pytest.raises(ValueError, match=rf"`class_idx`: expected a target that returns \(N,\).*got {got}"):
            GradCAM(network)(images, wrong)
    with pytest.raises(ValueError, match=r"got \(3,\) of torch.int64"):
        GradCAM(network)(images, lambda logits: logits.argmax(dim=1))
    with pytest.raises(ValueError, match=r"one for each image, got \(2,\)"):
        GradCAM(network)(images, lambda logits: logits[:2, 0])
    with pytest.raises(TypeError, match=r"`class_idx`: expected a target or a function.*got the class SoftmaxScore"):
        GradCAM(network)(images, SoftmaxScore)


# Each target -------------------------------------------------------------------------------------


def test_softmax(network, images):
    with torch.no_grad():
        logits = network(images)
    assert torch.equal(SoftmaxScore(2)(logits), logits.softmax(1)[:, 2])
    assert torch.equal(SoftmaxScore()(logits), logits.softmax(1).amax(1))
    torch.testing.assert_close(SoftmaxScore(0)(logits[:, :1]), 1 - SoftmaxScore(1)(logits[:, :1]))
    # The prediction is that of the image, not of its noisy copies.
    fixed = fixed_class(logits, SoftmaxScore())
    assert torch.equal(fixed.class_idx, logits.argmax(1))
    assert torch.equal(selected_class(fixed, torch.tensor([2, 2])).class_idx, logits.argmax(1)[[2, 2]])
    # Grad-CAM of the probability is that of Σ_k p_k (z_c − z_k), times p_c.
    shares = logits.softmax(1)
    expected = GradCAM(network)(images, lambda found: shares[:, 1] * (found[:, 1] - (shares * found).sum(1)))
    torch.testing.assert_close(GradCAM(network)(images, SoftmaxScore(1)), expected)
    with pytest.raises(ValueError, match="`class_idx`: expected classes from 0 to 3, got 7"):
        GradCAM(network)(images, SoftmaxScore(7))


class Pixels(nn.Module):
    """Classifies each pixel of a smaller picture, as a dictionary."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Softplus())
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, images):
        return {"out": self.head(self.body(images)), "aux": None}


def test_segmentation_by_hand():
    logits = torch.tensor([[[[5.0, 1.0], [0.0, 0.0]], [[0.0, 2.0], [4.0, 3.0]]]])
    assert SegmentationScore(1)(logits).item() == 3.0  # three pixels are of class 1
    assert SegmentationScore()(logits).item() == 3.0  # as are most of them
    assert SegmentationScore(0, torch.tensor([[True, True], [False, False]]))(logits).item() == 3.0
    assert SegmentationScore(None, torch.tensor([[True, False], [False, False]]))(logits).item() == 5.0
    assert SegmentationScore(0, torch.zeros(1, 2, 2, dtype=torch.bool))(logits).item() == 0.0
    large = torch.zeros(1, 4, 4, dtype=torch.bool)
    large[:, :2] = True
    assert SegmentationScore(1, large)(logits).item() == 1.0
    fixed = SegmentationScore().fixed(logits)
    assert fixed.class_idx.tolist() == [1]
    assert fixed.masks.tolist() == [[[False, True], [True, True]]]
    # The pixels stay those of the first output.
    assert fixed(logits * torch.tensor([9.0, 1.0]).view(1, 2, 1, 1)).item() == 3.0
    with pytest.raises(ValueError, match=r"`masks`: expected \(1, H, W\) or \(H, W\), got \(2, 2, 2\)"):
        SegmentationScore(1, torch.ones(2, 2, 2))(logits)
    with pytest.raises(ValueError, match=r"`network`: expected \(N, K, h, w\) logits .*, got dict; of one output"):
        SegmentationScore(1)({"out": logits})


def test_methods_explain_a_segmentation(images):
    network = Pixels().double()
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5
    labels = torch.tensor([0, 2, 1])
    target = OutputPart("out", SegmentationScore(labels, masks))

    def by_hand(output):
        logits = output["out"][torch.arange(3), labels]
        return torch.stack([logit[mask].mean() for logit, mask in zip(logits, masks, strict=True)])

    found = {}
    for method in (GradCAM(network, "body"), LayerCAM(network), InputGradient(network)):
        torch.testing.assert_close(method(images, target), method(images, by_hand))
        found[type(method)] = method(images, target)
    # Runs images in other numbers and orders.
    for method in (SmoothGrad(network, num_samples=3, seed=0, max_batch=4), ScoreCAM(network, "body", max_batch=4)):
        alone = torch.cat(
            [
                method(images[[n]], OutputPart("out", SegmentationScore(labels[[n]], masks[[n]])))
                for n in range(3)
            ]
        )  # fmt: skip
        torch.testing.assert_close(method(images, target), alone)
    masked = found[InputGradient].abs().amax(1) > 0
    # A 3×3 convolution of stride 2: only pixels near the mask matter.
    reach = nn.functional.max_pool2d(masks.double().repeat_interleave(2, 1).repeat_interleave(2, 2), 3, 1, 1) > 0
    assert not (masked & ~reach).any()
    assert masked.any()


def test_several_outputs(images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus()), nn.Linear(4, 2)

        def forward(self, images):
            features = self.body(images)
            return self.head(features.mean(dim=(2, 3))), features

    network = Two().double()
    only_logits = nn.Sequential(network.body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.head)
    for question in (1, None, Contrast(0, 1), Against(1), torch.tensor([0, 1, 1]), SoftmaxScore(1)):
        found = IntegratedGradients(network, num_steps=4, tolerance=None)(images, OutputPart(0, question))
        expected = IntegratedGradients(only_logits, num_steps=4, tolerance=None)(images, question)
        torch.testing.assert_close(found, expected)
    together = GradCAM(network)(images, lambda output: output[0][:, 1] + output[1].square().mean(dim=(1, 2, 3)))
    assert together.shape == (3, 14, 14)
    with pytest.raises(ValueError, match="`part`: the output has no 2; it has 2 parts"):
        GradCAM(network)(images, OutputPart(2, 1))


def test_similarity(images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with torch.no_grad():
        embeddings = network(images)
    assert Similarity(embeddings[0])(embeddings)[0].item() == pytest.approx(1)
    target = Similarity(embeddings.flip(0))
    cosine = (embeddings * embeddings.flip(0)).sum(1) / (embeddings.norm(dim=1) * embeddings.flip(0).norm(dim=1))
    torch.testing.assert_close(target(embeddings), cosine)
    smooth = SmoothGrad(network, num_samples=2, seed=0, max_batch=3)
    alone = torch.cat([smooth(images[[n]], Similarity(embeddings[2 - n])) for n in range(3)])
    torch.testing.assert_close(smooth(images, target), alone)
    with pytest.raises(ValueError, match=r"`reference`: expected an embedding \(4,\) or \(3, 4\), got \(5,\)"):
        Similarity(torch.ones(5))(embeddings)


def test_detection(images):
    class Detector(nn.Module):
        """Finds one object in each image: a box whose right edge is the mean of red, and a score, that of green."""

        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 3, 1)

        def forward(self, images):
            found = self.body(images).mean(dim=(2, 3))
            edge = torch.tensor([0.0, 0.0, 0.0, 10.0]).double()
            return [
                {
                    "boxes": (edge + torch.tensor([0.0, 0.0, 10.0, 0.0]) * (1 + 0.1 * each[0])).unsqueeze(0),
                    "labels": torch.tensor([1]),
                    "scores": each[1:2].sigmoid(),
                }
                for each in found
            ]

    network = Detector().double()
    box = torch.tensor([[0.0, 0.0, 20.0, 10.0]]).double()
    target = DetectionScore([box] * 3, [torch.tensor([1]), torch.tensor([2]), torch.tensor([1])], 0.25)
    with torch.no_grad():
        output = network(images)
    numbers = target(output)
    expected = output[0]["boxes"][0, 2] / 20 + output[0]["scores"][0]
    assert numbers[0].item() == pytest.approx(expected.item())
    assert numbers[1].item() == 0.0  # another label
    gradient = InputGradient(network)(images, target)
    assert gradient[0].any()
    assert not gradient[1].any()
    smooth = SmoothGrad(network, num_samples=2, seed=0, max_batch=2)(images, target)
    assert smooth[2].any()
    assert not smooth[1].any()
    with pytest.raises(ValueError, match=r"`network`: expected a list of detections.*got Tensor"):
        target(torch.zeros(3))
    with pytest.raises(ValueError, match="`labels`: expected one for each box of each image"):
        DetectionScore([box], [torch.tensor([1, 2])])


def test_each_image_of_other_outputs():
    output = {"a": torch.tensor([[1.0], [2.0]]), "b": (torch.tensor([3.0, 4.0]),)}
    each = EachImage([lambda found: found["a"] + found["b"][0], lambda found: found["b"][0] * 2])
    assert each(output).tolist() == [4.0, 8.0]
    assert selected_class(each, torch.tensor([1, 1, 0]))({"a": torch.ones(3, 1), "b": (torch.ones(3),)}).tolist() == [
        2,
        2,
        2,
    ]
    assert len(repeated_class(each, 3).functions) == 6
    with pytest.raises(ValueError, match="`targets`: expected one for each of 2 images, got 1"):
        EachImage([len])(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"expected a function that returns one number in a tensor, got \(3,\)"):
        EachImage([lambda found: found])(torch.zeros(1, 3))
    with pytest.raises(TypeError, match="`targets`: expected functions of the output of an image, got 3 among them"):
        EachImage([3])


def test_a_target_of_ones_own(images):
    class Above(Target):
        """How far the first logit is above a level of each image."""

        def __init__(self, levels):
            self.levels = levels

        def __call__(self, output):
            return (output[:, 0] - self.levels).square()

        def changed(self, change):
            return Above(change(self.levels))

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    levels = torch.tensor([0.0, 1.0, 5.0]).double()
    smooth = SmoothGrad(network, num_samples=3, seed=0, max_batch=2)
    alone = torch.cat([smooth(images[[n]], Above(levels[[n]])) for n in range(3)])
    torch.testing.assert_close(smooth(images, Above(levels)), alone)
    assert as_target(Above(levels)).fixed(None).levels is levels
    assert class_score(torch.ones(3, 2).double(), Above(levels)).tolist() == [1, 0, 16]


def test_methods_of_logits_say_so(images):
    network = Pixels().double()
    for method in (CAM(network, "body"), AblationCAM(network, "body")):
        with pytest.raises(ValueError, match=r"`network`: expected \(N, K\) logits, got dict"):
            method(images, OutputPart("out", SegmentationScore(1)))
    flat = TaylorCAM(network, "body")(images[..., :8, :8], OutputPart("out", lambda out: out.square().mean((1, 2, 3))))
    assert flat.shape == (3, 4, 4)
