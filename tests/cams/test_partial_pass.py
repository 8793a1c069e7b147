"""`PartialPass` against passes of the whole network with the layer's output replaced by a hook."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

from camtrain.cams.partial_pass import PartialPass
from camtrain.messages import CamtrainWarning
from camtrain.networks.map_layout import map_layout
from camtrain.networks.uncompiled import uncompiled
from tests.living_things import living_things, uncollected

pytestmark = pytest.mark.usefixtures("double_by_default")

ROWS = 5


def _whole_pass(network: nn.Module, layer: nn.Module, image: Tensor, outputs: Tensor) -> Tensor:
    """What the partial pass is to be equal to."""
    handle = layer.register_forward_hook(lambda *_: outputs.clone())
    try:
        return network(image.repeat(len(outputs), 1, 1, 1))
    finally:
        handle.remove()


def _variants(activations: Tensor) -> Tensor:
    """The activations themselves, and some with a part of them set to zero."""
    kept = torch.rand(ROWS, *activations.shape[1:], generator=torch.Generator().manual_seed(2)) > 0.5
    kept[0] = True
    return activations * kept


def _check(network: nn.Module, name: str, image: Tensor, *, tolerance: float = 1e-9) -> Counter[str]:
    """Compare, and count what the operators of the partial pass were."""
    layer = network.eval().get_submodule(name)
    layout_of = partial(map_layout, images=image, network=network)
    before = image.clone()
    with torch.no_grad():
        behind = PartialPass(network, layer, image, layout_of=layout_of)
        output: list[Tensor] = []
        handle = layer.register_forward_hook(lambda *arguments: output.append(arguments[2].clone()))
        own = network(image.clone())
        handle.remove()
        layout = layout_of(output[0], layer)
        # Not bit by bit: watched, torch's attention takes another path.
        torch.testing.assert_close(behind.activations, layout.maps(output[0]))
        torch.testing.assert_close(behind.logits, own)
        variants = _variants(behind.activations)
        expected = _whole_pass(
            network, layer, image.clone(), layout.output(variants, output[0].expand(ROWS, *output[0].shape[1:]))
        )
        with _Operators() as operators:
            logits = behind(variants.clone())
        again = behind(variants[2:].clone())
    spread = (expected - expected[:1]).abs().amax()
    assert spread > 0, "the variants must matter"
    # The effect of the variants is what has to be right, which may be small beside the logits.
    torch.testing.assert_close(logits, expected, rtol=0, atol=float(tolerance * spread + 1e-12 * expected.abs().amax()))
    torch.testing.assert_close(
        again, expected[2:], rtol=0, atol=float(tolerance * spread + 1e-12 * expected.abs().amax())
    )
    assert torch.equal(image, before)
    return operators.counts


class _Operators(TorchDispatchMode):
    """Counts the operators that are executed."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.__name__.split(".")[0]] += 1
        return function(*args, **(kwargs or {}))


# Networks ----------------------------------------------------------------------------------------

# (network, target layer, convolutions and matrix products behind the layer)
_TORCHVISION = [
    ("resnet18", "layer4", 0, 1),
    ("resnet18", "layer4.1.conv1", 1, 1),  # in the middle of a residual block
    ("resnet18", "layer4.0.downsample", 2, 1),  # the other branch is before it
    ("resnet18", "layer3.0", 7, 1),
    ("mobilenet_v2", "features.17", 1, 1),
    ("mobilenet_v2", "features.17.conv.1.0", 2, 1),
    ("densenet121", "features.denseblock3", 33, 1),
    ("densenet121", "features.denseblock4.denselayer15", 2, 1),
    ("densenet121", "features.denseblock4.denselayer15.norm2", 3, 1),
    ("googlenet", "inception5a", 6, 1),
    ("googlenet", "inception5b.branch2.0", 4, 1),  # branches 3 and 4 come after it, branch 1 before
]


@pytest.mark.parametrize(("name", "layer", "convolutions", "products"), _TORCHVISION)
def test_torchvision_and_only_what_lies_behind_is_computed(name, layer, convolutions, products):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    network = models.get_model(name, weights=None, num_classes=7, **options)
    _stir(network)
    counts = _check(network, layer, torch.rand(1, 3, 64, 64))
    assert counts["convolution"] == convolutions
    assert counts["addmm"] == products


