"""Reads a folder of `camtrain export`: weights without code, and a configuration that is data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from camtrain.classifier import Classifier
from camtrain.files import DamagedFileError, file_hash, read_sealed
from camtrain.loading.checkpoint import described_classifier
from camtrain.networks.weights_file import saved_weights

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OWN = "camtrain"
"""The key of the configuration that has what is camtrain's; all others are those of other libraries."""
LABELS = "label_names"
"""The key of the names of all classes, as timm calls it."""


@dataclass(frozen=True)
class ExportedFolder:
    """What the folder of an exported network says.

    Attributes:
        path: The folder.
        settings: `num_classes`, `network` and `stem` of the classifier, as in a checkpoint.
        several_labels: Whether images may show several classes.
        preprocessing: How photographs are prepared, as `described_preprocessing` writes it.
        class_names: The names of all classes; `None` where they are not known.
        weights_hash: The SHA-256 of the file of the weights.
    """

    path: Path
    settings: Mapping[str, Any]
    several_labels: bool
    preprocessing: Any
    class_names: list[str] | None
    weights_hash: str

    def classifier(self, make_network: Callable[[int], nn.Module] | None = None) -> Classifier:
        """The classifier with its weights. No code that the folder names is imported.

        Args:
            make_network: From the number of classes to the network, for one that the folder does not describe.

        Raises:
            ValueError: If the weights are not those that were written with the configuration, or do not fit.
        """
        weights = self.path / WEIGHTS
        if file_hash(weights) != self.weights_hash:
            raise ValueError(
                f"`checkpoint`: {weights} is damaged or of another export: its checksum is not that in {CONFIG}; "
                "export the network again, or pass a copy"
            )
        try:
            saved = saved_weights(weights)
        except ValueError as error:
            raise ValueError(str(error).replace("`weights`", "`checkpoint`")) from error
        return described_classifier(self.path, self.settings, saved, self.several_labels, make_network)


def exported_folder(path: Path) -> Path | None:
    """The folder of `camtrain export` that a path names, by itself or by its file of weights.

    Example:
        >>> exported_folder(Path("runs/quickstart/version_0"))
    """
    folder = path.parent if path.name == WEIGHTS else path
    return folder if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file() else None


def read_exported(folder: Path) -> ExportedFolder:
    """What the folder of an exported network says, checked as the data of a stranger.

    Raises:
        ValueError: If it is not a folder of `camtrain export`, or is damaged.
    """
    path = folder / CONFIG
    try:
        content = read_sealed(path)
        own = content.get(OWN)
        if not isinstance(own, dict):
            raise ValueError(
                f"it is not of `camtrain export`; pass `name` and {WEIGHTS} as `weights`, without `checkpoint`"
            )
        return _checked(folder, content, own)
    except DamagedFileError as error:
        raise ValueError(f"`checkpoint`: {error}; export the network again, or pass a copy") from error
    except ValueError as error:
        raise ValueError(f"`checkpoint`: {path}: {error}") from error


def _checked(folder: Path, content: Mapping[str, Any], own: Mapping[str, Any]) -> ExportedFolder:
    count, digest, network = content.get("num_classes"), own.get("weights_sha256"), own.get("network")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"expected `num_classes` as a positive integer, got {str(count)[:100]}")
    if not isinstance(digest, str) or len(digest) != hashlib.sha256().digest_size * 2:
        raise ValueError("expected `weights_sha256` as the checksum of the weights")
    if not isinstance(network, (str, dict, type(None))):
        raise ValueError(f"expected `network` as a name or a class_path, got {str(network)[:100]}")
    names = content.get(LABELS)
    if names is not None and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
        raise ValueError(f"expected `{LABELS}` as a list of names")
    settings = {"num_classes": count, "network": network, **({"stem": own["stem"]} if "stem" in own else {})}
    return ExportedFolder(folder, settings, own.get("several_labels") is True, own.get("preprocessing"), names, digest)
