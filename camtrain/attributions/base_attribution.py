"""What all attributions at the input share: the call, the gradient of the class score, restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from camtrain.gradients import ClassIndex, class_score, fixed_class, gradients_enabled, input_gradient, left_as_found
from camtrain.gradients.not_inference import not_inference


class BaseAttribution(ABC):
    """How much each value of an image, each channel of each pixel, has to do with the score of a class.

    A method of the family overrides `attributions`.

    The network is run as it is, in training or evaluation mode (in training mode BatchNorm mixes the images of a batch,
    and so do their attributions), and left as found: running statistics, random generators, modes, gradients and hooks,
    also after an error. It works inside `torch.no_grad()` and `torch.inference_mode()`.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        differentiable: keep the attributions in the graph, through the weights and through images that require grad, so
            that a penalty on them can be trained. The network then has to be twice differentiable.
    """

    def __init__(self, network: nn.Module, *, differentiable: bool = False) -> None:
        self.network = network
        self.differentiable = differentiable

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Attributions of a batch; `saliency_map` makes one map per image of them.

        Args:
            images: (N, 3, H, W), as the network expects them.
            class_idx: one class for all images, or (N,) integers; `None` is the predicted class of each. A `Contrast`
                shows why one class rather than another, an `Against` what speaks against a class.

        Returns:
            (N, 3, H, W), raw and signed, on the images' device; detached unless `differentiable`.

        Raises:
            ValueError: if a class is out of range, or the logits do not depend on the images.
            TypeError: if the images are integers.
        """
        if not images.is_floating_point():
            raise TypeError(f"`images`: expected floating-point images, which have a gradient, got {images.dtype}")
        with gradients_enabled(), left_as_found(self.network, images.device):
            # Images made under inference mode cannot enter a graph; a clone can.
            images = not_inference(images)
            attributions = self.attributions(images, class_idx)
        return attributions if self.differentiable else attributions.detach()

    @abstractmethod
    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Of a batch, (N, 3, H, W); called where gradients are enabled and the network is left as found."""

    def gradient(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Gradient of the class score with respect to these images, (N, 3, H, W).

        Raises:
            ValueError: if the logits do not depend on the images.

        Cost:
            One forward pass and one backward pass to the input.
        """
        images = self.tracked(images)
        score = class_score(self.network(images), class_idx).sum()
        try:
            return input_gradient(score, images, create_graph=self.differentiable)
        except ValueError as error:
            raise ValueError(f"`network`: expected logits in one graph with the images; {error}") from error

    def tracked(self, images: Tensor) -> Tensor:
        """The images as a gradient can be taken by them: the caller's where the graph is to go on, else a new leaf."""
        return images if self.differentiable and images.requires_grad else images.detach().requires_grad_()

    def logits(self, images: Tensor) -> Tensor:
        """(N, K), without a graph.

        Cost:
            One forward pass.
        """
        with torch.no_grad():
            logits: Tensor = self.network(images)
        # Autocast keeps the weights that it cast: those of a pass without a graph would cut the next one's.
        torch.clear_autocast_cache()
        return logits

    def fixed_class(self, images: Tensor, class_idx: ClassIndex) -> ClassIndex:
        """What these images are explained for, also where the network is run on changed ones (see `fixed_class`)."""
        return fixed_class(self.logits(images), class_idx)
