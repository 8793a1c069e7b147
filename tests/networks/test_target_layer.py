"""Which layer is found, by its name or by its place. Large networks are on the meta device: shapes without time."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from camtrain.networks import CIFARResNet, build_network, last_spatial_layer
from camtrain.networks.target_layer import target_layer_of


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet18", 64, "layer4"),
        ("resnet18", 32, "layer3"),  # layer4 puts out one pixel
        pytest.param("resnet50", 224, "layer4", marks=pytest.mark.slow),
        ("resnet50", 32, "layer3"),  # and not what is inside the first block of layer4, which its shortcut goes around
        pytest.param("inception_v3", 96, "Mixed_6e", marks=pytest.mark.slow),  # and not a branch of Mixed_7a
        pytest.param(
            "vgg11", 64, "features", marks=pytest.mark.slow
        ),  # and not the average pooling, which enlarges to 7×7
        ("vgg11", 32, "features.19"),  # the ReLU before the last max pooling, which leaves one pixel
        ("mobilenet_v2", 64, "features"),
        pytest.param("mobilenet_v3_large", 64, "features", marks=pytest.mark.slow),
        pytest.param("densenet121", 64, "features", marks=pytest.mark.slow),
        ("efficientnet_b0", 64, "features"),
        pytest.param("convnext_tiny", 64, "features", marks=pytest.mark.slow),
        pytest.param("mnasnet0_5", 64, "layers", marks=pytest.mark.slow),
        pytest.param(
            "alexnet", 64, "features.11", marks=pytest.mark.slow
        ),  # the max pooling behind it leaves one pixel
        pytest.param("googlenet", 64, "inception5b", marks=pytest.mark.slow),
        pytest.param("inception_v3", 128, "Mixed_7c", marks=pytest.mark.slow),
        pytest.param("shufflenet_v2_x0_5", 64, "conv5", marks=pytest.mark.slow),
        pytest.param("maxvit_t", 224, "blocks.3", marks=pytest.mark.slow),
        ("swin_t", 64, "permute"),  # back from (N, h, w, C) to (N, C, h, w)
        ("swin_t", 32, "features.5"),  # (N, h, w, C) with 2×2 pixels; the last stage has one
        pytest.param("swin_v2_t", 64, "permute", marks=pytest.mark.slow),
        ("squeezenet1_1", 64, "classifier.2"),  # one channel per class
        ("cifar_resnet8", 32, "layer3"),
        ("cifar_resnet8", 5, "layer3"),
        ("cifar_resnet8", 4, "layer2"),
    ],
)
def test_last_spatial_layer(name, side, expected):
    with torch.device("meta"):
        network = build_network(name, 7).eval()
        # Two images, of which one is run.
        assert last_spatial_layer(network, torch.zeros(2, 3, side, side)) == expected


def test_regnet():
    # It computes its widths with tensors, which the meta device has none of.
    network = build_network("regnet_y_400mf", 7).eval()
    assert last_spatial_layer(network, torch.zeros(1, 3, 64, 64)) == "trunk_output"


def test_small_stem():
    with torch.device("meta"):
        network = build_network("resnet18", 7, stem="small").eval()
        assert last_spatial_layer(network, torch.zeros(1, 3, 32, 32)) == "layer4"


class Wrapper(nn.Module):
    """A user's network: a backbone inside, pooled by a function, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CIFARResNet(8)
        self.backbone.avgpool = nn.Identity()
        self.backbone.fc = nn.Identity()
        self.head = nn.Sequential(nn.Dropout(), nn.LazyLinear(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def test_backbone_inside_a_wrapper():
    network = Wrapper().eval()
    # The Identity in the place of the pooling puts out what `layer3` does.
    assert last_spatial_layer(network, torch.zeros(1, 3, 16, 16)) == "backbone.avgpool"
    network.backbone.avgpool = nn.AdaptiveAvgPool2d(1)
    network.head[1] = nn.LazyLinear(3)
    assert last_spatial_layer(network, torch.zeros(1, 3, 16, 16)) == "backbone.layer3"


def test_where_every_layer_is_gone_around_it_is_the_last():
    class Ladder(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(8, 2)

        def forward(self, images):
            return self.head(torch.cat([self.left(images).mean((2, 3)), self.right(images).mean((2, 3))], dim=1))

    assert last_spatial_layer(Ladder().eval(), torch.zeros(1, 3, 8, 8)) == "right"


def test_frozen_networks_and_no_grad():
    network = build_network("resnet18", 3).eval().requires_grad_(False)
    for context in (nullcontext, torch.no_grad, torch.inference_mode):
        with context():
            assert last_spatial_layer(network, torch.zeros(1, 3, 32, 32)) == "layer3"


def test_rectangular_images_of_one_row():
    assert last_spatial_layer(CIFARResNet(8).eval(), torch.zeros(1, 3, 1, 9)) == "layer3"


def test_images_of_one_pixel():
    with pytest.raises(ValueError, match=r"`target_layer`: no layer of CIFARResNet .*images of 1×1; name the layer"):
        last_spatial_layer(CIFARResNet(8).eval(), torch.zeros(1, 3, 1, 1))


def test_network_without_pixels():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4))
    with pytest.raises(ValueError, match="`target_layer`: no layer of Sequential"):
        last_spatial_layer(network, torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet18", 64, "layer4"),
        ("convnext_atto", 64, "norm_pre"),  # an identity behind the stages
        ("efficientnet_b0", 64, "bn2"),
        ("mobilenetv3_small_050", 64, "blocks"),
        ("regnetx_002", 64, "final_conv"),
        ("densenet121", 64, "features"),
        ("mobilevit_xxs", 64, "final_conv"),
        ("pvt_v2_b0", 64, "stages"),
        ("swin_tiny_patch4_window7_224", 224, "norm"),  # (N, h, w, C)
        ("resnet50_clip", 224, "final_conv"),  # pooled by attention over tokens
    ],
)
def test_networks_of_timm(name, side, expected):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=7).eval()
        assert last_spatial_layer(network, torch.zeros(1, 3, side, side)) == expected


