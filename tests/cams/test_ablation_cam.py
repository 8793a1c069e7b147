"""`AblationCAM` by hand, in loops with whole passes, and against captum and pytorch-grad-cam."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerFeatureAblation
from pytorch_grad_cam import AblationCAM as LibraryAblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision import models

from camtrain.cams.ablation_cam import AblationCAM, ablation_weights
from camtrain.gradients import Against, Contrast
from camtrain.messages import CamtrainWarning
from camtrain.networks import CIFARResNet
from tests.cams.random_network import PARITY_CASES, random_network


def test_weights_by_hand():
    scores = torch.tensor([4.0, -4.0, 0.0])
    ablated = torch.tensor([[3.0, 5.0, 4.0], [-5.0, -3.0, -4.0], [-2.0, 0.5, 0.0]])
    expected = torch.tensor([[0.25, -0.25, 0.0], [0.25, -0.25, 0.0], [2.0, -0.5, 0.0]])
    assert torch.equal(ablation_weights(scores, ablated), expected)


class GapAndLinear(nn.Module):
    """Fixed features of the image, averaged, and a linear layer with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.features.weight.copy_(
                torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).view(3, 3, 1, 1)
            )
            self.fc.weight.copy_(torch.tensor([[4.0, -8.0, 5.0], [-4.0, -8.0, 5.0]]))
            self.fc.bias.copy_(torch.tensor([4.0, 2.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean(dim=(-2, -1)))


IMAGE = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, -2.0], [1.0, 0.0]], [[5.0, 5.0], [5.0, 5.0]]]])
# A_0 = [[1, 2], [0, 1]] with mean 1, A_1 = [[0, -2], [1, 0]] with mean -1/4, A_2 = 0.
# y_0 = 4 + 2 + 4 = 10; without A_0: 6, without A_1: 8. Weights 0.4 and 0.2.
# y_1 = -4 + 2 + 2 = 0; without A_0: 4, without A_1: -2. There is no relative drop; weights -4 and 2.


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (0, [[0.4, 0.4], [0.2, 0.4]]),
        (None, [[0.4, 0.4], [0.2, 0.4]]),
        (1, [[0.0, 0.0], [2.0, 0.0]]),  # -4 A_0 + 2 A_1 = [[-4, -12], [2, -4]]
        (Against(0), [[0.0, 0.0], [0.0, 0.0]]),  # weights -0.4 and -0.2
        (Contrast(0, 1), [[0.8, 1.6], [0.0, 0.8]]),  # y = 10; without A_0: 2, without A_1: 10. Weights 0.8 and 0
    ],
)
def test_network_by_hand(class_idx, expected):
    torch.testing.assert_close(AblationCAM(GapAndLinear(), "features")(IMAGE, class_idx), torch.tensor([expected]))


def test_a_negative_score_does_not_turn_the_map_round():
    network = GapAndLinear()
    with torch.no_grad():
        network.fc.bias[0] = -16.0  # y_0 = -10
    # The drops are as before, 4 and 2, and so are the weights; by the formula of the paper they were -0.4 and -0.2.
    torch.testing.assert_close(AblationCAM(network, "features")(IMAGE, 0), torch.tensor([[[0.4, 0.4], [0.2, 0.4]]]))


def _in_loops(network: nn.Module, layer: str, images: Tensor, classes: list[int]) -> Tensor:
    """One whole pass for each channel of each image."""
    cams = []
    module = network.get_submodule(layer)
    for image, label in zip(images, classes, strict=True):
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda *arguments, seen=seen: seen.append(arguments[2].clone()))
        score = network(image[None])[0, label]
        handle.remove()
        (activations,) = seen[0]
        cam = torch.zeros_like(activations[0])
        for k in range(len(activations)):
            ablated = activations.clone()
            ablated[k] = 0
            handle = module.register_forward_hook(lambda *_, ablated=ablated: ablated[None])
            drop = score - network(image[None])[0, label]
            handle.remove()
            cam += drop / score.abs() * activations[k]
        cams.append(cam.clamp(min=0))
    return torch.stack(cams)


