"""Faithful maps: the label must be recognized from what the map shows, and not without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.blurred import blurred
from camtrain.messages import checked_fraction, checked_number, checked_numbers
from camtrain.probabilities import class_probabilities, log_odds, with_both_classes
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty

Target = Literal["label", "prediction"]
"""What must be found in what a map shows: the label, or what the network says of the whole image."""


def top_pixels(maps: Tensor, fractions: Tensor, sharpness: float) -> Tensor:
    """A soft threshold that selects the pixels at which a map is largest, T_f(A) = sigmoid(ω (A - σ_f)).

    σ_f lies halfway between the values of the last pixel that belongs to the fraction and the first one that does not.
    Without ties, the mask is therefore above 1/2 at round(f·H·W) pixels, at least one and not all of them. Pixels that
    tie at the threshold have a mask of 1/2.

    Args:
        maps: (N, H, W), of at least two pixels.
        fractions: f, (N,), the fraction of the pixels to select from each map.
        sharpness: ω, the slope of the sigmoid.

    Returns:
        (N, H, W) in [0, 1], differentiable in the maps.

    Example:
        >>> top_pixels(torch.tensor([[[0.1, 0.9, 0.5, 0.3]]]), torch.tensor([0.5]), 100.0).round()
        tensor([[[0., 1., 1., 0.]]])
    """
    ranked = maps.flatten(1).sort(dim=1, descending=True).values
    num_pixels = ranked.shape[1]
    selected = (fractions * num_pixels).round().long().clamp(1, num_pixels - 1).unsqueeze(1)
    thresholds = (ranked.gather(1, selected - 1) + ranked.gather(1, selected)) / 2
    return torch.sigmoid(sharpness * (maps - thresholds.unsqueeze(2)))


def other_images(usable: Tensor, keys: Tensor) -> Tensor:
    """For each usable image another usable one, by a random cycle through all of them.

    Images that are not usable, and one that is alone, get themselves. Nothing here waits for an accelerator.

    Args:
        usable: (N,) bool.
        keys: (N,) random numbers in [0, 1), which order the cycle.

    Returns:
        (N,) indices of images, a permutation.

    Example:
        >>> other_images(torch.tensor([True, False, True, True]), torch.tensor([0.1, 0.5, 0.3, 0.2]))
        tensor([3, 1, 0, 2])
    """
    order = (keys + 2 * (~usable)).argsort()
    position = torch.arange(len(order), device=order.device)
    num_usable = usable.sum()
    following = torch.where(position + 1 < num_usable, position + 1, torch.zeros_like(position))
    following = torch.where(position < num_usable, following, position)
    return torch.empty_like(order).scatter_(0, order, order[following])


@dataclass(frozen=True)
class MaskChoices:
    """The random choices of one step, (N,) each.

    Attributes:
        sufficiency: Whether the image takes part in the sufficiency term; it takes part in the other one otherwise.
        source: The index of the image whose map is used.
        fraction: f, the fraction of the pixels above the threshold.
        soft: Whether the mask is the map itself. Only images of the sufficiency term have such masks.
        blurred: Whether the background is the blurred image. Only images of the sufficiency term have such backgrounds.
    """

    sufficiency: Tensor
    source: Tensor
    fraction: Tensor
    soft: Tensor
    blurred: Tensor


class MapFaithfulness(CAMRegularizer):
    """Trains for maps that are sufficient and necessary for the label. Needs no annotation.

        S_i = -log p_label(x_i ⊙ K + b_i ⊙ (1 - K)),    K: Â or T_f(Â)
        N_i = -log(1 - p_label(x_i ⊙ (1 - T_f(Â_i))))
        E_i = (w_S + w_N) S_i with probability w_S / (w_S + w_N), and (w_S + w_N) N_i otherwise

    Â = A⁺ / max A⁺ is the label's map of the training pass at the size of the images, T_f a soft threshold that selects
    the fraction f of the pixels (see `top_pixels`), and b_i zeros, which is the mean color, or the blurred image. Each
    image takes part in one of the two terms, so that a step runs one more pass. The expected penalty is
    w_S S_i + w_N N_i.

    A network could learn to write the label into the *shape* of its map, and to read it there. Some images of the
    sufficiency term are therefore masked by the map of another image of the batch, and keep their own label. Nothing
    can be swapped in a batch with only one map that has a positive value: that image keeps its own map.

    A map without a positive value does not count, and no other image gets it; nor does any get the map of an image that
    shows no class. This rewards no map for vanishing: the map is a constant for the gradient. With `differentiable` it
    is not, and a map could evade the penalty in this way; watch `train/regularizer_counted/map_faithfulness`.

    With `sufficiency_target: prediction`, S_i is instead the cross-entropy with what the network says of the whole
    image, S_i = -Σ_k p_k(x_i) log p_k(x_i ⊙ K + b_i ⊙ (1 - K)), where p_k(x_i) is a constant for the gradient.

    If the penalty begins at half-time (`regularizer_start_epoch` of `Classifier`, `start_epoch` of `Term`), a training
    takes a quarter less time. Maps gained less then in 25 epochs (experiments/map_faithfulness), and more in ten
    (experiments/quickstart): in a short training, try a late start.

    The penalty makes the maps of this layer more faithful, including those of other CAMs at the layer. On the mean of
    its scores, no gain was found for the gradient at the input (experiments/league).

    For soft labels, the label is the most probable class. Random numbers come from torch's global generator on the
    device of the images.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`.
        target_layer: The layer of the map, by its dotted name; null is the last layer with pixels or tokens.
        sufficiency_weight: w_S, at least 0.
        necessity_weight: w_N, at least 0; not both are 0.
        sufficiency_target: What must be found in what the map shows, `label` or `prediction`.
        swapped: The fraction of the images of the sufficiency term that get another image's map, in [0, 1].
        soft_masks: The fraction of the images of the sufficiency term for which K is the map itself, in [0, 1].
        blurred_backgrounds: The fraction of the images of the sufficiency term for which b is the blurred image, in
            [0, 1]. The blur is that of the insertion metric.
        sufficiency_fractions: The range in (0, 1) from which f is drawn in the sufficiency term.
        necessity_fractions: The range in (0, 1) from which f is drawn in the necessity term.
        sharpness: ω, the slope of the soft threshold, above 0.
        differentiable: Whether the gradient also runs through an image's own map, instead of only through the
            predictions on masked images. Another image's map is always a constant. In experiments/map_faithfulness,
            maps gained 5.5 points more with it, both begun at half-time (3.1 to 7.8, beyond control), and their leakage
            may have risen (Grad-CAM's by 4.3 points against plain training, -0.5 to 9.0).

    Raises:
        ValueError: If a setting is out of its range, or as in `CAMRegularizer`.

    Cost:
        A backward pass from the label's logit to the target layer, and a second forward and backward pass, with the
        masked images. Methods other than those of gradients and activations also run their own pass.

    Source:
        S and N with random fractions are the insertion and deletion metrics as losses, as in ID-ExpO (Yoshikawa and
        Iwata, AISTATS 2024, arXiv 2310.12553). Departures: one random fraction in one pass replaces the mean over many
        fractions, and by default no gradient runs through the map. N follows GAIN (Li et al., CVPR 2018, arXiv
        1802.10171), with -log(1 - p) in place of p; training on occluded images follows EDDA (Li et al., 2021, arXiv
        2105.14162). None of these prevents that predictions are encoded in masks, which Jethani et al. describe
        (REAL-X, AISTATS 2021, arXiv 2103.01890). They train the predictor on random masks; here it also sees maps of
        other images.

    Example:
        >>> from camtrain import Objective
        >>> from camtrain.networks import CIFARResNet
        >>> objective = Objective(MapFaithfulness(swapped=0.5), weight=0.5)
        >>> objective(CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)).loss.backward()
    """

    default_weight: ClassVar[float] = 0.5
    trained_metrics: ClassVar[tuple[str, ...]] = (
        "average_drop",
        "average_increase",
        "average_gain",
        "insertion_auc",
        "deletion_auc",
    )

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        sufficiency_weight: float = 0.5,
        necessity_weight: float = 0.5,
        sufficiency_target: Target = "label",
        swapped: float = 0.5,
        soft_masks: float = 0.5,
        blurred_backgrounds: float = 0.5,
        sufficiency_fractions: tuple[float, float] = (0.1, 0.9),
        necessity_fractions: tuple[float, float] = (0.1, 0.6),
        sharpness: float = 30.0,
        differentiable: bool = False,
    ) -> None:
        super().__init__(method, target_layer)
        self.sufficiency_weight = checked_number("sufficiency_weight", sufficiency_weight, at_least=0)
        self.necessity_weight = checked_number("necessity_weight", necessity_weight, at_least=0)
        if not (self.sufficiency_weight or self.necessity_weight):
            raise ValueError("`sufficiency_weight`: expected it or `necessity_weight` to be above 0, got 0 for both")
        if sufficiency_target not in get_args(Target):
            raise ValueError(f"`sufficiency_target`: expected label or prediction, got {sufficiency_target!r}")
        self.sufficiency_target: Target = sufficiency_target
        self.swapped = checked_fraction("swapped", swapped)
        self.soft_masks = checked_fraction("soft_masks", soft_masks)
        self.blurred_backgrounds = checked_fraction("blurred_backgrounds", blurred_backgrounds)
        self.sufficiency_fractions = _rising("sufficiency_fractions", sufficiency_fractions)
        self.necessity_fractions = _rising("necessity_fractions", necessity_fractions)
        self.sharpness = checked_number("sharpness", sharpness, above=0)
        self.differentiable = differentiable

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        cams = self.cams(training_pass, differentiable=self.differentiable)
        with torch.autocast(cams.device.type, enabled=False):
            maps, alive = positive_by_maximum(cams)
            shown = training_pass.shown
            # The map of an image that shows no class is one of any class.
            choices = self._choices(alive if shown is None else alive & shown.any(dim=1))
            masked = self._masked(training_pass.images.detach(), maps, choices)
        logits = training_pass.again(masked).to(maps.dtype)
        odds = log_odds(logits, training_pass.labels, independent=training_pass.independent)
        sufficiency = F.softplus(-odds)
        if self.sufficiency_target == "prediction":
            sufficiency = _cross_entropy_with_prediction(logits, training_pass)
        either = torch.where(choices.sufficiency, sufficiency, F.softplus(odds))
        return Penalty((self.sufficiency_weight + self.necessity_weight) * either, alive)

    def _choices(self, usable: Tensor) -> MaskChoices:
        """Draw the choices of a step; `usable`, (N,) bool, says which maps another image can get."""
        term, swap, key, fraction, mask, background = torch.rand(6, len(usable), device=usable.device)
        sufficiency = term < self.sufficiency_weight / (self.sufficiency_weight + self.necessity_weight)
        own = torch.arange(len(usable), device=usable.device)
        return MaskChoices(
            sufficiency,
            source=torch.where(sufficiency & (swap < self.swapped), other_images(usable, key), own),
            fraction=torch.where(
                sufficiency,
                _between(*self.sufficiency_fractions, fraction),
                _between(*self.necessity_fractions, fraction),
            ),
            soft=sufficiency & (mask < self.soft_masks),
            blurred=sufficiency & (background < self.blurred_backgrounds),
        )

    def _masked(self, images: Tensor, maps: Tensor, choices: MaskChoices) -> Tensor:
        """The images, (N, C, H, W), as their maps, (N, H, W), show them or without what the maps show."""
        own = torch.arange(len(maps), device=maps.device)
        shown = torch.where(_each(choices.source == own, maps), maps, maps.detach()[choices.source])
        top = top_pixels(shown, choices.fraction.to(maps.dtype), self.sharpness)
        enough = torch.where(_each(choices.soft, maps), shown, top)
        kept = torch.where(_each(choices.sufficiency, maps), enough, 1 - top).to(images.dtype).unsqueeze(1)
        background = torch.zeros_like(images)
        if self.blurred_backgrounds:
            background = torch.where(_each(choices.blurred, images), blurred(images), background)
        return images * kept + background * (1 - kept)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return (
            f"{super().extra_repr()}, sufficiency_weight={self.sufficiency_weight}, "
            f"necessity_weight={self.necessity_weight}, sufficiency_target={self.sufficiency_target!r}, "
            f"swapped={self.swapped}, differentiable={self.differentiable}"
        )


def _cross_entropy_with_prediction(logits: Tensor, training_pass: TrainingPass) -> Tensor:
    """How far the probabilities of changed images are from those of the images themselves, (N,)."""
    own = training_pass.logits.detach().to(logits.dtype)
    if training_pass.independent:
        return F.binary_cross_entropy_with_logits(logits, own.sigmoid(), reduction="none").sum(dim=1)
    return F.cross_entropy(with_both_classes(logits), class_probabilities(own), reduction="none")


def _rising(name: str, bounds: object) -> tuple[float, float]:
    expected = "two rising fractions between 0 and 1"
    low, high = checked_numbers(name, bounds, expected, 2, above=0, below=1)
    if low > high:
        raise ValueError(f"`{name}`: expected {expected}, got {bounds}")
    return low, high


def _between(low: float, high: float, uniform: Tensor) -> Tensor:
    return low + (high - low) * uniform


def _each(values: Tensor, images: Tensor) -> Tensor:
    """(N,) values that can be broadcast over images or maps."""
    return values.view(-1, *[1] * (images.dim() - 1))