# Transformers ------------------------------------------------------------------------------------


def small_vit(**options) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=4, **options
    ).eval()


def test_the_class_token_of_a_vision_transformer_is_all_that_its_last_block_puts_out():
    network, images = small_vit(), torch.rand(2, 3, 32, 32)
    # The weights of its head are zero, and so are all gradients of its logits.
    assert not network.heads[0].weight.any()
    for _ in range(2):
        assert last_spatial_layer(network, images) == "encoder.layers.encoder_layer_2.ln_1"
        nn.init.normal_(network.heads[0].weight)
    # By hand: no token but the first has a gradient behind the layer that is found, and all have one in it.
    reached = {}
    for name in ("encoder.layers.encoder_layer_2.ln_1", "encoder.layers.encoder_layer_2", "encoder.ln"):
        tokens = []
        handle = network.get_submodule(name).register_forward_hook(lambda _m, _i, output, to=tokens: to.append(output))
        logits = network(images)
        handle.remove()
        (gradient,) = torch.autograd.grad(logits.square().sum(), tokens[0])
        reached[name] = gradient.abs().sum(dim=2).gt(0).sum(dim=1).tolist()
    assert list(reached.values()) == [[17, 17], [1, 1], [1, 1]]


@pytest.mark.parametrize("size", [(32, 32), (16, 48)])
def test_averaged_tokens_all_count(size):
    class Averaged(nn.Module):
        """Tokens of patches, without a class token."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.block(self.patches(images).flatten(2).transpose(1, 2)).mean(dim=1))

    assert last_spatial_layer(Averaged().eval(), torch.rand(1, 3, *size)) == "block"


def test_swin_transformer_with_its_own_head():
    torch.manual_seed(0)
    network = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], num_classes=3).eval()
    assert last_spatial_layer(network, torch.rand(1, 3, 32, 32)) == "permute"
    network.permute = network.avgpool = nn.Identity()
    network.flatten = nn.Flatten(1, 2)
    network.head = nn.Sequential(nn.LayerNorm(16), type("Mean", (nn.Module,), {"forward": _mean})(), nn.Linear(16, 3))
    # Tokens (N, L, C) of the (N, h, w, C) before.
    assert last_spatial_layer(network, torch.rand(1, 3, 32, 32)) == "head.0"


def _mean(_module: nn.Module, tokens: Tensor) -> Tensor:
    return tokens.mean(dim=1)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vit_tiny_patch16_224", {}, "blocks.1.norm1"),
        ("vit_tiny_patch16_224", {"reg_tokens": 4}, "blocks.1.norm1"),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}, "norm"),
        ("deit_tiny_distilled_patch16_224", {}, "blocks.1.norm1"),
        ("eva02_tiny_patch14_224", {"img_size": 56}, "norm"),  # the average of the tokens goes into the head
        ("cait_xxs24_224", {}, "blocks_token_only.1.norm1"),  # attention of a class: queries, keys, values apart
    ],
)
def test_vision_transformers_of_timm(name, options, expected):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"img_size": 64, "depth": 2, **options}
    network = timm.create_model(name, pretrained=False, num_classes=7, **options).eval()
    assert last_spatial_layer(network, torch.rand(1, 3, options["img_size"], options["img_size"])) == expected


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_transformer_where_gradients_are_off(context):
    network = small_vit()
    with context():
        assert last_spatial_layer(network, torch.rand(1, 3, 32, 32)) == "encoder.layers.encoder_layer_2.ln_1"
    network.requires_grad_(False)
    assert last_spatial_layer(network, torch.rand(1, 3, 32, 32)) == "encoder.layers.encoder_layer_2.ln_1"
    assert all(parameter.grad is None for parameter in network.parameters())


class Dropped(nn.Module):
    """A transformer that goes on with some of the tokens: which place they have, nobody can tell."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep
        self.patches, self.mixer, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.mixer(tokens[:, : self.keep]).mean(1))


