"""Distillation of maps: the network learns to look where a trained teacher looks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor, nn

from camtrain.cams import BaseCAM, GradCAM, resize
from camtrain.files import local_path
from camtrain.methods import method_named, resized_maps
from camtrain.networks import module_of
from camtrain.networks.checked_weights import broken_weight
from camtrain.networks.checkpoint_file import checkpoint_content
from camtrain.networks.classifier_checkpoint import network_weights
from camtrain.networks.target_layer import target_layer_of
from camtrain.networks.uncompiled import uncompiled
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.flat_maps import answered_for_flat_maps, is_flat
from camtrain.regularizers.found_layers import FoundLayers
from camtrain.regularizers.normalized_maps import by_norm
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty

ACTIVATIONS = "activations"


def attention_of_activations(activations: Tensor) -> Tensor:
    """Activation-based attention, Σ_c A_c², from (N, C, h, w) to (N, h, w).

    Source:
        Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928, section 3.1, F²_sum.

    Example:
        >>> attention_of_activations(Tensor([[[[1]], [[-2]]]]))
        tensor([[[5.]]])
    """
    return activations.square().sum(dim=1)


class MapDistillation(CAMRegularizer):
    """Pulls the map S of the network towards the map T of a trained teacher, for the same image and label.

        E_i = ‖ S / ‖S‖₂ - T / ‖T‖₂ ‖₂²

    E_i is in [0, 2] for maps without negative values. The teacher runs in evaluation mode, gets no gradient, and is not
    saved in checkpoints. A pair of maps does not count if the teacher's is zero everywhere; a flat map of the network
    has the penalty 1, as in `MapRegularizer`, and with `grad_cam` and `x_grad_cam` a gradient that raises it.
    Departures: the distance is squared, as in the code of Zagoruyko and Komodakis but not in their paper; maps are
    normalized, unlike in Grad-CAM++.

    Args:
        teacher: The trained network, from the same images to logits of the same classes.
        checkpoint: The teacher's weights, a checkpoint of a `Classifier` or a state dict; null takes the teacher as is.
        method: The method that makes both maps: `activations`, the activation-based attention Σ_c A_c², or a method as
            for `CAMRegularizer`.
        target_layer: The layer of the network's map, by its dotted name; null is the last spatial layer.
        teacher_layer: The layer of the teacher's map, likewise.

    Raises:
        TypeError: If `teacher` is no network.
        ValueError: As `CAMRegularizer`, or if the checkpoint does not fit the teacher, or the teacher has no layer of
            that name.
        FileNotFoundError: If there is no such checkpoint.

    Cost:
        A forward pass of the teacher, and for methods that use gradients a backward pass to its layer.

    Source:
        Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017, arXiv 1612.03928, eq. 2; Chattopadhyay
        et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 6, with Grad-CAM++ maps.
    """

    revives_flat_maps: ClassVar[bool] = True

    def __init__(
        self,
        teacher: nn.Module,
        checkpoint: str | None = None,
        method: str = "grad_cam_plus_plus",
        target_layer: str | None = None,
        teacher_layer: str | None = None,
    ) -> None:
        super().__init__("grad_cam" if method == ACTIVATIONS else method, target_layer)
        self.of_activations = method == ACTIVATIONS
        self.teacher_layer = teacher_layer
        teacher = module_of(teacher, "teacher")
        if teacher_layer is not None:
            target_layer_of(teacher, teacher_layer, "teacher_layer")  # raises if there is none
        if checkpoint is not None:
            _load(teacher, checkpoint)
        # A list hides the teacher from nn.Module, so that it is neither trained nor saved in checkpoints.
        self._teacher = [teacher.eval()]
        self._found_in_teacher = FoundLayers()

    @property
    def teacher(self) -> nn.Module:
        """The trained network."""
        return self._teacher[0]

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """Captures the layer of the network's map."""
        if not self.of_activations:
            return super().watching(network, images)
        method = self.method_of(network, images)
        assert isinstance(method, BaseCAM)
        return method.captured(images)

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        size = (int(training_pass.images.shape[-2]), int(training_pass.images.shape[-1]))
        if self.of_activations:
            student = resize(attention_of_activations(training_pass.captured.activations), size)
        else:
            student = self.cams(training_pass)
        teacher = self._maps_of_teacher(training_pass)
        found = distance_of_maps(student, teacher)
        flat = is_flat(student) & ~found.counted & ~is_flat(teacher.abs())
        return answered_for_flat_maps(found, student, flat, teacher > 0)

    def _maps_of_teacher(self, training_pass: TrainingPass) -> Tensor:
        images = training_pass.images.detach()
        teacher = self.teacher.to(images.device)
        # The teacher keeps its precision in a training in another one.
        kinds = (each.dtype for each in teacher.parameters() if each.is_floating_point())
        images = images.to(next(kinds, images.dtype))
        layer = self.teacher_layer
        layer = self._found_in_teacher(teacher, images) if layer is None else layer
        if not self.of_activations:
            return resized_maps(method_named(self.method, teacher, layer), images, training_pass.labels)
        with uncompiled():
            activations, _ = GradCAM(teacher, layer).activations_and_logits(images)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        return resize(attention_of_activations(activations), size).detach()


def distance_of_maps(student: Tensor, teacher: Tensor) -> Penalty:
    """Squared distance of maps, (N, H, W) each, after scaling each to norm one.

    Example:
        >>> distance_of_maps(Tensor([[[3, 0]]]), Tensor([[[0, 2]]])).values
        tensor([2.])
    """
    (first, first_alive), (second, second_alive) = by_norm(student), by_norm(teacher)
    return Penalty((first - second).square().flatten(1).sum(dim=1), first_alive & second_alive)


def _load(teacher: nn.Module, checkpoint: str) -> None:
    path = local_path(checkpoint, "checkpoint")
    if not path.exists():
        raise FileNotFoundError(f"`checkpoint`: expected a file, got {path.absolute()}, which does not exist")
    found = checkpoint_content(path)
    state = found.get("state_dict", found)
    weights = (network_weights(state) if isinstance(state, dict) else {}) or state
    try:
        teacher.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ValueError(f"`checkpoint`: {path} does not fit a {type(teacher).__name__}: {error}") from error
    if broken := broken_weight(teacher, weights):
        raise ValueError(f"`checkpoint`: {path} is of a network that has diverged: {broken}; pass an earlier one")
