"""What all attributions at the input share: the call, the gradient of the class score, the restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.batch import check_finite_images, check_images
from camtrain.gradients import ClassIndex, class_score, fixed_class, gradients_enabled, input_gradient, left_as_found
from camtrain.gradients.not_inference import not_inference
from camtrain.networks import module_of


class BaseAttribution(ABC):
    """An attribution of a class score to each value of an image (each channel of each pixel): the base class.

    A subclass overrides `attributions`.

    The network is run in the mode it is in, training or evaluation; in training mode, BatchNorm mixes the images of a
    batch, and their attributions depend on each other. The network is left as found, also after an error: running
    statistics, random generators, modes, gradients and hooks. It works inside `torch.no_grad()` and
    `torch.inference_mode()`.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        differentiable: Whether the attributions stay in the graph, through the weights and through images that require
            grad, so that a penalty on them can be trained. The network must then be twice differentiable.

    Attributes:
        reduction: How the channels become one where nobody says it; see `saliency_map`.
    """

    reduction: ChannelReduction = "max"

    def __init__(self, network: nn.Module, *, differentiable: bool = False) -> None:
        self.network = module_of(network)
        self.differentiable = differentiable

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the attributions of a batch; `saliency_map` reduces them to one map per image.

        Args:
            images: The images as the network expects them, (N, C, H, W).
            class_idx: The class to explain: one for all images, or (N,) integers; `None` explains the predicted class
                of each image. A `Contrast` shows why one class rather than another, an `Against` what speaks against a
                class.

        Returns:
            (N, C, H, W), raw and signed, on the device of the images; detached unless `differentiable`.

        Raises:
            TypeError: If the images are no floating-point tensor, or `class_idx` has another type.
            ValueError: If the images are not (N, C, H, W) or not finite, a class is out of range, or the logits do not
                depend on the images.
        """
        check_images(images)
        check_finite_images(images)
        with gradients_enabled(), left_as_found(self.network, images.device):
            # Inference tensors cannot enter a graph; a clone can.
            images = not_inference(images)
            attributions = self.attributions(images, class_idx)
        return attributions if self.differentiable else attributions.detach()

    @abstractmethod
    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The attributions of a batch, (N, C, H, W). Called with gradients enabled; the caller restores the network."""

    def gradient(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The gradient of the class score with respect to these images, (N, C, H, W).

        Raises:
            ValueError: If the logits do not depend on the images.

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
        """The images to differentiate by: the caller's own if the graph continues through them, else a new leaf."""
        return images if self.differentiable and images.requires_grad else images.detach().requires_grad_()

    def logits(self, images: Tensor) -> Tensor:
        """The logits, (N, K), without a graph.

        Cost:
            One forward pass.
        """
        with torch.no_grad():
            logits: Tensor = self.network(images)
        # Autocast caches cast weights: weights from a pass without a graph would cut the graph of the next pass.
        torch.clear_autocast_cache()
        return logits

    def fixed_class(self, images: Tensor, class_idx: ClassIndex) -> ClassIndex:
        """The classes to explain for these images, fixed for passes on changed images (see `fixed_class`)."""
        return fixed_class(self.logits(images), class_idx)
