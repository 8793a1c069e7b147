"""Images that are no batch of images are refused in words that name the argument and the way out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import camtrain
from camtrain import Objective
from camtrain.attributions import InputGradient, IntegratedGradients
from camtrain.cams import GradCAM, TaylorCAM
from camtrain.gradients import DoubleBackprop, FrozenGates, guided_gradient, input_gradient
from camtrain.gradients.engine import InputGradientPenalty
from camtrain.networks import CIFARResNet, last_spatial_layer
from camtrain.regularizers import GradientNorm, MapSparsity

BROKEN = torch.rand(2, 3, 8, 8)
BROKEN[1, 2, 3, 4] = math.nan
WRONG = {
    "one image": (torch.rand(3, 8, 8), r"float32 of shape \(3, 8, 8\); images.unsqueeze\(0\) makes a batch"),
    "bytes": (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"uint8 of shape \(2, 3, 8, 8\); .*images.float\(\) / 255"),
    "an array": (np.zeros((2, 3, 8, 8), dtype=np.float32), "got ndarray; make a tensor of it"),
    "a list": ([torch.rand(3, 8, 8)] * 2, r"got list; torch.stack\(images\) makes a batch"),
    "a picture": (Image.new("RGB", (8, 8)), "got Image; make a tensor of it"),
    "nothing": (None, "got NoneType$"),
    "not a number": (BROKEN, "expected finite values, got NaN or infinity in image 1 of 2"),
}
# Methods make no map of no image.
EMPTY = (torch.rand(0, 3, 8, 8), r"expected at least one image, got an empty batch of shape \(0, 3, 8, 8\)")
LABELS = torch.tensor([0, 1])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CIFARResNet(8, num_classes=3, width=4)


def step_of(engine, network, images):
    penalty = InputGradientPenalty(lambda gradients, _: gradients.square().flatten(1).sum(dim=1))
    return engine(network, images, lambda logits: logits.square().mean(), penalty, 1.0)


STEPS = {
    "plain": lambda network, images: Objective()(network, images, LABELS),
    "gradient": lambda network, images: Objective(GradientNorm())(network, images, LABELS),
    "map": lambda network, images: Objective(MapSparsity())(network, images, LABELS),
    "measure": lambda network, images: Objective(MapSparsity()).measure(network, images, LABELS),
    "double backprop": lambda network, images: step_of(DoubleBackprop(), network, images),
    "frozen gates": lambda network, images: step_of(FrozenGates(), network, images),
}
METHODS = {
    "grad_cam": lambda network, images: GradCAM(network, "layer2")(images),
    "taylor_cam": lambda network, images: TaylorCAM(network, "layer2").pairs(images),
    "input_gradient": lambda network, images: InputGradient(network)(images),
    "completeness": lambda network, images: IntegratedGradients(network).completeness_error(BROKEN, images),
    "image_maps": lambda network, images: camtrain.image_maps(network, images, target_layer="layer2"),
    "image_maps of the gradient": lambda network, images: camtrain.image_maps(network, images, "smooth_grad"),
    "a control": lambda network, images: camtrain.image_maps(network, images, "shuffled_grad_cam"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", STEPS | METHODS)
def test_every_entry_names_the_argument(network, name, kind):
    images, message = WRONG[kind]
    with pytest.raises((TypeError, ValueError), match=f"^`images`: .*{message}"):
        (STEPS | METHODS)[name](network, images)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_needs_an_image(network, name):
    """The mean over no image is NaN, and so would be all parameters."""
    images, message = EMPTY
    with pytest.raises(ValueError, match=f"^`images`: {message}"):
        STEPS[name](network, images)


def test_a_layer_is_found_with_an_image(network):
    images, message = EMPTY
    for find in (lambda: last_spatial_layer(network, images), lambda: GradCAM(network)(images)):
        with pytest.raises(ValueError, match=f"^`images`: {message}"):
            find()
    with pytest.raises(ValueError, match=r"^`images`: expected at least one image"):
        camtrain.explain(network, images)


@pytest.mark.parametrize("gradient", [input_gradient, guided_gradient])
def test_a_gradient_is_taken_of_and_at_tensors(gradient):
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    with pytest.raises(TypeError, match=r"^`images`: expected a tensor, got ndarray"):
        gradient(images.relu().sum(), np.zeros((1, 3, 2, 2)))
    with pytest.raises(TypeError, match=r"^`loss`: expected a tensor, got float"):
        gradient(1.0, images)
