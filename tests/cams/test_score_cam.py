"""`ScoreCAM` by hand, in loops, and against pytorch-grad-cam."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import ScoreCAM as LibraryScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from camtrain.cams.score_cam import ScoreCAM, channel_masks
from camtrain.gradients import Against, Contrast
from tests.cams.flat_channels import FlatChannels, images_and_needed
from tests.cams.random_network import random_network

VARIANTS = ["class_probability", "algorithm_1"]


def test_masks_by_hand():
    channels = torch.tensor([[[2.0, 6.0]], [[3.0, 3.0]], [[0.0, -4.0]]])
    expected = torch.tensor([[[0.0, 0.25, 0.75, 1.0]], [[0.0] * 4], [[1.0, 0.75, 0.25, 0.0]]])
    assert torch.equal(channel_masks(channels, (1, 4)), expected)


class Means(nn.Module):
    """Three features of the image as large as the image, the third flat, and two logits that are sums of them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None] * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1, 1))
            self.features.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
            self.fc.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).sum(dim=(-2, -1)))


IMAGE = torch.tensor([[[[1.0, 3.0]], [[2.0, -2.0]], [[9.0, 9.0]]]])
# A_0 = [1, 3] with mask [0, 1], A_1 = [2, -2] with mask [1, 0], A_2 = [1, 1], flat.
# Logits of the masked images [0, 3], [0, -2] and [1, 0], [2, 0]: (3 + 4, -2) and (1 + 4, 2); of zeros: (4, 0).


def test_network_by_hand():
    probabilities = [torch.tensor(logits).softmax(0) for logits in ([7.0, -2.0], [5.0, 2.0])]
    for label in (0, 1):
        first, second = (float(p[label]) for p in probabilities)
        expected = torch.tensor([[[first + 2 * second, 3 * first - 2 * second]]]).relu()
        torch.testing.assert_close(ScoreCAM(Means(), "features")(IMAGE, label), expected)
    # Increases of class 0: 3, 1, and 0 of the flat channel; of class 1: -2, 2 and 0.
    for label, increases in ((0, [3.0, 1.0, 0.0]), (1, [-2.0, 2.0, 0.0])):
        a, b, c = torch.tensor(increases).softmax(0).tolist()
        expected = torch.tensor([[[a + 2 * b + c, 3 * a - 2 * b + c]]]).relu()
        torch.testing.assert_close(ScoreCAM(Means(), "features", variant="algorithm_1")(IMAGE, label), expected)


