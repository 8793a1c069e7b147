"""From a photo to what a network expects, and back to what is shown; and what the classes are called."""

from __future__ import annotations

import importlib
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import v2
from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

from camtrain.data import CIFAR10, CIFAR100, ImageDataModule
from camtrain.data.image_data_module import IMAGENET_MEAN, IMAGENET_STD

_USUAL_SIZE = 224
_CIFAR_SIZE = 32


@dataclass(frozen=True)
class Override:
    """What takes the place of what a run or a network says of its images.

    Attributes:
        size: height and width in pixels; `None` is the network's own.
        mean: per RGB channel, in [0, 1]; `None` is the network's own.
        std: likewise.
    """

    size: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def normalization(self, mean: Sequence[float], std: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """Mean and standard deviation to use where these are the network's own."""
        return {"mean": tuple(self.mean or mean), "std": tuple(self.std or std)}


@dataclass(frozen=True)
class Preprocessing:
    """How a network gets its images.

    Attributes:
        transform: from a photo to (3, H, W), normalized.
        mean: that is subtracted from images in [0, 1], per RGB channel.
        std: that they are divided by.
        class_names: of all classes; `None` where nothing is known.
        remarks: what the user should know.
    """

    transform: Callable[[Image.Image], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str] | None = None
    remarks: list[str] = field(default_factory=list)

    def picture(self, image: Tensor) -> Tensor:
        """What a normalized image looks like, (3, H, W) RGB in [0, 1] on the CPU."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (image.float().cpu() * std + mean).clamp(0, 1)


def plain_preprocessing(override: Override, size: int = _USUAL_SIZE, remarks: Sequence[str] = ()) -> Preprocessing:
    """The largest central square, with ImageNet's normalization: where nothing else is known."""
    normalization = override.normalization(IMAGENET_MEAN, IMAGENET_STD)
    return _preprocessing(_square(override.size or size), normalization, None, remarks)


def torchvision_preprocessing(name: str, weights: str | None, override: Override) -> Preprocessing:
    """That of the weights of a torchvision network, with the names of their classes.

    Without weights it is that of the default ones, and classes have no names. With another size, the photo is scaled so
    that the same part of it is seen.
    """
    known = models.get_model_weights(name)
    chosen = known.DEFAULT if weights is None else known[weights.removeprefix(f"{known.__name__}.")]
    own = chosen.transforms()
    options: dict[str, Any] = override.normalization(own.mean, own.std)
    if override.size is not None:
        resized = round(override.size * own.resize_size[0] / own.crop_size[0])
        options |= {"crop_size": override.size, "resize_size": resized}
    names = None if weights is None else chosen.meta.get("categories")
    transform = chosen.transforms(**options)
    return Preprocessing(transform, transform.mean, transform.std, names)


def timm_preprocessing(network: nn.Module, pretrained: bool, override: Override) -> Preprocessing:
    """That of a timm network, with ImageNet's class names where it was pretrained there."""
    data: Any = importlib.import_module("timm.data")
    config = data.resolve_model_data_config(network)
    config |= override.normalization(config["mean"], config["std"])
    if override.size is not None:
        config["input_size"] = (3, override.size, override.size)
    names = None
    subset = data.infer_imagenet_subset(network) if pretrained else None
    if subset:
        info = data.ImageNetInfo(subset)
        names = [info.index_to_description(index, detailed=False) for index in range(info.num_classes())]
    transform = data.create_transform(**config, is_training=False)
    return Preprocessing(transform, config["mean"], config["std"], names)


def data_preprocessing(config: Path, override: Override) -> Preprocessing:
    """That of validation images of the data module which a configuration names.

    Where its images are not on this machine, and it therefore can not be made, what the configuration alone says is
    used; a remark says so.

    Args:
        config: of a run, as `camtrain fit` writes it or takes it.
        override: what takes the place of its settings.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names no data module, or one that can not be made and says too little.
    """
    kind, settings = _data_class(config)
    try:
        data: Any = _made(kind, settings)
    except (OSError, ValueError) as error:
        data = _DataFromSettings(kind, settings, config, error)
    image_size = _CIFAR_SIZE if issubclass(kind, (CIFAR10, CIFAR100)) else settings.get("image_size")
    return _of_data_module(data, image_size, override)


def data_module(config: Path, override: Override) -> LightningDataModule:
    """The data module that a configuration names, with other preprocessing where that is given.

    Args:
        config: of a run, as `camtrain fit` writes it or takes it.
        override: takes the place of the settings `mean`, `std` and `image_size`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names no data module, one that can not be made, or one without such a setting.
    """
    kind, settings = _data_class(config)
    given = {"mean": override.mean, "std": override.std, "image_size": override.size}
    try:
        return _made(kind, settings | {name: value for name, value in given.items() if value is not None})
    except (ArgumentError, OSError, ValueError) as error:
        raise ValueError(f"{config}: its data module can not be made: {error}") from error


def _made(kind: type, settings: dict[str, Any]) -> LightningDataModule:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "data", fail_untyped=False)
    data: LightningDataModule = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    return data


