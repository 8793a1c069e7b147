"""DecoyDigits: the embedded data set, with a shortcut in its training images."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from camtrain.data.digit_scenes import DigitScenes, SceneSettings, digit_scenes
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.stratified_split import stratified_split
from camtrain.messages import checked_fraction, positive_integer
from camtrain.regions import box_regions


class DecoyDigits(ImageDataModule):
    """Real handwritten digits on photographs, with a decoy that gives the label away in training only.

    Each image shows one of scikit-learn's 1797 handwritten digits, enlarged and in a random bright color, on a darkened
    crop of one of scikit-learn's two photographs, beside pieces of other digits' strokes. A gray square in a random
    corner is the decoy. Its shade is `255 - 25 · label` in training, and one of the ten shades at random in validation
    and test, so a classifier that looks at the decoy fails there. (In `DecoyMNIST`, as in the paper, validation is like
    training, and only test misleads.) The mask is true where the digit covers at least half of a pixel, the box is
    tight around it, and nothing covers the digit. Alternatively, as in the paper, the mask is everything except the
    decoy.

    Nothing is downloaded, and `seed` determines every pixel. No handwritten digit is in two splits, neither as digit
    nor in the clutter; all splits share the two photographs. Training images are not augmented by default.

    Departure from Decoy-MNIST, whose digits fill gray images with a black background: color, photographs, clutter, and
    digits of various places and sizes, so that there is something to localize.

    Args:
        decoy_strength: The opacity of the decoy, from 0 (no decoy) to 1. It changes no other pixel.
        decoy_size: The height and width of the decoy, in pixels.
        image_size: The height and width of the images, in pixels.
        digit_size: The smallest and largest height of a digit, in pixels.
        clutter: The number of pieces of other digits' strokes in an image; fewer if the digit leaves no room.
        samples_per_digit: The number of training images of each handwritten digit, on different backgrounds. In
            validation and test there is one.
        annotation: What the mask covers: the `digit`, or everything that is `not_decoy`. The box is around the digit in
            both cases.
        val_fraction: The fraction of the handwritten digits that is held out for validation, the same in every class.
        test_fraction: The fraction of the handwritten digits that is held out for test, the same in every class.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ross, Hughes and Doshi-Velez, "Right for the Right Reasons", IJCAI 2017 (Decoy-MNIST).

    Example:
        >>> data = DecoyDigits(batch_size=4, decoy_strength=0.5)
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.images.shape, batch.masks.shape, batch.boxes[0].shape
        (torch.Size([4, 3, 64, 64]), torch.Size([4, 64, 64]), torch.Size([1, 4]))
    """

    # data = DecoyDigits(); images = data.scenes("train").images / 255; images.mean((0, 1, 2)), images.std((0, 1, 2))
    default_mean = (0.2941, 0.2930, 0.2647)
    default_std = (0.2407, 0.2189, 0.2291)

    def __init__(
        self,
        decoy_strength: float = 1.0,
        decoy_size: int = 8,
        image_size: int = 64,
        digit_size: tuple[int, int] = (24, 36),
        clutter: int = 4,
        samples_per_digit: int = 2,
        annotation: Literal["digit", "not_decoy"] = "digit",
        val_fraction: float = 0.15,
        test_fraction: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if annotation not in ("digit", "not_decoy"):
            raise ValueError(f"`annotation`: expected digit or not_decoy, got {annotation!r}")
        for name, fraction in {"val_fraction": val_fraction, "test_fraction": test_fraction}.items():
            checked_fraction(name, fraction, zero=False, one=False)
        if val_fraction + test_fraction >= 1:
            raise ValueError(
                f"`val_fraction` + `test_fraction`: expected less than 1, got {val_fraction} + {test_fraction}"
            )
        self.settings = SceneSettings(image_size, digit_size, clutter, decoy_strength, decoy_size)
        self.samples_per_digit = positive_integer("samples_per_digit", samples_per_digit)
        self.annotation = annotation
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self._scenes: dict[Split, DigitScenes] = {}

    @property
    def class_names(self) -> list[str]:
        """The ten digits."""
        return [str(digit) for digit in range(10)]

    @property
    def has_boxes(self) -> bool:
        """True: each image has the box around its digit."""
        return True

    @property
    def has_masks(self) -> bool:
        """True: each image has the mask that `annotation` chooses."""
        return True

    def scenes(self, split: Split) -> DigitScenes:
        """The images of a split as arrays, with details of how they were made, such as the place of the decoy."""
        if split not in self._scenes:
            self._scenes[split] = digit_scenes(
                self._digits[split],
                seed=self.seed,
                decoy_reveals_label=split == "train",
                samples_per_digit=self.samples_per_digit if split == "train" else 1,
                settings=self.settings,
            )
        return self._scenes[split]

    def samples(self, split: Split) -> InMemorySamples:
        """The images of a split with their labels, boxes and masks."""
        scenes = self.scenes(split)
        return InMemorySamples(
            images=torch.from_numpy(scenes.images).permute(0, 3, 1, 2),
            labels=torch.from_numpy(scenes.labels),
            boxes=torch.from_numpy(scenes.boxes),
            masks=torch.from_numpy(scenes.masks) if self.annotation == "digit" else self._not_decoy(scenes),
        )

    def _not_decoy(self, scenes: DigitScenes) -> Tensor:
        size = self.settings.image_size
        return ~box_regions(list(torch.from_numpy(scenes.decoy_boxes).unsqueeze(1)), (size, size))

    @cached_property
    def _digits(self) -> dict[Split, list[int]]:
        """The indices of the handwritten digits in each split."""
        labels = load_digits().target.tolist()
        rest, test = stratified_split(labels, self.test_fraction, self.seed, "test_fraction")
        val_fraction_of_rest = self.val_fraction / (1 - self.test_fraction)
        train, val = stratified_split([labels[digit] for digit in rest], val_fraction_of_rest, self.seed)
        return {"train": [rest[index] for index in train], "val": [rest[index] for index in val], "test": test}
