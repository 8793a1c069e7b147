"""Ablation-CAM."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.cams.partial_pass import PartialPass
from camtrain.cams.perturbation_cam import PerturbationCAM, strongest_channels
from camtrain.gradients import ClassIndex, class_score, fixed_class, repeated_class, selected_class


def ablation_weights(scores: Tensor, ablated_scores: Tensor) -> Tensor:
    """The relative drop of the score when a channel is set to zero.

        w_k = (y - y_k) / |y|

    Departure: the paper divides by y. For a positive y this is the same. For a negative y, as for an unlikely class or
    with `Against`, dividing by y would reverse the sign, and the map would show what speaks against the score. If y is
    exactly zero, there is no relative drop, and the weight is the drop itself.

    Args:
        scores: The score y of each image, (N,).
        ablated_scores: The score y_k of the image with channel k set to zero, (N, C).

    Returns:
        (N, C).

    Source:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.

    Example:
        >>> ablation_weights(torch.tensor([4.0, -4.0, 0.0]), torch.tensor([[3.0, 5.0], [-5.0, -4.0], [-2.0, 0.0]]))
        tensor([[ 0.2500, -0.2500],
                [ 0.2500,  0.0000],
                [ 2.0000,  0.0000]])
    """
    size = scores.abs().unsqueeze(1)
    return (scores.unsqueeze(1) - ablated_scores) / torch.where(size > 0, size, torch.ones_like(size))


class AblationCAM(PerturbationCAM):
    """Ablation-CAM: weights each channel of a layer by how much the class score drops without it.

        w_k = (y - y_k) / |y|,    map = ReLU(Σ_k w_k A^k)

    y_k is the class score (the logit) with channel k of the target layer set to zero. See `ablation_weights` for the
    departure where y is not positive. A channel that is zero everywhere on an image has the weight 0 and costs no pass.
    In a layer of tokens, a token without a place in the image (the class token) keeps its values.

    Only the layers behind the target layer are run again; see `PartialPass`. Images are explained one at a time: the
    variants of one image share the memory of everything before the layer, those of several images could not. With tens
    of channels, the passes are full nevertheless.

    See `PerturbationCAM` for the arguments.

    Cost:
        One forward pass for each image, and one pass through the layers behind the target layer for each channel that
        is not zero, plus two.

    Source:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> AblationCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """The activations of the layer and the relative drops, image by image."""
        if not len(images):
            activations, _ = self.activations_and_logits(images)
            return activations, activations.new_zeros(activations.shape[:2])
        with self.bar(0) as bar:
            of_images = [self._of_image(images, number, class_idx, bar) for number in range(len(images))]
        activations, weights = (torch.cat(parts) for parts in zip(*of_images, strict=True))
        return activations, weights

    def _of_image(self, images: Tensor, number: int, class_idx: ClassIndex, bar: tqdm) -> tuple[Tensor, Tensor]:
        """Activations, (1, C, h, w), and weights, (1, C), of one of the images."""
        image = images[number : number + 1]
        behind = PartialPass(
            self.network,
            self.layer(images),
            image,
            self.max_batch,
            self.layout_of(image),
        )
        # The classes are fixed as if all images were this one: a choice that contains `None` cannot be split.
        classes = fixed_class(behind.logits.expand(len(images), -1), class_idx)
        class_of_image = selected_class(classes, slice(number, number + 1))
        (channels,) = self._channels(behind.activations).nonzero(as_tuple=True)
        bar.total += len(channels)
        (score,) = _class_scores(behind.logits, class_of_image)
        scores = score.repeat(1, behind.activations.shape[1])
        for chunk in self.chunks(len(channels), bar):
            ablated = _ablated(behind.activations, channels[chunk])
            scores[0, channels[chunk]] = _class_scores(behind(ablated), repeated_class(class_of_image, len(ablated)))
        return behind.activations, ablation_weights(score.unsqueeze(0), scores)

    def _channels(self, activations: Tensor) -> Tensor:
        """Which channels of one image have to be ablated, (C,) bool."""
        # Setting a channel of zeros to zero changes nothing.
        needed = strongest_channels(activations, self.num_channels) & (activations != 0).any(dim=(-2, -1))
        return needed.squeeze(0)


def _ablated(activations: Tensor, channels: Tensor) -> Tensor:
    """Copies of the activations of one image, (m, C, h, w), each with another channel set to zero."""
    ablated = activations.repeat(len(channels), 1, 1, 1)
    ablated[torch.arange(len(channels), device=channels.device), channels] = 0
    return ablated


def _class_scores(logits: Tensor, class_idx: ClassIndex) -> Tensor:
    return class_score(logits.to(torch.promote_types(logits.dtype, torch.float32)), class_idx)