def test_vision_transformer():
    torch.manual_seed(0)
    network = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    _stir(network)
    image = torch.rand(1, 3, 32, 32)
    for layer in ("encoder.layers.encoder_layer_1", "encoder.layers.encoder_layer_1.ln_1"):
        counts = _check(network, layer, image)
        assert counts["convolution"] == 0
        # Of a block: what comes out of its attention, and two layers of the perceptron; then the head.
        assert counts["addmm"] == {"encoder.layers.encoder_layer_1": 4, "encoder.layers.encoder_layer_1.ln_1": 7}[layer]


def test_swin_transformer():
    torch.manual_seed(0)
    network = models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=5
    )
    _stir(network)
    image = torch.rand(1, 3, 64, 64)
    for layer in ("features.1.1", "features.3.0.norm2"):
        assert _check(network, layer, image)["convolution"] == 0


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_channels_last(memory_format):
    torch.manual_seed(0)
    network = models.resnet18(num_classes=4).to(memory_format=memory_format)
    _check(network, "layer3.1.conv1", torch.rand(1, 3, 48, 64).to(memory_format=memory_format))


def test_timm():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    for name, layer, size in (("resnet10t", "layer3.0.act1", 64), ("convnext_atto", "stages.2.blocks.1", 64)):
        network = timm.create_model(name, num_classes=5)
        _stir(network)
        _check(network, layer, torch.rand(1, 3, size, size))


