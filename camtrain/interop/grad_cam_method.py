"""Maps of pytorch-grad-cam as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from camtrain.cams import BaseCAM
from camtrain.gradients import ClassIndex
from camtrain.gradients.seeded import seeded
from camtrain.interop.chosen_classes import fixed_choice, score_of_image
from camtrain.interop.kept_gradients import kept_gradients
from camtrain.messages import checked_seed


class GradCAMMethod(BaseCAM):
    """A map of pytorch-grad-cam, as a method.

    Its maps have the size of the images and are in [0, 1], as pytorch-grad-cam makes them. A class becomes its
    `ClassifierOutputTarget`; a `Contrast`, an `Against`, the class of a single logit, or a target becomes a function of
    the output of each image.

    pytorch-grad-cam hooks its layers from the moment that the object is made, and keeps what each pass puts out there;
    after a call of this method, what further passes put out is not kept.

    Args:
        cam: An object of pytorch-grad-cam, such as `pytorch_grad_cam.GradCAM(network, [network.layer4])`.
        seed: The seed of what it draws at random; `None` goes on from the state of the generators.
        options: Further arguments of its call, `aug_smooth` and `eigen_smooth`.

    Raises:
        TypeError: If `targets` is among the options.
        ValueError: When called: if the object was used in a `with` statement, which has ended.

    Example:
        >>> import pytorch_grad_cam
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> theirs = pytorch_grad_cam.GradCAM(network, [network.layer2])
        >>> GradCAMMethod(theirs)(torch.rand(2, 3, 16, 16), 3).shape
        torch.Size([2, 16, 16])
    """

    def __init__(self, cam: Any, *, seed: int | None = 0, **options: Any) -> None:
        self.cam = cam
        inner = getattr(cam, "base_cam", cam)
        self._captured = inner.activations_and_grads
        if "targets" in options:
            raise TypeError("`targets`: expected none, since the class is an argument of the call, `class_idx`")
        super().__init__(inner.model, list(inner.target_layers) or None)
        self.seed = None if seed is None else checked_seed("seed", seed)
        self.options = options

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        if not self._captured.handles:
            raise ValueError("`cam`: its hooks were removed at the end of its `with` statement; call it inside")
        choice, classes = fixed_choice(self.network, images, class_idx)
        targets: list[Callable[[Any], Tensor]]
        if classes is None:
            targets = [score_of_image(choice, number) for number in range(len(images))]
        else:
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

            targets = [ClassifierOutputTarget(index) for index in classes]
        given = images.detach().clone().requires_grad_()
        with seeded(self.seed, images.device), kept_gradients(self.network):
            try:
                found = self.cam(input_tensor=given, targets=targets, **self.options)
            finally:
                self._captured.activations, self._captured.gradients = _Nowhere(), _Nowhere()
        return torch.from_numpy(found).to(images.device)


class _Nowhere(list[Tensor]):
    """The place of captured tensors that nobody reads: it stays empty."""

    def append(self, _tensor: Tensor, /) -> None:
        """Drop what a pass captured."""

    def __radd__(self, _tensors: list[Tensor]) -> _Nowhere:
        return self
