"""The images of a run, prepared as a network expects them."""

from __future__ import annotations

import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from camtrain.class_names import names_of_data, renamed_classes
from camtrain.files import local_path
from camtrain.loading.checkpoint import config_of
from camtrain.loading.data_configuration import configured_data_class, made_data, setting_names
from camtrain.loading.exported_folder import exported_folder
from camtrain.messages import CamtrainWarning
from camtrain.networks.checkpoint_file import checkpoint_in
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.networks.preprocessing import Preprocessing, listed

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule


def load_data(config: str | Path, network: LoadedNetwork | None = None) -> LightningDataModule:
    """The data module that a configuration names, with images as a network expects them.

    Its settings `mean` and `std`, and `image_size` if the caller of `load_network` gave a size, become those of the
    network, unless nothing says how images are normalized for it. A data module without such settings normalizes images
    in its own way, which has to be that of the network.

    Args:
        config: A configuration of `camtrain fit`, the folder of a run, or a checkpoint in one.
        network: What `load_network` returned; `None` leaves images as the configuration says.

    Raises:
        FileNotFoundError: If there is no such file, or no configuration beside the checkpoint.
        ValueError: If the configuration names no data module, one that cannot be made, one whose images are prepared
            otherwise than the network expects, or one that gives the name of a class to another than in its training.

    Example:
        >>> from camtrain.files import write_whole
        >>> import tempfile
        >>> config = Path(tempfile.mkdtemp()) / "digits.yaml"
        >>> write_whole(config, "data: {class_path: camtrain.data.DecoyDigits}")
        >>> load_data(config).num_classes
        10
    """
    path = configuration_in(local_path(config, "config"))
    kind, settings = configured_data_class(path)
    if network is None:
        return _made(path, kind, settings)
    taken = setting_names(kind)
    preprocessing = network.preprocessing
    given = preprocessing.given
    if given.size is not None and "image_size" not in taken:
        raise ValueError(f"`size`: expected none, since {kind.__name__} has no `image_size`, got {given.size}")
    # A guess is worth less than what the configuration says.
    own = given if preprocessing.assumed else preprocessing
    wanted = {"mean": own.mean, "std": own.std, "image_size": given.size}
    data = _made(path, kind, settings | {k: v for k, v in wanted.items() if v is not None and k in taken})
    fixed = [name for name in ("mean", "std") if name not in taken]
    renamed = renamed_classes(network.class_names, names_of_data(data))
    # Those of the preprocessing are on photographs, and the data module makes its images by itself.
    remarks = [*([renamed] if renamed else []), *_check_own_normalization(data, fixed, preprocessing)]
    for remark in remarks:
        warnings.warn(remark, CamtrainWarning, stacklevel=2)
    return data


def configuration_in(path: Path) -> Path:
    """The configuration that a path names: a YAML file, or that of a run's folder or checkpoint.

    Raises:
        FileNotFoundError: If there is none.
    """
    if path.suffix in (".yaml", ".yml") or not path.exists():
        return path
    if (path / "config.yaml").is_file():
        return path / "config.yaml"
    try:
        found = config_of(checkpoint_in(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"`config`: expected a configuration, the folder of a run, or a checkpoint in one, got the folder {path}"
        ) from error
    if found is None:
        raise FileNotFoundError(f"`config`: expected the configuration of a run beside {path}, found none")
    return found


def config_beside(checkpoint: str | Path) -> Path | None:
    """The configuration of the run that made a checkpoint; `None` where there is none.

    Args:
        checkpoint: As `load_network` takes it. A folder of `camtrain export` has none.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: As for `load_network`.
    """
    path = local_path(checkpoint, "checkpoint")
    return None if exported_folder(path) is not None else config_of(checkpoint_in(path))


def _made(config: Path, kind: type[LightningDataModule], settings: dict[str, Any]) -> LightningDataModule:
    try:
        return made_data(kind, settings)
    except (ArgumentError, OSError, ValueError) as error:
        raise ValueError(f"`config`: {config}: its data module cannot be made: {error}") from error


def _check_own_normalization(data: Any, fixed: Sequence[str], network: Preprocessing) -> list[str]:
    """Check a data module whose mean or std cannot be set; return remarks on what it does not say."""
    kind = type(data).__name__
    for name in fixed:
        own, wanted, asked = getattr(data, name, None), getattr(network, name), getattr(network.given, name) is not None
        if (asked or not network.assumed) and own is not None and not _same(own, wanted):
            raise ValueError(
                f"`{name}`: {kind} has no such setting and normalizes with {listed(own)}, and the network expects "
                f"{listed(wanted)}"
            )
        if asked and own is None:
            raise ValueError(
                f"`{name}`: expected none, since {kind} has no such setting and normalizes in its own way, got "
                f"{listed(wanted)}"
            )
    if all(hasattr(data, name) for name in fixed):
        return []
    expected = "" if network.assumed else f"; the network expects {listed(network.mean)} and {listed(network.std)}"
    return [f"{kind} does not say how it normalizes images, which are taken as they are{expected}"]


def _same(own: Any, wanted: Sequence[float]) -> bool:
    values, expected = (torch.as_tensor(each, dtype=torch.float64).flatten() for each in (own, wanted))
    return len(values) in (1, len(expected)) and torch.allclose(values.expand(len(expected)), expected)
