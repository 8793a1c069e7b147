"""`GradientCAM`: several layers at once, tokens of transformers by hand and against pytorch-grad-cam."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from camtrain.cams import GradCAM, GradientCAM
from camtrain.cams.normalize import normalize
from camtrain.cams.resize import resize
from camtrain.networks import CIFARResNet


class SignedCAM(GradientCAM):
    """Grad-CAM before its ReLU, so that no map of a random network is zeros."""

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return 1e3 * (gradients.mean(dim=(-2, -1), keepdim=True) * activations).sum(dim=1)


class Derivatives(GradientCAM):
    """Puts out what a map is made of, (N, C, h, w, 2)."""

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.stack([activations, gradients], dim=-1)


@pytest.fixture
def resnet() -> CIFARResNet:
    torch.manual_seed(0)
    return CIFARResNet(8, num_classes=3, width=4).double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Several layers ----------------------------------------------------------------------------------


def test_each_layer_has_the_derivatives_it_has_alone(resnet, images):
    layers = ["layer3", "layer1", "layer2.0.conv1"]
    together = Derivatives(resnet, layers).derivatives(images, torch.tensor([2, 0]))
    assert [tuple(activations.shape) for activations, _ in together] == [(2, 16, 4, 4), (2, 4, 16, 16), (2, 8, 8, 8)]
    for layer, (activations, gradients) in zip(layers, together, strict=True):
        alone = Derivatives(resnet, layer)(images, torch.tensor([2, 0]))
        torch.testing.assert_close(activations, alone[..., 0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradients, alone[..., 1], rtol=1e-9, atol=1e-15)
        assert gradients.abs().amax() > 0


def test_the_mean_of_normalized_maps_at_the_size_of_the_largest(resnet, images):
    layers = ["layer3", "layer1", "layer2"]
    alone = [SignedCAM(resnet, layer)(images, 1) for layer in layers]
    expected = sum(resize(normalize(cams), (16, 16)) for cams in alone) / 3
    torch.testing.assert_close(SignedCAM(resnet, layers)(images, 1), expected, rtol=1e-9, atol=1e-12)
    assert expected.amin() >= 0
    assert 0.3 < expected.amax() <= 1


def test_fusion_by_hand():
    small = torch.tensor([[[0.0, 4.0]]])
    large = torch.tensor([[[10.0, 30.0, 20.0, 20.0]]])
    flat = torch.tensor([[[3.0, 3.0]]])
    # The small map is [0, 1], and at four pixels [0, 1/4, 3/4, 1]; the large one is [0, 1, 1/2, 1/2], the flat one 0.
    fused = SignedCAM(nn.Identity()).fuse([small, large, flat])
    torch.testing.assert_close(fused, torch.tensor([[[0.0, 1.25, 1.25, 1.5]]]) / 3)


def test_the_map_of_one_layer_stays_raw(resnet, images):
    class Unfused(SignedCAM):
        def fuse(self, maps: list[Tensor]) -> Tensor:
            raise AssertionError

    raw = SignedCAM(resnet, "layer2")(images, 1)
    assert raw.amin() < 0
    assert torch.equal(Unfused(resnet, ["layer2"])(images, 1), raw)
    with pytest.raises(AssertionError):
        Unfused(resnet, ["layer2", "layer3"])(images, 1)


def test_one_pass_forward_and_one_backward_whatever_the_number_of_layers(resnet, images):
    passes, backwards = [], []
    resnet.register_forward_pre_hook(lambda *_: passes.append(1))
    resnet.fc.register_forward_hook(
        lambda _module, _inputs, logits: logits.register_hook(lambda _: backwards.append(1)) and None
    )
    SignedCAM(resnet, ["layer1", "layer2", "layer3"])(images, 1)
    assert len(passes) == len(backwards) == 1


def test_a_penalty_on_fused_maps_is_trained(resnet, images):
    with torch.no_grad():  # statistics and biases as after some training, not zeros and ones
        for parameter in resnet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    coefficients = torch.randn(2, 16, 16, dtype=torch.float64)

    def penalty(differentiable: bool) -> Tensor:
        cam = SignedCAM(resnet, ["layer3", "layer1", "layer2"], differentiable=differentiable)
        return (coefficients * cam(images, 1)).sum()

    parameters = dict(resnet.named_parameters())
    # The bias of the head has no part in any gradient of a logit.
    del parameters["fc.bias"]
    gradients = torch.autograd.grad(penalty(True), list(parameters.values()))
    for name in ("conv1.weight", "layer1.0.bn2.bias", "layer2.0.conv1.weight", "layer3.0.conv2.weight", "fc.weight"):
        gradient = gradients[list(parameters).index(name)].flatten()
        index = int(gradient.abs().argmax())
        assert gradient[index].abs() > 1e-3, name
        entry, values = parameters[name].detach().view(-1), []
        original = float(entry[index])
        for step in (1e-6, -1e-6):
            entry[index] = original + step
            values.append(penalty(False))
        entry[index] = original
        torch.testing.assert_close(gradient[index], (values[0] - values[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_a_layer_of_several_that_the_logits_do_not_depend_on(resnet, images):
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.resnet, self.aside = resnet, nn.Conv2d(3, 2, 1).double()

        def forward(self, images: Tensor) -> Tensor:
            self.aside(images)
            return self.resnet(images)

    with pytest.raises(ValueError, match="`target_layer`: the logits do not depend on the output of layer 2 of 3"):
        SignedCAM(Network(), ["resnet.layer1", "aside", "resnet.layer3"])(images)


# Tokens ------------------------------------------------------------------------------------------


@pytest.fixture
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=4
    )
    nn.init.normal_(network.heads[0].weight)  # torchvision makes it zero
    return network.double().eval()


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_vision_transformer_cut_in_two_by_hand(vit, pictures, differentiable):
    blocks = vit.encoder.layers

    def before(images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = vit.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([vit.class_token.expand(2, -1, -1), tokens], dim=1) + vit.encoder.pos_embedding
        tokens = blocks[0](tokens)
        return tokens, blocks[1].ln_1(tokens)

    def behind(tokens: Tensor, normed: Tensor) -> Tensor:
        tokens = tokens + blocks[1].self_attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + blocks[1].mlp(blocks[1].ln_2(tokens))
        return vit.heads(vit.encoder.ln(tokens)[:, 0])

    tokens, normed = (part.detach() for part in before(pictures))
    leaf = normed.clone().requires_grad_()
    logits = behind(tokens, leaf)
    torch.testing.assert_close(logits, vit(pictures), rtol=1e-10, atol=1e-12)
    (gradients,) = torch.autograd.grad(logits[:, 3].sum(), leaf)
    expected = torch.zeros(2, 16, 4, 4, 2, dtype=torch.float64)
    for row in range(4):
        for column in range(4):
            place = 1 + 4 * row + column
            expected[:, :, row, column, 0] = normed[:, place]
            expected[:, :, row, column, 1] = gradients[:, place]
    for layer in ("encoder.layers.encoder_layer_1.ln_1", None):  # which is found, too
        found = Derivatives(vit, layer, differentiable=differentiable)(pictures, 3)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-9, atol=1e-14)
    assert expected[..., 1].abs().flatten(2).amax(dim=2).min() > 0


def test_a_penalty_on_the_map_of_a_vision_transformer_is_trained(vit, pictures):
    """Also through its attention, whose fused kernel has no second derivative."""
    cams = SignedCAM(vit, differentiable=True)(pictures, 3)
    gradients = torch.autograd.grad(cams.square().mean(), list(vit.parameters()), allow_unused=True)
    found = dict(zip(dict(vit.named_parameters()), gradients, strict=True))
    last = "encoder.layers.encoder_layer_1"
    for name in (
        "conv_proj.weight",
        f"{last}.ln_1.weight",
        f"{last}.self_attention.in_proj_weight",
        "heads.head.weight",
    ):
        index = int(found[name].abs().argmax())
        entry, values = vit.get_parameter(name).detach().view(-1), []
        original = float(entry[index])
        for step in (1e-6, -1e-6):
            entry[index] = original + step
            values.append(SignedCAM(vit)(pictures, 3).square().mean())
        entry[index] = original
        analytic = found[name].flatten()[index]
        assert analytic.abs() > 1e-6, name
        torch.testing.assert_close(analytic, (values[0] - values[1]) / 2e-6, rtol=1e-4, atol=1e-9)


def test_layers_of_a_transformer_are_fused(vit, pictures):
    layers = ["conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.ln_1"]
    alone = [SignedCAM(vit, layer)(pictures, 3) for layer in layers]
    expected = sum(normalize(cams) for cams in alone) / 3
    torch.testing.assert_close(SignedCAM(vit, layers)(pictures, 3), expected, rtol=1e-9, atol=1e-12)


def test_a_layer_behind_which_only_the_class_token_counts_has_a_flat_map(vit, pictures):
    found = Derivatives(vit, "encoder.layers.encoder_layer_1")(pictures, 3)
    assert found[..., 0].abs().amax() > 0
    assert torch.equal(found[..., 1], torch.zeros(2, 16, 4, 4, dtype=torch.float64))


def _tokens(prefix: int):
    """The reshaping that pytorch-grad-cam's manual has for square images."""

    def reshape(output: Tensor) -> Tensor:
        side = int((output.shape[1] - prefix) ** 0.5)
        return output[:, prefix:].reshape(len(output), side, side, output.shape[2]).permute(0, 3, 1, 2)

    return reshape


