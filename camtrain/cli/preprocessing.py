"""From a photo to what a network expects, and back to what is shown; and what the classes are called."""

from __future__ import annotations

import importlib
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
        assumed: whether nothing says what mean and std are, so that they are a guess.
    """

    transform: Callable[[Image.Image], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str] | None = None
    remarks: list[str] = field(default_factory=list)
    assumed: bool = False

    def picture(self, image: Tensor) -> Tensor:
        """What a normalized image looks like, (3, H, W) RGB in [0, 1] on the CPU."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (image.float().cpu() * std + mean).clamp(0, 1)


def plain_preprocessing(override: Override, size: int = _USUAL_SIZE, remarks: Sequence[str] = ()) -> Preprocessing:
    """The largest central square, with ImageNet's normalization: where nothing else is known."""
    normalization = override.normalization(IMAGENET_MEAN, IMAGENET_STD)
    preprocessing = _preprocessing(_square(override.size or size), normalization, None, remarks)
    return replace(preprocessing, assumed=not (override.mean and override.std))


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


def data_module(config: Path, network: Preprocessing, override: Override) -> tuple[LightningDataModule, list[str]]:
    """The data module that a configuration names, with images as a network expects them.

    Its settings `mean` and `std` are those of the network. A data module that has no such settings normalizes images in
    its own way, which then has to be that of the network.

    Args:
        config: of a run, as `camtrain fit` writes it or takes it.
        network: says how images are normalized.
        override: what the user says of images; its size takes the place of the setting `image_size`.

    Returns:
        The data module, and what the user should know of how images are prepared.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names no data module, one that can not be made, or one whose images are prepared otherwise.
    """
    kind, settings = _data_class(config)
    taken = _settings_of(kind)
    if override.size is not None and "image_size" not in taken:
        raise ValueError(f"`--size`: expected none, since {kind.__name__} has no `image_size`, got {override.size}")
    given = {"mean": network.mean, "std": network.std, "image_size": override.size}
    known = {name: value for name, value in given.items() if value is not None and name in taken}
    try:
        data = _made(kind, settings | known)
    except (ArgumentError, OSError, ValueError) as error:
        raise ValueError(f"{config}: its data module can not be made: {error}") from error
    fixed = [name for name in ("mean", "std") if name not in taken]
    remarks = _of_own_normalization(data, fixed, network, override)
    # What was assumed of the network is not what is done, where the data module has it fixed.
    return data, [*([] if fixed and network.assumed else network.remarks), *remarks]


def normalization_of(data: Any) -> list[list[float] | None]:
    """The mean and std that a data module normalizes with, `None` where it does not say.

    Example:
        >>> from camtrain.data import DecoyDigits
        >>> normalization_of(DecoyDigits(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
        [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]
    """
    said = [getattr(data, name, None) for name in ("mean", "std")]
    return [None if each is None else torch.as_tensor(each, dtype=torch.float64).flatten().tolist() for each in said]


def _of_own_normalization(data: Any, fixed: Sequence[str], network: Preprocessing, override: Override) -> list[str]:
    """Check what a data module does whose mean or std can not be set; what is not known is remarked."""
    unknown = [name for name in fixed if not hasattr(data, name)]
    for name in fixed:
        own, wanted = getattr(data, name, None), getattr(network, name)
        option, asked = f"--{name}", getattr(override, name) is not None
        if (asked or not network.assumed) and own is not None and not _same(own, wanted):
            raise ValueError(
                f"`{option}`: {type(data).__name__} has no such setting and normalizes with {_listed(own)}, and the "
                f"network expects {_listed(wanted)}"
            )
        if asked and own is None:
            raise ValueError(
                f"`{option}`: expected none, since {type(data).__name__} has no such setting and normalizes in its own "
                f"way, got {_listed(wanted)}"
            )
    if not unknown:
        return []
    expected = "" if network.assumed else f"; the network expects {_listed(network.mean)} and {_listed(network.std)}"
    return [f"{type(data).__name__} does not say how it normalizes images, which are taken as they are{expected}"]


def _same(own: Any, wanted: Sequence[float]) -> bool:
    values = torch.as_tensor(own, dtype=torch.float64).flatten()
    return len(values) in (1, 3) and torch.allclose(values.expand(3), torch.tensor(wanted, dtype=torch.float64))


def _listed(values: Any) -> str:
    return str([round(float(value), 4) for value in torch.as_tensor(values).flatten()])


def _settings_of(kind: type) -> set[str]:
    """Names of what a class is constructed with."""
    parser = ArgumentParser(exit_on_error=False)
    return {name.removeprefix("data.") for name in parser.add_class_arguments(kind, "data", fail_untyped=False)}


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
    assumed = not (hasattr(data, "mean") and hasattr(data, "std")) and not (override.mean and override.std)
    remarks += [_assumed(data, "no mean and std", "ImageNet's", "--mean")] if assumed else []
    normalization = override.normalization(getattr(data, "mean", IMAGENET_MEAN), getattr(data, "std", IMAGENET_STD))
    # Images of a data set that are all of one size need no transform; a photo is brought to that size.
    transform = data.transform_of("val") if isinstance(data, ImageDataModule) and override.size is None else []
    if not transform:
        size = override.size or image_size
        remarks += [] if size else [_assumed(data, "no image_size", f"{_USUAL_SIZE}", "--size")]
        transform = _square(size or _USUAL_SIZE)
    preprocessing = _preprocessing(transform, normalization, getattr(data, "class_names", None), remarks)
    return replace(preprocessing, assumed=assumed)


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
