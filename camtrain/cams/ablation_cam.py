"""Ablation-CAM."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.cams.partial_pass import PartialPass
from camtrain.cams.perturbation_cam import PerturbationCAM, strongest_channels
from camtrain.gradients import ClassIndex, class_score, fixed_class, repeated_class, selected_class
from camtrain.networks.map_layout import map_layout


def ablation_weights(scores: Tensor, ablated_scores: Tensor) -> Tensor:
    """By which part of itself the score drops when a channel is set to zero.

        w_k = (y - y_k) / |y|

    Departure: the paper divides by y. Where y is positive this is the same; where it is negative, as for an unlikely
    class or with `Against`, dividing by y would turn the sign round and show what speaks against the score. Where y is
    exactly zero there is no relative drop, and the weight is the drop itself.

    Args:
        scores: (N,), y, of each image.
        ablated_scores: (N, C), y_k, of the image with one channel set to zero.

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
    """Ablation-CAM of a network: how much the class score drops without a channel says what the channel is worth.

        w_k = (y - y_k) / |y|,    map = ReLU(Σ_k w_k A^k)

    y_k is the class score (the logit) with channel k of the target layer set to zero; see `ablation_weights` for the
    departure where y is not positive. Channels that are zero everywhere on an image have the weight 0 without a pass.
    Of tokens, those that belong to no place in the image (the class token) keep their values.

    Only what lies behind the target layer is run again, see `PartialPass`. Images are taken one at a time, because the
    variants of one image can share the memory of everything before the layer, those of several can not; with tens of
    channels at least, the passes are full all the same.

    See `PerturbationCAM` for the arguments.

    Cost:
        One forward pass of each image, and one pass of what lies behind the target layer for each channel that is not
        zero, and for two more rows.

    Source:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> AblationCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """Image by image, the activations of the layer and the relative drops."""
        if not len(images):
            activations, _ = self.activations_and_logits(images)
            return activations, activations.new_zeros(activations.shape[:2])
        with self.bar(0) as bar:
            of_images = [self._of_image(images, number, class_idx, bar) for number in range(len(images))]
        activations, weights = (torch.cat(parts) for parts in zip(*of_images, strict=True))
        return activations, weights

    def _of_image(self, images: Tensor, number: int, class_idx: ClassIndex, bar: tqdm) -> tuple[Tensor, Tensor]:
        """(1, C, h, w) and (1, C) of one of the images."""
        image = images[number : number + 1]
        behind = PartialPass(
            self.network,
            self.layer(images),
            image,
            self.max_batch,
            partial(map_layout, images=image, network=self.network),
        )
        # As if all images were this one, because a choice that holds `None` can not be cut up.
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
        """(C,) bool, those of one image that have to be ablated."""
        # Where a channel is zero, setting it to zero changes nothing.
        needed = strongest_channels(activations, self.num_channels) & (activations != 0).any(dim=(-2, -1))
        return needed.squeeze(0)


def _ablated(activations: Tensor, channels: Tensor) -> Tensor:
    """(m, C, h, w) of one image, each with another channel set to zero."""
    ablated = activations.repeat(len(channels), 1, 1, 1)
    ablated[torch.arange(len(channels), device=channels.device), channels] = 0
    return ablated


def _class_scores(logits: Tensor, class_idx: ClassIndex) -> Tensor:
    return class_score(logits.to(torch.promote_types(logits.dtype, torch.float32)), class_idx)
