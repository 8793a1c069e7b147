"""The data module that a configuration names."""

from __future__ import annotations

import importlib
from argparse import ArgumentError
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import LightningDataModule
from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

from camtrain.messages import parser_message


def configured_data_class(config: Path) -> tuple[type[LightningDataModule], dict[str, Any]]:
    """The class of the data module that a configuration names, and all its settings.

    Args:
        config: A configuration, as `camtrain fit` takes or writes it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it names no data module.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        data = parser.parse_object({"data": _data_settings(config)}).as_dict()["data"]
    except ArgumentError as error:
        raise ValueError(f"`config`: {parser_message(str(error), file=str(config))}") from error
    module, _, name = data["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name), data.get("init_args", {})


def _data_settings(config: Path) -> Any:
    if not config.is_file():
        raise FileNotFoundError(f"`config`: no such configuration: {config}")
    try:
        data = OmegaConf.load(config)["data"]  # type: ignore[index]  # a list is refused below
        return OmegaConf.to_container(data, resolve=True) if OmegaConf.is_config(data) else data
    except (OmegaConfBaseException, YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`config`: {config}: expected a configuration with a data module under `data`; {error}"
        ) from error


def setting_names(kind: type) -> set[str]:
    """The names of a class's constructor arguments, inherited ones included."""
    parser = ArgumentParser(exit_on_error=False)
    return {name.removeprefix("data.") for name in parser.add_class_arguments(kind, "data", fail_untyped=False)}


def made_data(kind: type[LightningDataModule], settings: Mapping[str, Any]) -> LightningDataModule:
    """A data module of a class with settings as a configuration has them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "data", fail_untyped=False)
    data: LightningDataModule = parser.instantiate_classes(parser.parse_object({"data": dict(settings)})).data
    return data