@pytest.mark.parametrize("layer", ["layer1", "layer2.0.conv1", "layer3", "conv1"])
@pytest.mark.parametrize("max_batch", [1, 7, 1000])
def test_equals_whole_passes_in_loops(layer, max_batch):
    network, images = _trained_network(), torch.rand(3, 3, 16, 12, dtype=torch.float64)
    classes = [2, 0, 3]
    with torch.no_grad():
        expected = _in_loops(network, layer, images, classes)
    cams = AblationCAM(network, layer, max_batch=max_batch)(images, torch.tensor(classes))
    torch.testing.assert_close(cams, expected, rtol=1e-9, atol=1e-12)
    assert expected.flatten(1).amax(dim=1).min() > 1e-3
    # Without a class, that of each image; a single one is that of all.
    with torch.no_grad():
        predicted = network(images).argmax(dim=1)
    maps = AblationCAM(network, layer)
    torch.testing.assert_close(maps(images), maps(images, predicted))
    torch.testing.assert_close(maps(images, 1), maps(images, torch.tensor([1, 1, 1])))


def _trained_network() -> nn.Module:
    """In float64, with biases and statistics as after some training."""
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=4, width=4).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_contrast_of_each_image_and_its_runner_up():
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        logits = network(images)
    order = logits.argsort(dim=1, descending=True)
    maps = AblationCAM(network, "layer3")
    cams = maps(images, Contrast())
    torch.testing.assert_close(cams, maps(images, Contrast(order[:, 0], order[:, 1])))
    assert not torch.allclose(cams, maps(images, order[:, 0]))


def _score_and_activations(network: nn.Module, layer: str, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *arguments: seen.append(arguments[2].clone()))
    with torch.no_grad():
        logits = network(images)
    handle.remove()
    return logits.gather(1, classes[:, None]).squeeze(1), seen[0]


def _agree(ours: Tensor, theirs: Tensor) -> None:
    """Weights 1 - y_k / y, up to the rounding of y_k, of y, of the difference and of the quotient in `theirs`' type."""
    largest = float(theirs.abs().amax())
    assert largest > 1e-3
    unit = max(torch.finfo(theirs.dtype).eps / 2, 1e-12)  # in float64, the rounding within the passes is above that
    torch.testing.assert_close(ours, theirs.to(ours), rtol=0, atol=unit * (2 + 3 * largest))


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "layer", "size"), [*PARITY_CASES, pytest.param("mobilenet_v2", "features.4", 224, marks=pytest.mark.slow)]
)
def test_equals_captum(name, layer, size):
    # Not where the next function works in place on what the layer puts out, as behind `layer2.1.bn2` of a ResNet:
    # captum keeps what that function makes of it.
    network, images, classes = random_network(name), torch.rand(1, 3, size, size), torch.tensor([3])
    scores, activations = _score_and_activations(network, layer, images, classes)
    strongest = activations[0].abs().sum(dim=(-2, -1)).argsort(descending=True)[:16]
    # Each of these channels by itself, and all the others at once, which is not compared.
    groups = torch.full((activations.shape[1],), 16).index_copy_(0, strongest, torch.arange(16))
    with torch.no_grad():
        drops = LayerFeatureAblation(network, network.get_submodule(layer)).attribute(
            images,
            target=classes,
            layer_baselines=0,
            layer_mask=groups.view(1, -1, 1, 1).expand_as(activations),
        )
        maps = AblationCAM(network, layer, num_channels=16)
        seen, weights = maps.activations_and_weights(images, classes)
    assert torch.equal(seen, activations)
    _agree(weights[0, strongest], (drops[..., 0, 0] / scores.abs())[0, strongest])
    assert weights.count_nonzero() <= 16
    torch.testing.assert_close(maps(images, classes), torch.einsum("nk,nkij->nij", weights, activations).relu())


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer1"), ("mobilenet_v2", "features.0")])
def test_equals_pytorch_grad_cam_after_a_relu_where_the_score_is_positive(name, layer):
    # Where activations are negative it puts the smallest one minus 1e7 in the place of zero, and it divides by y.
    network, images = random_network(name), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        classes = network(images).argmax(dim=1)
    scores, activations = _score_and_activations(network, layer, images, classes)
    assert scores.min() > 0
    assert activations.min() == 0
    module = network.get_submodule(layer)
    with LibraryAblationCAM(network, [module]) as theirs:
        target = [ClassifierOutputTarget(int(classes))]
        expected = torch.from_numpy(theirs.get_cam_weights(images, module, target, activations.numpy(), None))
    with torch.no_grad():
        _, weights = AblationCAM(network, layer).activations_and_weights(images, classes)
    _agree(weights, expected)