def test_tokens_that_are_no_map():
    assert last_spatial_layer(Dropped(keep=16).eval(), torch.rand(1, 3, 32, 32)) == "mixer"
    with pytest.raises(
        ValueError,
        match=r"`target_layer`: after 'patches', Dropped works on tokens \(N, L, C\) that fit no map of images of "
        r"32×32: 'mixer' puts out \(1, 15, 8\). Name the layer to explain",
    ):
        last_spatial_layer(Dropped(keep=15).eval(), torch.rand(1, 3, 32, 32))


def test_logits_that_depend_on_no_token():
    class Detached(Dropped):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    with pytest.raises(
        ValueError, match=r"`target_layer`: the logits of Detached have no gradient .*: 'mixer', 'patches'; name"
    ):
        last_spatial_layer(Detached(keep=16).eval(), torch.rand(1, 3, 32, 32))


def test_a_gate_before_the_tokens_is_no_head():
    class Gated(nn.Module):
        """Logits without a gradient; the gate has one."""

        def __init__(self) -> None:
            super().__init__()
            self.patches, self.gate, self.mixer = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return 0 * self.mixer(tokens * self.gate(tokens.mean(dim=1)).unsqueeze(1)).mean(dim=1)

    with pytest.raises(ValueError, match="`target_layer`: the logits of Gated have no gradient"):
        last_spatial_layer(Gated().eval(), torch.rand(1, 3, 32, 32))


def test_what_is_inside_attention_is_no_map():
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queries, self.keys, self.values = (nn.Linear(8, 8) for _ in range(3))
            self.weights = nn.Softmax(dim=-1)

        def forward(self, tokens: Tensor) -> Tensor:
            weights = self.weights(self.queries(tokens) @ self.keys(tokens).transpose(1, 2))
            return weights @ self.values(tokens)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8)
            self.attention, self.head = SelfAttention(), nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
            return self.head((tokens + self.attention(self.norm(tokens)))[:, 0])

    torch.manual_seed(0)
    assert last_spatial_layer(Network().eval(), torch.rand(1, 3, 32, 32)) == "norm"


def test_queries_keys_and_values_in_one_are_between_two_layers():
    class Network(nn.Module):
        """Its attention has no module of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.patches, self.norm, self.qkv = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8), nn.Linear(8, 24)
            self.last_norm, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
            queries, keys, values = self.qkv(self.norm(tokens)).chunk(3, dim=2)
            tokens = tokens + (queries @ keys.transpose(1, 2)).softmax(dim=2) @ values
            return self.head(self.last_norm(tokens)[:, 0])

    torch.manual_seed(0)
    assert last_spatial_layer(Network().eval(), torch.rand(1, 3, 32, 32)) == "norm"


# -------------------------------------------------------------------------------------------------


def test_a_compiled_network():
    network = CIFARResNet(8).eval()
    images = torch.rand(1, 3, 16, 16)
    compiled = torch.compile(network, backend="eager")
    compiled(images)  # hooks that come later are ignored
    assert last_spatial_layer(compiled, images) == "_orig_mod.layer3"


def test_modules_that_run_twice_are_passed_over():
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 5, 1), relu, nn.Flatten(), nn.Linear(80, 2))
    assert last_spatial_layer(network, torch.zeros(1, 3, 4, 4)) == "2"


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_removed(fails):
    network = CIFARResNet(8).eval()
    if fails:
        network.fc = nn.Linear(1, 1)  # the pass ends with an error of torch's
    with pytest.raises(RuntimeError, match="shapes") if fails else nullcontext():
        last_spatial_layer(network, torch.zeros(1, 3, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_target_layer_of():
    network = CIFARResNet(8)
    assert target_layer_of(network, "layer3") is network.layer3
    assert target_layer_of(network, "layer2.0.conv1") is network.layer2[0].conv1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("layer4", "did you mean 'layer3', 'layer2', 'layer1'"),
        ("layer3.0.conv", "did you mean .*'layer3.0.conv"),
        ("", "there are 'conv1'"),
        ("???", "there are 'conv1', 'bn1', 'relu', 'layer1', .* more"),
    ],
)
def test_unknown_name(name, nearest):
    with pytest.raises(ValueError, match="`target_layer`: no module is called .*; " + nearest):
        target_layer_of(CIFARResNet(8), name)
