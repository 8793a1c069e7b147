"""Photographs prepared as the validation images of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torchvision.transforms import v2

from camtrain.class_names import names_of_data
from camtrain.data import CIFAR10, CIFAR100, ImageDataModule
from camtrain.loading.data_configuration import configured_data_class, made_data
from camtrain.loading.weights_preprocessing import Prepared
from camtrain.networks.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    USUAL_SIZE,
    GivenPreprocessing,
    central_square,
    transform_preprocessing,
    usual_normalization,
)
from camtrain.pixel_format import PixelFormat

_CIFAR_SIZE = 32


def data_preprocessing(config: Path, given: GivenPreprocessing) -> Prepared:
    """The preprocessing of validation images by the data module that a configuration names.

    If the data module cannot be made, because its images are not on this machine, the configuration and the class
    decide, and a remark says so, and whether the transform of validation images is a guess.

    Args:
        config: The configuration of a run, as `camtrain fit` takes or writes it.
        given: What the caller says about images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it names no data module, or one that cannot be made and says too little.
    """
    kind, settings = configured_data_class(config)
    try:
        data: Any = made_data(kind, settings)
    except (OSError, ValueError) as error:
        data = _DataFromSettings(kind, settings, config, error)
    image_size = _CIFAR_SIZE if issubclass(kind, (CIFAR10, CIFAR100)) else settings.get("image_size")
    return _of_data_module(data, kind.__name__, image_size, given)


class _DataFromSettings:
    """Stands in for a data module that cannot be made: what its settings and its class say about its images."""

    def __init__(self, kind: type, own: dict[str, Any], config: Path, error: Exception) -> None:
        if not issubclass(kind, ImageDataModule) or own.get("eval_transform") is not None:
            raise ValueError(f"`config`: {config}: its data module cannot be made: {error}") from error
        self.remarks = [f"the data module of {config} cannot be made, so that its classes may have no names: {error}"]
        self.pixel_format, self.shown_channels = _stored(own), own.get("shown_channels")
        usual = kind.default_mean, kind.default_std
        if self.pixel_format is not None:
            usual = usual_normalization(self.pixel_format.channels)
        self.mean, self.std = own.get("mean") or usual[0], own.get("std") or usual[1]
        known = getattr(kind, "all_class_names", None)
        # That of a data module that reads them from its files is a method.
        self.class_names = own.get("classes") or (None if callable(known) else known)
        self.transform = _default_transform(kind, own)


def _default_transform(kind: type[ImageDataModule], settings: dict[str, Any]) -> list[v2.Transform] | None:
    """The default transform of validation images by a data module that cannot be made; `None` if it is not known.

    Those of camtrain depend on settings alone, which are attributes of the same names. What others need is not known.
    """
    is_own = kind.transform_of is not ImageDataModule.transform_of
    if is_own or not kind.default_eval_transform.__module__.startswith("camtrain."):
        return None
    bare = kind.__new__(kind)
    vars(bare).update(settings)
    return bare.default_eval_transform()


def _stored(settings: dict[str, Any]) -> PixelFormat | None:
    """What the settings of a data module say that image files hold."""
    if settings.get("channels") is None:
        return None
    names = ("channels", "pixel_type", "value_range", "channels_first")
    return PixelFormat(**{name: settings[name] for name in names if name in settings})


def _of_data_module(data: Any, kind: str, image_size: int | None, given: GivenPreprocessing) -> Prepared:
    remarks = list(getattr(data, "remarks", []))
    assumed = not (hasattr(data, "mean") and hasattr(data, "std")) and not (given.mean and given.std)
    remarks += [_assumed(kind, "no mean and std", "ImageNet's are", "`mean` and `std` say")] if assumed else []
    normalization = given.normalization(getattr(data, "mean", IMAGENET_MEAN), getattr(data, "std", IMAGENET_STD))
    pixel_format: PixelFormat | None = getattr(data, "pixel_format", None)
    channels = len(normalization["mean"])
    if pixel_format is None and channels != len(IMAGENET_MEAN):
        pixel_format = PixelFormat(channels)
        remarks.append(f"{kind} does not say what its image files hold: {channels} channels of 8 bits are assumed")
    # Images of a data set that are all of one size need no transform; a photograph is brought to that size.
    transform = _validation_transform(data) if given.size is None else []
    if not transform:
        size = given.size or image_size
        if transform is None:
            remarks.append(
                f"{kind} has a transform of its own, which is not known without its files: the largest central square "
                "is assumed; put its files where the configuration says they are"
            )
        remarks += [] if size else [_assumed(kind, "no image_size", f"{USUAL_SIZE} is", "`size` says")]
        if size and given.size is None and transform is not None and not _has_images_of_one_size(data):
            remarks.append(
                f"{kind} does not say how it brings photographs to its size: the largest central square is assumed, of "
                f"{size} pixels; `size` says otherwise"
            )
        transform = central_square(size or USUAL_SIZE)
    preprocessing = transform_preprocessing(transform, **normalization, remarks=remarks, given=given)
    shown = getattr(data, "shown_channels", None)
    return (
        replace(preprocessing, assumed=assumed, pixel_format=pixel_format, shown_channels=shown),
        names_of_data(data),
    )


def _validation_transform(data: Any) -> list[v2.Transform] | None:
    """The transform of validation images; empty if images need none, and `None` if it is not known."""
    if isinstance(data, _DataFromSettings):
        return data.transform
    return data.transform_of("val") if isinstance(data, ImageDataModule) else []


def _has_images_of_one_size(data: Any) -> bool:
    """Whether images need no transform by themselves, rather than because nothing is known or none is wanted."""
    if isinstance(data, _DataFromSettings):
        return not data.transform
    return isinstance(data, ImageDataModule) and not data.default_eval_transform()


def _assumed(kind: str, lacking: str, value: str, remedy: str) -> str:
    return f"{kind} has {lacking}: {value} assumed; {remedy} otherwise"