# Cost --------------------------------------------------------------------------------------------


def _rows(network: nn.Module, layer: str) -> tuple[list[int], list[int]]:
    """Filled with the rows of each pass of the network and of the module behind `layer`."""
    passes: list[int] = []
    behind: list[int] = []
    network.register_forward_hook(lambda _, inputs, output: passes.append(len(output)))
    network.get_submodule(layer).register_forward_hook(lambda _, inputs, output: behind.append(len(output)))
    return passes, behind


@pytest.mark.parametrize("max_batch", [1, 3, 8, 100])
def test_rows_are_bounded_and_channels_of_zeros_are_skipped(max_batch):
    network = _trained_network().float()
    with torch.no_grad():
        network.layer2[0].bn2.weight[:3] = 0
        network.layer2[0].bn2.bias[:3] = -100.0  # dead behind the ReLU
    images = torch.rand(2, 3, 16, 16)
    _, activations = _score_and_activations(network, "layer2", images, torch.tensor([0, 0]))
    alive = (activations.abs().amax(dim=(-2, -1)) > 0).sum(dim=1).tolist()
    assert all(0 < count <= 8 - 3 for count in alive)
    passes, behind = _rows(network, "layer3")
    inside: list[int] = []
    network.layer1[0].conv1.register_forward_hook(lambda _, inputs, output: inside.append(len(output)))
    AblationCAM(network, "layer2", max_batch=max_batch)(images, 1)
    expected = []
    for count in alive:
        expected += [1, min(2, max_batch)]  # the image itself; the check that it can be run from the layer on
        expected += [max_batch] * (count // max_batch) + ([count % max_batch] if count % max_batch else [])
    assert passes == behind == expected
    assert inside == [1, 1]  # what lies before the layer runs once for each image


def test_skipped_channels_change_nothing():
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        network.layer2[0].bn2.bias[:3] = -100.0
        expected = _in_loops(network, "layer2", images, [1, 1])
    torch.testing.assert_close(AblationCAM(network, "layer2")(images, 1), expected)


def test_num_channels_leaves_the_other_channels_out():
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        scores, activations = _score_and_activations(network, "layer2", images, torch.tensor([1, 1]))
        full = AblationCAM(network, "layer2").activations_and_weights(images, 1)[1]
    weights = torch.zeros_like(full)
    for n in range(2):
        order = sorted(range(8), key=lambda k: -float(activations[n, k].abs().sum()))
        weights[n, order[:3]] = full[n, order[:3]]
    expected = torch.einsum("nk,nkij->nij", weights, activations).relu()
    passes, _ = _rows(network, "layer3")
    torch.testing.assert_close(AblationCAM(network, "layer2", num_channels=3)(images, 1), expected)
    assert passes == [1, 2, 3] * 2
    torch.testing.assert_close(
        AblationCAM(network, "layer2", num_channels=99)(images, 1), AblationCAM(network, "layer2")(images, 1)
    )
    assert scores.shape == (2,)


def test_whole_passes_where_there_is_no_other_way():
    class LooksAtTheBatchSize(CIFARResNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images if len(images) == 1 else images + 0)

    torch.manual_seed(0)
    network = LooksAtTheBatchSize(8, num_classes=4, width=4).double().eval()
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    with torch.no_grad():
        expected = _in_loops(network, "layer2", images, [1, 1])
    with pytest.warns(CamtrainWarning, match="cannot be run from the target layer on alone"):
        cams = AblationCAM(network, "layer2", max_batch=4)(images, 1)
    torch.testing.assert_close(cams, expected)


# Where it is called ------------------------------------------------------------------------------


@pytest.mark.usefixtures("double_by_default")
def test_tokens_keep_their_class_token():
    torch.manual_seed(0)
    network = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    ).eval()
    nn.init.normal_(network.heads.head.weight)
    layer, images = "encoder.layers.encoder_layer_1", torch.rand(2, 3, 32, 32)
    module = network.get_submodule(layer)
    expected = torch.zeros(2, 4, 4)
    for n in range(2):
        (score,), tokens = _score_and_activations(network, layer, images[n : n + 1], torch.tensor([2]))
        for k in range(16):
            ablated = tokens.clone()
            ablated[:, 1:, k] = 0
            handle = module.register_forward_hook(lambda *_, ablated=ablated: ablated)
            with torch.no_grad():
                drop = score - network(images[n : n + 1])[0, 2]
            handle.remove()
            expected[n] += drop / score.abs() * tokens[0, 1:, k].view(4, 4)
    expected = expected.relu()
    assert expected.amax() > 0
    torch.testing.assert_close(AblationCAM(network, layer)(images, 2), expected, rtol=1e-9, atol=1e-12)