def _pixels(output: Tensor) -> Tensor:
    return output.permute(0, 3, 1, 2)


def _timm(name: str, **options):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=4, img_size=64, **options).eval()


def _torchvision_swin():
    torch.manual_seed(0)
    return SwinTransformer([4, 4], 8, [2, 2], [2, 4], [2, 2], num_classes=4).eval()


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("make", "layer", "reshape"),
    [
        (lambda: _timm("vit_tiny_patch16_224", depth=2), "blocks.1.norm1", _tokens(1)),
        (lambda: _timm("vit_tiny_patch16_224", depth=2), "blocks.0", _tokens(1)),
        (lambda: _timm("deit_tiny_distilled_patch16_224", depth=2), "blocks.1.norm1", _tokens(2)),
        (lambda: _timm("swin_tiny_patch4_window7_224", window_size=2, depths=(1, 1, 1, 1)), "norm", _pixels),
        (
            lambda: _timm("swin_tiny_patch4_window7_224", window_size=2, depths=(1, 1, 1, 1)),
            "layers.3.blocks.0.norm1",
            _pixels,
        ),
        (_torchvision_swin, "features.3.1.norm1", _pixels),
        (_torchvision_swin, "features.1", _pixels),
        (_torchvision_swin, "permute", None),
    ],
    ids=["vit norm", "vit block", "deit", "swin norm", "swin norm1", "torchvision swin", "its first stage", "permuted"],
)
def test_equals_pytorch_grad_cam(make, layer, reshape):
    pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = make()
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([3, 1])
    module = network.get_submodule(layer)
    with pytorch_grad_cam.GradCAM(network, [module], reshape_transform=reshape) as theirs:
        theirs(images, [ClassifierOutputTarget(int(label)) for label in classes])
        captured = theirs.activations_and_grads
        # Before their ReLU and their normalization.
        expected = torch.from_numpy(
            theirs.get_cam_image(
                images, module, classes, captured.activations[0].numpy(), captured.gradients[0].numpy()
            )
        )
    network.zero_grad()
    found = SignedCAM(network, layer)(images, classes) / 1e3
    assert found.shape == expected.shape
    # Random weights make small maps: the tolerance of 1e-9 is relative to the largest value.
    scale = expected.abs().amax()
    assert scale > 0
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        GradCAM(network, layer)(images, classes) / scale, expected.relu() / scale, rtol=0, atol=1e-9
    )
