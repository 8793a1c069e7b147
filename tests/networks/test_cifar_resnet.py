"""`CIFARResNet` against the figures of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.networks import CIFARResNet


@pytest.mark.parametrize(
    ("depth", "of_the_paper", "with_option_a"),
    [(20, 0.27e6, 269_722), (32, 0.46e6, 464_154), (44, 0.66e6, 658_586), (56, 0.85e6, 853_018)],
)
def test_number_of_parameters(depth, of_the_paper, with_option_a):
    # Option B adds two 1×1 convolutions, 16 to 32 and 32 to 64 channels, with their BatchNorm.
    option_b = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    parameters = sum(parameter.numel() for parameter in CIFARResNet(depth).parameters())
    assert parameters == with_option_a + option_b
    assert parameters == pytest.approx(of_the_paper, rel=0.02)


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_depth_is_the_number_of_weighted_layers(depth):
    modules = list(CIFARResNet(depth).modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    assert len(convolutions) + sum(isinstance(module, nn.Linear) for module in modules) == depth


@pytest.mark.parametrize(("side", "width"), [(32, 16), (64, 16), (33, 5)])
def test_stages(side, width):
    network = CIFARResNet(14, num_classes=7, width=width)
    shapes = {}
    for stage in ("conv1", "layer1", "layer2", "layer3"):
        network.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: shapes.update({stage: tuple(output.shape)})
        )
    logits = network(torch.zeros(2, 3, side, side))
    half = (side + 1) // 2
    quarter = (half + 1) // 2
    assert shapes == {
        "conv1": (2, width, side, side),
        "layer1": (2, width, side, side),
        "layer2": (2, 2 * width, half, half),
        "layer3": (2, 4 * width, quarter, quarter),
    }
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("depth", [-4, 0, 2, 7, 9, 10, 18])
def test_wrong_depth(depth):
    with pytest.raises(ValueError, match=rf"`depth`: expected 6n \+ 2 .*got {depth}"):
        CIFARResNet(depth)


@pytest.mark.parametrize("side", [32, 33])
def test_stem_stride_halves_the_resolution_of_every_stage(side):
    torch.manual_seed(0)
    network = CIFARResNet(8, width=4)
    strided = CIFARResNet(8, width=4, stem_stride=2)
    strided.load_state_dict(network.state_dict())  # the same parameters: only the stride differs
    images = torch.rand(2, 3, side, side)
    half = (side + 1) // 2
    assert strided.conv1(images).shape == (2, 4, half, half)
    torch.testing.assert_close(strided.conv1(images), network.conv1(images)[..., ::2, ::2])


@pytest.mark.parametrize(
    ("argument", "value"), [("width", 0), ("num_classes", 0), ("num_classes", -1), ("stem_stride", 0)]
)
def test_wrong_size(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`: expected a positive integer, got {value}"):
        CIFARResNet(8, **{argument: value})