def _data_class(config: Path) -> tuple[type, dict[str, Any]]:
    """The class of the data module and all its settings."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        data = parser.parse_object({"data": _data_settings(config)}).as_dict()["data"]
    except ArgumentError as error:
        raise ValueError(f"{config}: {error}") from error
    module, _, name = data["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name), data.get("init_args", {})


def _data_settings(config: Path) -> Any:
    if not config.is_file():
        raise FileNotFoundError(f"no such configuration: {config}")
    try:
        data = OmegaConf.load(config)["data"]  # type: ignore[index]  # it may be a list, and is then refused below
        return OmegaConf.to_container(data, resolve=True) if OmegaConf.is_config(data) else data
    except (OmegaConfBaseException, YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{config}: expected a configuration with a data module under `data`; {error}") from error


class _DataFromSettings:
    """What a data module that can not be made would say of its images, as far as its settings and its class do."""

    def __init__(self, kind: type, own: dict[str, Any], config: Path, error: Exception) -> None:
        if not issubclass(kind, ImageDataModule) or own.get("eval_transform") is not None:
            raise ValueError(f"{config}: its data module can not be made: {error}") from error
        self.remarks = [f"the data module of {config} can not be made, so that its classes may have no names: {error}"]
        self.mean = own.get("mean") or kind.default_mean
        self.std = own.get("std") or kind.default_std
        self.class_names = own.get("classes") or getattr(kind, "all_class_names", None)


def _of_data_module(data: Any, image_size: int | None, override: Override) -> Preprocessing:
    remarks = list(getattr(data, "remarks", []))
    if not hasattr(data, "mean") or not hasattr(data, "std"):
        remarks += [] if override.mean and override.std else [_assumed(data, "no mean and std", "ImageNet's", "--mean")]
    normalization = override.normalization(getattr(data, "mean", IMAGENET_MEAN), getattr(data, "std", IMAGENET_STD))
    # Images of a data set that are all of one size need no transform; a photo is brought to that size.
    transform = data.transform_of("val") if isinstance(data, ImageDataModule) and override.size is None else []
    if not transform:
        size = override.size or image_size
        remarks += [] if size else [_assumed(data, "no image_size", f"{_USUAL_SIZE}", "--size")]
        transform = _square(size or _USUAL_SIZE)
    return _preprocessing(transform, normalization, getattr(data, "class_names", None), remarks)


def _assumed(data: Any, lacking: str, value: str, option: str) -> str:
    return f"{type(data).__name__} has {lacking}: {value} assumed; {option} says otherwise"


def _square(size: int) -> list[v2.Transform]:
    return [v2.Resize(size), v2.CenterCrop(size)]


def _preprocessing(
    transform: list[v2.Transform],
    normalization: dict[str, tuple[float, ...]],
    class_names: Sequence[str] | None,
    remarks: Sequence[str],
) -> Preprocessing:
    mean, std = normalization["mean"], normalization["std"]
    # As data modules do: transforms of uint8 pixels, then float, then the normalization.
    to_float = v2.ToDtype(torch.float32, scale=True)
    prepared = v2.Compose([v2.ToImage(), *transform, to_float, v2.Normalize(list(mean), list(std)), v2.ToPureTensor()])
    return Preprocessing(prepared, mean, std, None if class_names is None else list(class_names), list(remarks))