def _in_loops(network: nn.Module, layer: str, images: Tensor, classes: list[int], variant: str) -> Tensor:
    """One pass for each channel of each image, those that are flat too, as black images."""
    cams = []
    for image, label in zip(images, classes, strict=True):
        seen: list[Tensor] = []
        handle = network.get_submodule(layer).register_forward_hook(lambda *a, seen=seen: seen.append(a[2].clone()))
        network(image[None])
        handle.remove()
        (activations,) = seen[0]
        baseline = network(torch.zeros_like(image)[None])[0, label]
        scores = []
        for channel in activations:
            up = F.interpolate(channel[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
            flat = float(channel.max()) == float(channel.min())
            mask = torch.zeros_like(up) if flat else (up - up.min()) / (up.max() - up.min())
            logits = network((image * mask)[None])[0]
            if variant == "algorithm_1":
                scores.append(logits[label] - baseline)
            else:  # the authors' code passes over flat channels
                scores.append(0 * baseline if flat else logits.exp()[label] / logits.exp().sum())
        weights = torch.stack(scores)
        if variant == "algorithm_1":
            weights = weights.exp() / weights.exp().sum()
        cam = torch.zeros_like(activations[0])
        for weight, channel in zip(weights, activations, strict=True):
            cam = cam + weight * channel
        cams.append(cam.clamp(min=0))
    return torch.stack(cams)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("max_batch", [1, 3, 1000])
def test_equals_loops(variant, max_batch):
    network, (images, _) = FlatChannels(), images_and_needed()
    classes = [2, 0, 3]
    for layer in ("target", "stem.0"):
        with torch.no_grad():
            expected = _in_loops(network, layer, images, classes, variant)
        cams = ScoreCAM(network, layer, variant=variant, max_batch=max_batch)(images, torch.tensor(classes))
        torch.testing.assert_close(cams, expected, rtol=1e-9, atol=1e-12)
        assert expected[[0, 2]].flatten(1).amax(dim=1).min() > 1e-3
        assert not torch.allclose(expected, ScoreCAM(network, layer, variant=variant)(images, 1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_class_that_of_the_image_and_not_of_the_masked_one(variant):
    network, (images, _) = FlatChannels(), images_and_needed()
    with torch.no_grad():
        logits = network(images)
    maps = ScoreCAM(network, "target", variant=variant)
    torch.testing.assert_close(maps(images), maps(images, logits.argmax(dim=1)))
    first, second = logits.topk(2).indices.unbind(1)
    torch.testing.assert_close(maps(images, Contrast()), maps(images, Contrast(first, second)))


def test_contrast_and_against_are_those_of_the_probabilities():
    network, (images, _) = FlatChannels(), images_and_needed()
    maps = ScoreCAM(network, "target")
    with torch.no_grad():
        activations, _ = maps.activations_and_logits(images)
        of_class = [maps.activations_and_weights(images, label)[1] for label in range(4)]
    expected = torch.einsum("nk,nkij->nij", of_class[1] - of_class[2], activations).relu()
    torch.testing.assert_close(maps(images, Contrast(1, 2)), expected)
    assert expected.amax() > 0
    _, against = maps.activations_and_weights(images, Against(2))
    torch.testing.assert_close(against, -of_class[2])


def test_contrast_of_logits_in_loops():
    network, (images, _) = FlatChannels(), images_and_needed()

    class Difference(nn.Module):
        """A network whose class 0 is the contrast."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            logits = self.network(images)
            return torch.stack([logits[:, 3] - logits[:, 1], logits[:, 0]], dim=1)

    with torch.no_grad():
        expected = _in_loops(Difference(), "network.target", images, [0, 0, 0], "algorithm_1")
    torch.testing.assert_close(ScoreCAM(network, "target", variant="algorithm_1")(images, Contrast(3, 1)), expected)


# (network, layer, side of the images)
_PARITY = [
    pytest.param("vgg11", "features.1", 32, marks=pytest.mark.slow),
    ("mobilenet_v2", "features.4", 64),
    pytest.param("resnet18", "layer1", 64, marks=pytest.mark.slow),
    pytest.param("resnet18", "layer2.0.bn1", 64, marks=pytest.mark.slow),
    pytest.param("mobilenet_v2", "features.2", 224, marks=pytest.mark.slow),
]


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), _PARITY)
def test_equals_pytorch_grad_cam_but_for_its_upsampling(name, layer, size, monkeypatch):
    # It aligns the corners, which neither the paper nor the authors' code does; here it is kept from that. Its flat
    # channels make a black image each, and its weights are those of `algorithm_1`, in which the baseline cancels.
    monkeypatch.setattr(
        nn, "UpsamplingBilinear2d", lambda size: nn.Upsample(size, mode="bilinear", align_corners=False)
    )
    network, images = random_network(name), torch.rand(2 if layer == "layer1" else 1, 3, size, size)
    if name == "vgg11":  # its random logits hardly depend on the image
        for parameter in network.parameters():
            parameter.data.mul_(2)
    module, classes = network.get_submodule(layer), torch.tensor([3, 7])[: len(images)]
    maps = ScoreCAM(network, layer, variant="algorithm_1")
    with torch.no_grad():
        activations, weights = maps.activations_and_weights(images, classes)
    with LibraryScoreCAM(network, [module]) as theirs:
        targets = [ClassifierOutputTarget(int(label)) for label in classes]
        expected = torch.from_numpy(theirs.get_cam_weights(images, module, targets, activations.numpy(), None))
    # It adds 1e-8 to the range of a channel, some 0.1.
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=0)
    assert weights.amax() > 1.05 * weights.amin()
    torch.testing.assert_close(maps(images, classes), torch.einsum("nk,nkij->nij", expected, activations).relu())


# Cost --------------------------------------------------------------------------------------------


def _rows(network: nn.Module) -> list[int]:
    """Filled with the rows of each pass of the network."""
    passes: list[int] = []
    network.register_forward_hook(lambda _, inputs, output: passes.append(len(output)))
    return passes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("max_batch", [1, 3, 5, 100])
def test_a_row_for_each_channel_that_is_not_flat_and_full_batches(variant, max_batch):
    network, (images, needed) = FlatChannels(), images_and_needed()
    passes = _rows(network)
    ScoreCAM(network, "target", variant=variant, max_batch=max_batch)(images, 1)
    full, rest = divmod(sum(needed), max_batch)
    expected = [3] + [max_batch] * full + ([rest] if rest else [])
    assert passes == expected + ([1] if variant == "algorithm_1" else [])


@pytest.mark.parametrize("variant", VARIANTS)
def test_num_channels_leaves_the_other_channels_out(variant):
    network, (images, _) = FlatChannels(), images_and_needed()
    with torch.no_grad():
        activations, full = ScoreCAM(network, "target", variant=variant).activations_and_weights(images, 1)
        passes = _rows(network)
        _, weights = ScoreCAM(network, "target", variant=variant, num_channels=2).activations_and_weights(images, 1)
    expected = torch.zeros_like(full)
    for n in range(3):
        strength = activations[n].abs().sum(dim=(-2, -1)).tolist()
        kept = sorted(range(6), key=strength.__getitem__)[-2:]
        expected[n, kept] = full[n, kept]
    if variant == "algorithm_1":  # a softmax over those that are kept
        expected = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(weights, expected)
    assert passes[1] < 3 * 2  # a flat channel among the two strongest costs no pass either
    assert (weights > 0).sum() < (full > 0).sum()
    more = ScoreCAM(network, "target", variant=variant, num_channels=99)(images, 1)
    torch.testing.assert_close(more, ScoreCAM(network, "target", variant=variant)(images, 1))


def test_progress(capsys):
    network, (images, needed) = FlatChannels(), images_and_needed()
    ScoreCAM(network, "target")(images)
    assert capsys.readouterr().err == ""
    ScoreCAM(network, "target", progress=True)(images)
    assert f"{sum(needed)}/{sum(needed)}" in capsys.readouterr().err


# Where it is called ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_map_is_that_of_the_image_alone(variant):
    network, (images, _) = FlatChannels(), images_and_needed()
    maps = ScoreCAM(network, "target", variant=variant, max_batch=4)
    alone = torch.cat([maps(images[n : n + 1], n) for n in range(3)])
    torch.testing.assert_close(maps(images, torch.arange(3)), alone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dead_layer_and_no_images(variant):
    network = FlatChannels()
    maps = ScoreCAM(network, "target", variant=variant)
    assert maps(torch.zeros(0, 3, 12, 10, dtype=torch.float64)).shape == (0, 6, 5)
    with torch.no_grad():
        network.target[1].weight.zero_()
        network.target[1].bias.fill_(-1.0)
    images, _ = images_and_needed()
    passes = _rows(network)
    assert torch.equal(maps(images), torch.zeros(3, 6, 5, dtype=torch.float64))
    assert passes == ([3, 1] if variant == "algorithm_1" else [3])


def test_a_value_that_is_not_finite_stays_visible_and_in_its_map():
    network, (images, _) = FlatChannels(), images_and_needed()
    expected = ScoreCAM(network, "target")(images, 1)
    images[0, 0, 4, 4] = 100.0
    network.register_forward_pre_hook(lambda _, inputs: (inputs[0].masked_fill(inputs[0] > 50, torch.nan),))
    cams = ScoreCAM(network, "target")(images, 1)
    assert cams[0].isnan().any()
    torch.testing.assert_close(cams[1:], expected[1:])


def test_network_in_training_mode_is_run_in_evaluation_mode_and_left_as_found():
    network, (images, _) = FlatChannels(), images_and_needed()
    expected = ScoreCAM(network, "target")(images)
    network.train()
    network.behind[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    torch.testing.assert_close(ScoreCAM(network, "target")(images), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in (network, network.target[1], network.behind[1])] == [True, True, False]
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_no_gradients_in_any_mode(context):
    network, (images, _) = FlatChannels(), images_and_needed()
    graphs: list[bool] = []
    network.register_forward_hook(lambda *arguments: graphs.append(arguments[2].requires_grad))
    images.requires_grad_()
    expected = ScoreCAM(network, "target")(images, 1)
    assert not expected.requires_grad
    with context():
        torch.testing.assert_close(ScoreCAM(network, "target")(images + 0, 1), expected)
    assert not any(graphs)


def test_half_precision():
    network, (images, _) = FlatChannels(), images_and_needed()
    expected = ScoreCAM(network, "target")(images, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cams = ScoreCAM(network.float(), "target")(images.float(), 1)
    assert cams.dtype == torch.float32
    torch.testing.assert_close(cams.double(), expected, rtol=0, atol=0.03 * float(expected.amax()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"differentiable": True}, "`differentiable`: expected False, got True; the weights of ScoreCAM are scores"),
        ({"variant": "softmax"}, "`variant`: expected one of class_probability, algorithm_1, got 'softmax'"),
        ({"max_batch": -1}, "`max_batch`: expected a positive integer, got -1"),
        ({"num_channels": 0}, "`num_channels`: expected a positive integer, got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        ScoreCAM(FlatChannels(), "target", **options)


def test_several_layers():
    with pytest.raises(ValueError, match="`target_layer`: ScoreCAM works on one layer, got 2"):
        ScoreCAM(FlatChannels(), ["stem", "target"])(images_and_needed()[0])
