"""A few images explained: predictions, maps and gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.cams import GradCAM
from camtrain.gradients import evaluation_mode, gradients_enabled, guided_gradient, input_gradient, left_as_found
from camtrain.label_scores import class_indices
from camtrain.methods import normalized_maps
from camtrain.networks.uncompiled import uncompiled
from camtrain.probabilities import class_probabilities, with_both_classes

_MOST_SHOWN = 3


@dataclass(frozen=True)
class ExplainedImages:
    """Everything that the panels of N images show, on the CPU.

    Attributes:
        batch: The images with their labels, boxes and masks.
        probabilities: The probabilities of the classes, (N, K).
        predictions: The predicted classes, (N,).
        label_cams: Grad-CAM for the labels, (N, H, W) in [0, 1]; `None` if labels are unknown, or images may show
            several classes.
        shown_cams: Grad-CAM, (H, W) in [0, 1], for each class that an image shows, at most the three most probable, if
            it may show several; otherwise `None`.
        prediction_cams: Grad-CAM for the predictions, (N, H, W) in [0, 1].
        input_gradients: The input gradient of each image's cross-entropy with its label (the binary cross-entropy, if
            images may show several classes), or with its prediction if labels are unknown, (N, C, H, W).
        guided_gradients: The guided gradient of the same loss, (N, C, H, W); `None` if the network has no ReLU-like
            activation.
        unguided: Why there are no guided gradients; empty if there are.
    """

    batch: Batch
    probabilities: Tensor
    predictions: Tensor
    label_cams: Tensor | None
    prediction_cams: Tensor
    input_gradients: Tensor
    guided_gradients: Tensor | None
    unguided: str
    shown_cams: list[dict[int, Tensor]] | None = None


def explained_images(
    network: nn.Module, batch: Batch, target_layer: str | None = None, *, several_labels: bool = False
) -> ExplainedImages:
    """Explain each image of a small batch with the network in evaluation mode, and leave the network as found.

    Gradients are taken of the sum of the cross-entropies, so an image's gradient does not depend on the batch size.

    Args:
        network: A module from (N, C, H, W) images to (N, K) logits.
        batch: The batch, with at least one image.
        target_layer: The layer of Grad-CAM; `None` finds the last spatial layer.
        several_labels: Whether images may show several classes, as labels (N, K) say, too.

    Raises:
        ValueError: If the network has no such layer, or a label is out of range.

    Cost:
        Three forward passes (two without labels), one backward pass to the images for each gradient, and one to the
        target layer for each map.

    Example:
        >>> import torch
        >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), head)
        >>> explained = explained_images(network, Batch(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])))
        >>> explained.label_cams.shape, explained.guided_gradients.shape
        (torch.Size([2, 8, 8]), torch.Size([2, 3, 8, 8]))
    """
    # Compiled code need not keep its graph for a second gradient.
    with evaluation_mode(network), gradients_enabled(), uncompiled():
        # Tensors made in inference mode cannot enter a graph, but their clones can.
        images = batch.images.detach().clone()
        labels = None if batch.labels is None else batch.labels.clone()
        shown = None
        if labels is not None and labels.dim() == 2:
            shown, labels = (labels >= 0.5, None) if labels.shape[1] > 1 else (None, class_indices(labels))
        cam = GradCAM(network, target_layer)
        label_cams = None if labels is None else normalized_maps(cam, images, labels)
        with left_as_found(network, images.device):
            logits = with_both_classes(network(images.requires_grad_()).float())
            predictions = logits.detach().argmax(dim=1)
            if shown is None:
                loss = F.cross_entropy(logits, predictions if labels is None else labels, reduction="sum")
            else:
                loss = F.binary_cross_entropy_with_logits(logits, shown.to(logits.dtype), reduction="sum")
            input_gradients = input_gradient(loss, images)
            guided_gradients, unguided = _guided(loss, images)
        prediction_cams = normalized_maps(cam, images.detach(), predictions)
        independent = several_labels or shown is not None
        probabilities = class_probabilities(logits.detach(), independent=independent)
        shown_cams = None if shown is None else _shown_cams(cam, images.detach(), shown, probabilities)
    return ExplainedImages(
        batch.to("cpu") if labels is None else replace(batch, labels=labels).to("cpu"),
        probabilities.cpu(),
        predictions.cpu(),
        None if label_cams is None else label_cams.cpu(),
        prediction_cams.cpu(),
        input_gradients.detach().cpu(),
        None if guided_gradients is None else guided_gradients.cpu(),
        unguided,
        shown_cams,
    )


def _shown_cams(cam: GradCAM, images: Tensor, shown: Tensor, probabilities: Tensor) -> list[dict[int, Tensor]]:
    """The map of each class that an image shows, at most of the most probable ones, by class."""
    ranked = probabilities.masked_fill(~shown, -1.0).argsort(dim=1, descending=True, stable=True)
    counts = shown.sum(dim=1).clamp(max=_MOST_SHOWN)
    found: list[dict[int, Tensor]] = [{} for _ in range(len(images))]
    for place in range(int(counts.max())):
        maps = normalized_maps(cam, images, ranked[:, place]).cpu()
        for row in (counts > place).nonzero().flatten().tolist():
            found[row][int(ranked[row, place])] = maps[row]
    return found


def _guided(loss: Tensor, images: Tensor) -> tuple[Tensor | None, str]:
    try:
        return guided_gradient(loss, images), ""
    except ValueError as error:
        return None, str(error)