def test_network_in_training_mode_is_run_in_evaluation_mode_and_left_as_found():
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    expected = AblationCAM(network, "layer2")(images)
    network.train()
    network.bn1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in network.named_modules()}
    state = torch.get_rng_state()
    torch.testing.assert_close(AblationCAM(network, "layer2")(images), expected)
    assert {name: set(vars(module)) for name, module in network.named_modules()} == attributes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in (network, network.bn1, network.layer1)] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_no_gradients_in_any_mode(context):
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    expected = AblationCAM(network, "layer2")(images, 1)
    assert not expected.requires_grad
    with context():
        torch.testing.assert_close(AblationCAM(network, "layer2")(images + 0, 1), expected)


def test_no_images():
    assert AblationCAM(CIFARResNet(8).eval(), "layer2")(torch.zeros(0, 3, 8, 8)).shape == (0, 4, 4)


def test_dead_layer_gives_a_map_of_zeros_with_no_pass():
    network = _trained_network()
    with torch.no_grad():
        network.layer3[0].bn2.weight.zero_()
        network.layer3[0].bn2.bias.fill_(-100.0)
    passes, _ = _rows(network, "layer3")
    cams = AblationCAM(network, "layer3")(torch.rand(2, 3, 16, 16, dtype=torch.float64))
    assert torch.equal(cams, torch.zeros_like(cams))
    assert passes == [1, 2] * 2


def test_progress(capsys):
    network, images = _trained_network(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    AblationCAM(network, "layer2")(images)
    assert capsys.readouterr().err == ""
    AblationCAM(network, "layer2", progress=True)(images)
    assert "AblationCAM: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"differentiable": True}, "`differentiable`: expected False, got True; the weights of AblationCAM are scores"),
        ({"max_batch": 0}, "`max_batch`: expected a positive integer, got 0"),
        ({"max_batch": 2.5}, "`max_batch`: expected a positive integer, got 2.5"),
        ({"num_channels": 0}, "`num_channels`: expected a positive integer, got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        AblationCAM(CIFARResNet(8), "layer2", **options)


@pytest.mark.parametrize("class_idx", [4, torch.tensor([0, 1]), Contrast(0, 9)])
def test_wrong_class(class_idx):
    with pytest.raises(ValueError, match="`class_idx`"):
        AblationCAM(_trained_network(), "layer2")(torch.rand(3, 3, 16, 16, dtype=torch.float64), class_idx)


def test_several_layers():
    with pytest.raises(ValueError, match="`target_layer`: AblationCAM works on one layer, got 2"):
        AblationCAM(_trained_network(), ["layer2", "layer3"])(torch.rand(1, 3, 16, 16, dtype=torch.float64))
