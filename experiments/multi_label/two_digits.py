"""Scenes that show two handwritten digits of different classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from camtrain.batch import Sample
from camtrain.data import DecoyDigits
from camtrain.data.image_data_module import Split


class TwoDigits(DecoyDigits):
    """The scenes of `DecoyDigits` without a decoy, with the digit of another scene of the same split pasted in.

    Labels are (10,), 1 for the two digits. Masks and boxes are those of both digits. In a scene of which no other
    digit is beside the own one, there is one digit. `own_masks` says which digit is where, which no sample does.

    Args:
        **kwargs: The arguments of `DecoyDigits` without those of the decoy. `image_size` must leave room for two.
    """

    def __init__(self, image_size: int = 64, digit_size: tuple[int, int] = (18, 26), **kwargs: Any) -> None:
        super().__init__(decoy_strength=0.0, image_size=image_size, digit_size=digit_size, **kwargs)
        self._partners: dict[Split, list[int | None]] = {}

    def samples(self, split: Split) -> list[Sample]:
        """The scenes of a split with both labels, boxes and masks."""
        scenes = self.scenes(split)
        images, boxes = (torch.from_numpy(part) for part in (scenes.images, scenes.boxes))
        labels, masks = torch.from_numpy(scenes.labels), torch.from_numpy(scenes.masks)
        size = (int(images.shape[1]), int(images.shape[2]))
        found: list[Sample] = []
        for own, other in enumerate(self.partners(split)):
            both = [own] if other is None else [own, other]
            image, label = images[own], torch.zeros(10)
            if other is not None:
                image = torch.where(masks[other].unsqueeze(2), images[other], image)
            label[labels[both]] = 1.0
            found.append(
                {
                    "image": tv_tensors.Image(image.permute(2, 0, 1)),
                    "label": label,
                    "boxes": tv_tensors.BoundingBoxes(boxes[both], format="XYXY", canvas_size=size),
                    "mask": tv_tensors.Mask(masks[both].any(dim=0)),
                }
            )
        return found

    def partners(self, split: Split) -> list[int | None]:
        """The scene whose digit each scene gets, of another class and beside its own digit; `None` if there is none."""
        if split not in self._partners:
            scenes = self.scenes(split)
            random = np.random.default_rng([self.seed, len(scenes.labels)])
            found: list[int | None] = []
            for own in range(len(scenes.labels)):
                left, top, right, bottom = scenes.boxes[own]
                others = scenes.boxes
                is_beside = (
                    (others[:, 0] >= right) | (others[:, 2] <= left) | (others[:, 1] >= bottom) | (others[:, 3] <= top)
                )
                candidates = np.flatnonzero(is_beside & (scenes.labels != scenes.labels[own]))
                found.append(int(random.choice(candidates)) if len(candidates) else None)
            self._partners[split] = found
        return self._partners[split]

    def own_masks(self, split: Split) -> list[dict[int, Tensor]]:
        """The mask of each digit, (H, W) bool, by its class, for each scene."""
        scenes = self.scenes(split)
        return [
            {
                int(scenes.labels[each]): torch.from_numpy(scenes.masks[each])
                for each in ([own] if other is None else [own, other])
            }
            for own, other in enumerate(self.partners(split))
        ]
