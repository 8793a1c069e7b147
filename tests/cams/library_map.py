"""The map that pytorch-grad-cam makes, before it resizes and normalizes it."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn


def library_map(method: Any, network: nn.Module, layer: str, images: Tensor, classes: Tensor) -> Tensor:
    """(N, h, w) of a class of `pytorch_grad_cam`, with its ReLU."""
    module = network.get_submodule(layer)
    with method(network, [module]) as theirs:
        theirs(images, [ClassifierOutputTarget(int(label)) for label in classes])
        captured = theirs.activations_and_grads
        activations = captured.activations[0].numpy()
        gradients = captured.gradients[0].numpy() if captured.gradients else None
        cams = theirs.get_cam_image(images, module, classes, activations, gradients, eigen_smooth=False)
    return torch.from_numpy(cams).clamp(min=0)