def _stir(network: nn.Module) -> None:
    """Weights with which every branch matters, and statistics that are not the first."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(0.0, 0.5, generator=generator)
        elif isinstance(module, nn.Linear):
            module.weight.data.normal_(0.0, module.in_features**-0.5, generator=generator)


# Forwards that a network may have ----------------------------------------------------------------


class Layers(nn.Module):
    """Layers for a `forward` that is given as a function of them and of the images."""

    def __init__(self, forward: Callable[[Layers, Tensor], Tensor]) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.before2 = nn.Conv2d(4, 4, 3, padding=1)
        self.target = nn.Conv2d(4, 4, 3, padding=1)
        self.behind = nn.Conv2d(4, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(4, 2)
        self.packed = Packed()
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)
        self.function = forward

    def forward(self, images: Tensor) -> Tensor:
        features = self.function(self, images)
        return self.fc(features.flatten(2).mean(dim=2))


def functional(net: Layers, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.relu(F.conv2d(x, net.before.weight, net.before.bias, padding=1)), 2)
    return F.relu(net.behind(F.avg_pool2d(net.target(F.gelu(x)), 2)) + F.avg_pool2d(x, 2))


def works_in_place(net: Layers, x: Tensor) -> Tensor:
    # The value of `skip` is that after all of this, although the name was given before.
    skip = net.before(x)
    net.relu(skip)
    skip += 1
    skip.mul_(2)
    skip[:, 0] = 3
    return net.behind(net.relu(net.target(skip))) * skip


def works_on_its_input(net: Layers, x: Tensor) -> Tensor:
    x.sub_(0.5).div_(0.25)
    return net.behind(F.relu(net.target(net.before(x)), inplace=True)) + x.mean()


def works_behind_on_what_was_before(net: Layers, x: Tensor) -> Tensor:
    skip = net.before(x)
    y = net.target(net.relu(net.before2(skip)))
    net.relu(skip)
    F.hardtanh(skip, -0.5, 0.5, True)
    skip += y
    skip[:, 1] *= y[:, 0]
    return net.behind(skip)


def fills_what_was_before(net: Layers, x: Tensor) -> Tensor:
    # Torch lets these write into memory that rows share.
    first, second = net.before(x), net.before2(net.before(x))
    y = net.target(first)
    first.zero_()
    second.fill_(0.5)
    return net.behind(first + second + y)


def fills_memory_of_its_own(net: Layers, x: Tensor) -> Tensor:
    x = net.before(x)
    buffer = torch.zeros(len(x), 8, *x.shape[2:])
    buffer[:, :4] = x
    torch.mul(x, 2, out=buffer[:, 4:])
    copy = torch.empty(x.shape)
    copy.copy_(x)
    return net.behind(net.target(x) + buffer[:, 4:] + buffer[:, :4] * copy)


def sequence_first(net: Layers, x: Tensor) -> Tensor:
    # Where the second axis counts images nothing can be handed out, and everything is computed.
    tokens = net.before(x).flatten(2).permute(2, 0, 1)
    tokens = tokens + net.attention(tokens, tokens, tokens)[0]
    x = tokens.permute(1, 2, 0).unflatten(2, x.shape[2:])
    x = net.target(x) + x
    tokens = x.flatten(2).permute(2, 0, 1)
    return net.behind(x) + net.attention(tokens, tokens, tokens)[0].permute(1, 2, 0).unflatten(2, x.shape[2:])


def windows(net: Layers, x: Tensor) -> Tensor:
    x = net.before(x)
    n, c, h, w = x.shape
    cut = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(n * 4, c, h // 2, w // 2)
    cut = cut - cut.mean(dim=(-2, -1), keepdim=True)
    x = cut.view(n, 2, 2, c, h // 2, w // 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)
    return net.behind(net.target(x)) * x


def parameters_alone(net: Layers, x: Tensor) -> Tensor:
    # Values of the network's own with one row, which are no image's: they must not be given more.
    own = net.fc.weight[:1].expand(len(x), -1)
    one = net.fc.weight[:1] * 2
    x = net.before(x) + own[:, :, None, None]
    return net.behind(net.target(x) + one.squeeze(0)[:, None, None])


class Halves(NamedTuple):
    first: Tensor
    second: Tensor


class Packed(nn.Module):
    def forward(self, x: Tensor) -> tuple[Halves, list[tuple[Tensor, None]]]:
        return Halves(*x.chunk(2, dim=1)), [(x, None)]


def containers(net: Layers, x: Tensor) -> Tensor:
    x = net.before(x)
    halves, ((whole, _),) = net.packed(x)
    values, _ = whole.max(dim=1, keepdim=True)
    channels = x.unbind(dim=1)
    y = net.target(torch.cat([halves.second, halves.first], dim=1))
    return net.behind(y) + values + torch.stack(channels, dim=1).sum(dim=1, keepdim=True)


def reused(net: Layers, x: Tensor) -> Tensor:
    x = net.relu(net.before2(net.relu(net.before2(net.relu(net.before(x))))))
    return net.before2(net.relu(net.target(x))) + x


def branches_behind(net: Layers, x: Tensor) -> Tensor:
    # The other branch runs after the target layer but does not depend on it.
    y = net.target(net.before(x))
    return net.behind(y) + net.before2(net.before(x))


_FORWARDS = [
    functional, works_in_place, works_on_its_input, works_behind_on_what_was_before, fills_what_was_before,
    fills_memory_of_its_own, sequence_first, windows, parameters_alone, containers, reused, branches_behind,
]  # fmt: skip


@pytest.mark.parametrize("forward", _FORWARDS)
def test_forwards(forward):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="An output with one or more elements was resized")
        counts = _check(Layers(forward), "target", torch.rand(1, 3, 8, 8))
    if forward is functional:
        assert counts["convolution"] == 1
        assert counts["relu"] == 1
        assert counts["gelu"] == counts["max_pool2d_with_indices"] == 0
    if forward is containers:
        assert counts["split"] == counts["max"] == counts["unbind"] == 0


class Block(nn.Module):
    """Is not called again if the target is another layer; computes inside if it holds the target."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor, *, scale: Tensor | None = None) -> dict[str, Any]:
        y = self.conv2(F.relu(self.conv(x)))
        return {"y": y if scale is None else y * scale, "nothing": None}


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(4) for _ in range(3))
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.blocks:
            y = y + block(y, scale=x.mean())["y"]
        return self.fc(y.mean(dim=(-2, -1)))


