"""How photographs are prepared, as data that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torchvision.transforms import v2

from camtrain.data import Squash
from camtrain.messages import checked_integer
from camtrain.networks.preprocessing import (
    IMAGENET_MEAN,
    GivenPreprocessing,
    Preprocessing,
    central_square,
    check_mean,
    check_std,
    transform_preprocessing,
)
from camtrain.pictures.shown_channels import check_shown_channels
from camtrain.pixel_format import PixelFormat

RESIZE, CENTER_CROP = "resize", "center_crop"
PIXEL_FORMAT, SHOWN_CHANNELS = "pixel_format", "shown_channels"
"""The keys of what image files hold, and of the channels that pictures show; neither is there for photographs."""
_LARGEST = 7000  # pixels of a side; its square is the limit of an image that is read
_INTERPOLATIONS = {"bilinear", "bicubic", "nearest"}
_NOTHING = (v2.ToImage, v2.ToPureTensor, v2.Identity)  # what changes no pixel of an image


def described_preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    """A preprocessing as JSON can hold it.

    Args:
        preprocessing: That of a network from `load_network` with a checkpoint.

    Raises:
        ValueError: If it has a transform other than `Resize`, `CenterCrop` and camtrain's `Squash`.

    Example:
        >>> from camtrain.networks.preprocessing import plain_preprocessing
        >>> described_preprocessing(plain_preprocessing(size=32))["steps"][1]
        {'center_crop': {'size': [32, 32]}}
    """
    composed: Any = preprocessing.transform
    transforms = getattr(composed, "transforms", [composed])
    # `transform_preprocessing` ends with the normalization, which the numbers describe; another one is a step.
    last = max((place for place, each in enumerate(transforms) if isinstance(each, v2.Normalize)), default=None)
    steps = [_step(each) for place, each in enumerate(transforms) if place != last and not _changes_nothing(each)]
    numbers = {"mean": [float(each) for each in preprocessing.mean], "std": [float(each) for each in preprocessing.std]}
    return {"steps": steps, **numbers, "assumed": preprocessing.assumed, **_described_pixels(preprocessing)}


def _described_pixels(preprocessing: Preprocessing) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if preprocessing.pixel_format is not None:
        found[PIXEL_FORMAT] = asdict(preprocessing.pixel_format)
    if preprocessing.shown_channels is not None:
        found[SHOWN_CHANNELS] = [int(each) for each in preprocessing.shown_channels]
    return found


def _changes_nothing(transform: Any) -> bool:
    """Whether a transform changes nothing but the form of an image of 8 bits, whose pixels become numbers in [0, 1]."""
    if isinstance(transform, v2.ToDtype):
        return transform.scale and transform.dtype in (torch.float32, torch.uint8)
    return isinstance(transform, _NOTHING)


def _step(transform: Any) -> dict[str, Any]:
    if isinstance(transform, Squash):
        return {RESIZE: {"size": [transform.size] * 2, "interpolation": "bilinear", "antialias": True}}
    if isinstance(transform, v2.CenterCrop):
        return {CENTER_CROP: {"size": [int(each) for each in transform.size]}}
    if isinstance(transform, v2.Resize) and transform.max_size is None and transform.size is not None:
        interpolation = getattr(transform.interpolation, "value", transform.interpolation)
        if interpolation in _INTERPOLATIONS:
            size = [int(each) for each in transform.size]
            return {RESIZE: {"size": size, "interpolation": interpolation, "antialias": bool(transform.antialias)}}
    raise ValueError(
        "`size`: expected a number of pixels, since photographs are prepared by a transform that no file can describe, "
        f"{transform}; with a size they are scaled to it and cropped at the center"
    )


def preprocessing_of(described: Any, given: GivenPreprocessing, remarks: Sequence[str] = ()) -> Preprocessing:
    """The preprocessing that data describe.

    Args:
        described: What `described_preprocessing` returned, perhaps of a stranger.
        given: What the caller says about images.
        remarks: What a user should know if mean and std are a guess.

    Raises:
        ValueError: If it is nothing of the kind, or a number is out of its range.
    """
    if not isinstance(described, Mapping) or not isinstance(described.get("steps"), list):
        raise ValueError("expected `preprocessing` with `steps`, `mean` and `std`")
    check_mean(described.get("mean"))  # type: ignore[arg-type]  # refused if it is something else
    check_std(described.get("std"))  # type: ignore[arg-type]
    numbers = given.normalization(described["mean"], described["std"])
    steps = central_square(given.size) if given.size else [_transform(each) for each in described["steps"]]
    assumed = bool(described.get("assumed")) and not (given.mean and given.std)
    made = transform_preprocessing(steps, **numbers, remarks=remarks if assumed else (), given=given)
    channels = made.channels
    shown = _shown_channels(described, channels)
    return replace(made, assumed=assumed, pixel_format=_pixel_format(described, channels), shown_channels=shown)


def _pixel_format(described: Mapping[str, Any], channels: int) -> PixelFormat | None:
    found, names = described.get(PIXEL_FORMAT), [each.name for each in fields(PixelFormat)]
    if found is None and channels == len(IMAGENET_MEAN):
        return None
    if not isinstance(found, Mapping) or not {"channels"} <= set(found) <= set(names):
        raise ValueError(f"expected `{PIXEL_FORMAT}` with {', '.join(names)}, got {str(found)[:100]}")
    limits = found.get("value_range")
    try:
        made = PixelFormat(**{**found, "value_range": tuple(limits) if isinstance(limits, list) else limits})
    except TypeError as error:
        raise ValueError(f"`{PIXEL_FORMAT}`: {error}") from error
    if made.channels != channels:
        raise ValueError(f"`{PIXEL_FORMAT}`: expected {channels} channels, as many as `mean` has, got {made.channels}")
    return made


def _shown_channels(described: Mapping[str, Any], channels: int) -> list[int] | None:
    found = described.get(SHOWN_CHANNELS)
    if found is None:
        return None
    if not isinstance(found, list):
        raise ValueError(f"expected `{SHOWN_CHANNELS}` as a list of numbers, got {str(found)[:100]}")
    try:
        check_shown_channels(found, channels)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return found


def _transform(step: Any) -> v2.Transform:
    (name, settings), *more = step.items() if isinstance(step, Mapping) and step else [("", None)]
    if more or name not in (RESIZE, CENTER_CROP) or not isinstance(settings, Mapping):
        raise ValueError(f"expected steps that are {RESIZE} or {CENTER_CROP}, got {str(step)[:100]}")
    size = settings.get("size")
    if not isinstance(size, list) or not 1 <= len(size) <= 2:
        raise ValueError(f"expected the `size` of {name} as one or two numbers, got {str(size)[:100]}")
    for each in size:
        checked_integer("size", each, 1, f"a positive number of pixels, at most {_LARGEST}")
        if each > _LARGEST:
            raise ValueError(f"`size`: expected at most {_LARGEST} pixels, got {each}")
    if name == CENTER_CROP:
        return v2.CenterCrop(size)
    interpolation = settings.get("interpolation")
    if interpolation not in _INTERPOLATIONS:
        raise ValueError(f"expected an `interpolation` of {sorted(_INTERPOLATIONS)}, got {str(interpolation)[:100]}")
    return v2.Resize(size, v2.InterpolationMode(interpolation), antialias=bool(settings.get("antialias")))
