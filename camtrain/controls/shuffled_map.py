"""Another image's map."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from camtrain.attributions import BaseAttribution
from camtrain.cams import BaseCAM
from camtrain.controls.base_control import BaseControl
from camtrain.controls.donors import donors
from camtrain.gradients import Against, ClassIndex, Contrast, fixed_class, left_as_found
from camtrain.messages import checked_seed

_Shuffled: TypeAlias = BaseCAM | BaseAttribution


class ShuffledMap(BaseControl):
    """Each image's map is that of another image of the batch, of another class where possible; see `donors`.

    The maps have the values, sizes and places that the method's maps have, and only their image is wrong. The result
    depends on which images are in the batch, and on the seed. A batch of one image has no other image: it is an error,
    which an evaluation notes, and then does not count the image.

    Args:
        method: The method whose maps are shuffled.
        seed: The seed of the shuffling.

    Attributes:
        is_normalized: False: the maps are as the method makes them.

    Raises:
        ValueError: When called, if there is only one image, or from the method.

    Cost:
        That of the method, and a forward pass if no class is given. An evaluation that also scores the method does not
        make the maps twice.

    Example:
        >>> from camtrain.cams import GradCAM
        >>> from camtrain.networks import CIFARResNet
        >>> method, images = GradCAM(CIFARResNet(depth=8).eval()), torch.rand(2, 3, 16, 16)
        >>> shuffled = ShuffledMap(method)
        >>> torch.equal(shuffled(images, torch.tensor([3, 4])), method(images, torch.tensor([3, 4])).flip(0))
        True
    """

    is_normalized = False

    def __init__(self, method: _Shuffled, *, seed: int = 0) -> None:
        super().__init__(method.network)
        self.method = method
        self.seed = checked_seed("seed", seed)

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch; see the method's own call.

        Returns:
            (N, h, w), or (N, C, H, W) from an attribution.
        """
        others = donors(self.classes(images, class_idx), self.seed)
        return self.method(images, class_idx)[others]

    def classes(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """The (N,) classes that the maps explain; the first class of a `Contrast`."""
        chosen = class_idx.class_idx if isinstance(class_idx, Contrast | Against) else class_idx
        if chosen is None:
            with torch.no_grad(), left_as_found(self.network, images.device):
                return fixed_class(self.network(images))  # type: ignore[return-value]  # no Contrast was asked for
        return torch.as_tensor(chosen, device=images.device).expand(len(images))