@pytest.mark.parametrize(("layer", "convolutions"), [("blocks.1.conv", 3), ("blocks.2.conv2", 0), ("blocks.0.conv", 5)])
def test_blocks_with_keywords_and_dictionaries(layer, convolutions):
    torch.manual_seed(0)
    assert _check(Blocks(), layer, torch.rand(1, 3, 8, 8))["convolution"] == convolutions


def test_hooks_of_the_user_are_kept():
    torch.manual_seed(0)
    network = Blocks()
    network.blocks[0].register_forward_hook(lambda *arguments: {"y": 2 * arguments[2]["y"]})
    network.blocks[1].conv.register_forward_hook(lambda *arguments: 3 * arguments[2])
    network.blocks[1].register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1,))
    _check(network, "blocks.1.conv2", torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("kind", ["scripted", "compiled", "compiled in place"])
def test_scripted_and_compiled_parts(kind):
    torch.manual_seed(0)
    torch._dynamo.reset()
    counters.clear()
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)),
        nn.Conv2d(4, 5, 3),
        nn.Sequential(nn.Conv2d(5, 6, 3), nn.ReLU(inplace=True)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()
    with warnings.catch_warnings(), torch.no_grad():
        # Torch warns of its own: scripting is deprecated, and compiling looks at gradients that are not there.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="`network`")
        for index in (0, 2):
            if kind == "scripted":
                network[index] = torch.jit.script(network[index])
            elif kind == "compiled":
                network[index] = torch.compile(network[index], backend="eager")
            else:
                network[index].compile(backend="eager")
        network(torch.rand(1, 3, 9, 9))
        frames = counters["frames"]["total"]
        with uncompiled():
            counts = _check(network, "1", torch.rand(1, 3, 9, 9))
    assert counts["convolution"] == 1
    assert (frames > 0) == kind.startswith("compiled")
    # Nothing was compiled for it, nor from its own code.
    assert counters["frames"]["total"] == frames


# Where it can not be done ------------------------------------------------------------------------


def looks_at_the_batch_size(net: Layers, x: Tensor) -> Tensor:
    x = net.before(x)
    if len(x) > 1:
        x = x.contiguous()
    return net.behind(net.target(x))


class KeepsItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        return x + 1


class KeepsATensorInAnAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.target = KeepsItsInput(), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.target(self.before(x))
        return torch.cat([y, self.before.kept], dim=1).square().mean(dim=(-2, -1))


@pytest.mark.parametrize(
    ("make", "reason", "unused"),
    [
        (lambda: Layers(looks_at_the_batch_size), "contiguous is called where it was Conv2d", 1),
        (KeepsATensorInAnAttribute, "Sizes of tensors must match", 0),
    ],
)
def test_whole_passes_and_a_warning_where_the_passes_differ(make, reason, unused):
    torch.manual_seed(0)
    network = make()
    message = f"`network`: it cannot be run from the target layer on alone.*{reason}"
    with pytest.warns(CamtrainWarning, match=message):
        counts = _check(network, "target", torch.rand(1, 3, 8, 8))
    assert counts["convolution"] == sum(isinstance(module, nn.Conv2d) for module in network.modules()) - unused


def test_larger_batches_that_are_not_alike():
    def forward(net: Layers, x: Tensor) -> Tensor:
        x = net.before(x)
        return net.behind(net.target(x.contiguous() if len(x) > 3 else x))

    torch.manual_seed(0)
    network = Layers(forward)
    with pytest.warns(CamtrainWarning, match="contiguous is called where it was Conv2d"):
        _check(network, "target", torch.rand(1, 3, 8, 8))


def test_random_network_is_warned_of():
    torch.manual_seed(0)
    network = Layers(lambda net, x: net.behind(F.dropout(net.target(net.before(x)), 0.5, training=True)))
    with pytest.warns(CamtrainWarning, match="its logits differ"):
        PartialPass(network, network.target, torch.rand(1, 3, 8, 8))


def test_error_of_the_network_itself_is_shown():
    def fails(net: Layers, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise KeyError("more than one image")
        return net.target(net.before(x))

    network = Layers(fails)
    with torch.no_grad():
        with pytest.warns(CamtrainWarning, match="more than one image"):
            behind = PartialPass(network, network.target, torch.rand(1, 3, 8, 8))
        with pytest.raises(KeyError, match="more than one image"):
            behind(behind.activations.repeat(2, 1, 1, 1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("attention", "it ran 0 times"),
        ("relu", "it ran 4 times; choose the block around it"),
        ("fc", r"expected a layer that puts out \(N, C, h, w\), got \(1, 3\)"),
    ],
)
def test_layer_that_has_no_maps(layer, message):
    network = Layers(reused)
    with pytest.raises(ValueError, match=f"`target_layer`: .*{message}"), torch.no_grad():
        PartialPass(network, network.get_submodule(layer), torch.rand(1, 3, 8, 8))


def test_layer_that_puts_out_something_else():
    network = Blocks()
    with pytest.raises(ValueError, match=r"`target_layer`: expected a layer whose output is one tensor.*got dict"):
        PartialPass(network, network.blocks[1], torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(("output", "got"), [(lambda x: (x, x), "tuple"), (lambda x: x[0], r"\(3,\)")])
def test_network_without_logits(output, got):
    class Network(Layers):
        def forward(self, images: Tensor) -> Tensor:
            return output(super().forward(images))

    network = Network(functional)
    with pytest.raises(ValueError, match=rf"`network`: expected \(N, K\) logits, got {got}"):
        PartialPass(network, network.target, torch.rand(1, 3, 8, 8))


# Leaving no trace --------------------------------------------------------------------------------


def _trace(network: nn.Module) -> dict[str, Any]:
    trace = {
        f"{name}.{key}": id(value) for name, module in network.named_modules() for key, value in vars(module).items()
    }
    hooks = {name: len(module._forward_hooks) for name, module in network.named_modules()}
    return {**trace, **hooks, "modes": torch._C._len_torch_function_stack()}


def test_no_memory_is_kept():
    torch.manual_seed(0)
    network = Layers(works_behind_on_what_was_before)

    def once() -> None:
        behind = PartialPass(network, network.target, torch.rand(1, 3, 8, 8))
        behind(behind.activations.repeat(3, 1, 1, 1))

    with uncollected():
        once()
        before = living_things()
        for _ in range(20):
            once()
        assert living_things() - before < 20


@pytest.mark.parametrize("step", ["nothing", "recording", "second recording", "partial pass", "whole pass"])
def test_nothing_is_left_behind_also_after_an_error(step):
    torch.manual_seed(0)
    armed: list[str] = []

    def forward(net: Layers, x: Tensor) -> Tensor:
        if step == "whole pass" and len(x) > 1:
            x = x + 0  # so that the passes differ
        skip = net.before(x)
        if armed:
            raise KeyError(armed[0])
        y = net.target(skip)
        if step == "second recording":
            skip.relu_()
            armed.append("second recording")
        return net.behind(y) + skip

    network = Layers(forward).eval()
    own = network.before2.forward
    network.before2.forward = own  # an attribute of the user's, in the way of ours
    before = _trace(network)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if step == "recording":
            armed.append(step)
        if "recording" in step:
            with pytest.raises(KeyError, match=step):
                PartialPass(network, network.target, image)
        else:
            behind = PartialPass(network, network.target, image)
            if step != "nothing":
                armed.append(step)
                with pytest.raises(KeyError, match=step):
                    behind(behind.activations.repeat(3, 1, 1, 1))
    after = _trace(network)
    assert before == after
    assert network.before2.forward is own


def test_keeps_of_the_image_no_more_than_the_outermost_calls_put_out():
    torch.manual_seed(0)
    network = models.resnet18(num_classes=3).eval()
    with torch.no_grad():
        behind = PartialPass(network, network.layer4, torch.rand(1, 3, 64, 64))
    kept = {leaf.data_ptr(): leaf.numel() for call in behind._recording.calls for leaf in [call.output]}
    # conv1 and bn1 (the ReLU works in place), maxpool, layer1, layer2, layer3, layer4
    assert sum(kept.values()) == 2 * 64 * 32**2 + 2 * 64 * 16**2 + 128 * 8**2 + 256 * 4**2 + 512 * 2**2
