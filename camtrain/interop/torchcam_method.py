"""Maps of torchcam as methods."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.cams import BaseCAM
from camtrain.gradients import ClassIndex
from camtrain.gradients.seeded import seeded
from camtrain.interop.chosen_classes import fixed_choice, score_of_image
from camtrain.interop.kept_gradients import kept_gradients
from camtrain.messages import checked_seed


class TorchcamMethod(BaseCAM):
    """A map of torchcam, as a method.

    Maps of several layers are fused by torchcam's `fuse_cams`. A `Contrast`, an `Against`, the class of a single logit,
    or a target becomes a function of the output of each image, which not all methods of torchcam take.

    Args:
        extractor: An object of torchcam, such as `torchcam.methods.LayerCAM(network, "layer4")`.
        normalized: Whether torchcam brings its maps to [0, 1].
        seed: The seed of what it draws at random; `None` goes on from the state of the generators.
        options: Further arguments of its call.

    Raises:
        TypeError: If `class_idx`, `scores` or `targets` is among the options.
        ValueError: When called: if the object was used in a `with` statement, which has ended, or takes no target.

    Example:
        >>> from torchcam.methods import LayerCAM
        >>> from camtrain.networks import CIFARResNet
        >>> TorchcamMethod(LayerCAM(CIFARResNet(depth=8).eval(), "layer2"))(torch.rand(2, 3, 16, 16), 3).shape
        torch.Size([2, 8, 8])
    """

    def __init__(self, extractor: Any, *, normalized: bool = True, seed: int | None = 0, **options: Any) -> None:
        for name in ("class_idx", "scores", "targets"):
            if name in options:
                raise TypeError(f"`{name}`: expected none, since the class is an argument of the call, `class_idx`")
        super().__init__(extractor.model, list(extractor.target_names))
        self.extractor = extractor
        self.normalized = normalized
        self.seed = None if seed is None else checked_seed("seed", seed)
        self.options = options

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        inner = getattr(self.extractor, "base_cam", self.extractor)
        if not inner.hook_handles:
            raise ValueError("`extractor`: its hooks were removed at the end of its `with` statement; call it inside")
        choice, classes = fixed_choice(self.network, images, class_idx)
        targets = {"targets": [score_of_image(choice, number) for number in range(len(images))]}
        chosen: dict[str, Any] = targets if classes is None else {"class_idx": classes}
        with seeded(self.seed, images.device), kept_gradients(self.network):
            torch.clear_autocast_cache()
            scores = self.network(images.detach().clone().requires_grad_())
            found = self.extractor(**chosen, scores=scores, normalized=self.normalized, **self.options)
            inner.reset_hooks()
        maps = found[0] if len(found) == 1 else self.extractor.fuse_cams(found)
        return maps.to(images.device)  # type: ignore[no-any-return]
