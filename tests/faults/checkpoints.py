"""A small run, and files in the place of its checkpoint."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from camtrain import Classifier
from camtrain.networks.checkpoint_file import CHECKSUM, checksum_of

CONFIG = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
  regularizer: {class_path: camtrain.regularizers.InterpretableGradient}
  regularizer_weight: 0.1
data:
  class_path: camtrain.data.DecoyDigits
  init_args: {batch_size: 16}
trainer:
  max_epochs: 1
  limit_train_batches: 1
  limit_val_batches: 1
  limit_test_batches: 1
  limit_predict_batches: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
cam_logger: {num_images: 0}
localization_scores: {num_images: 0}
run: {wandb: disabled, test: false}
"""


class Code:
    """Once unpickled, it has made a file: the code of a stranger."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def _flipped(path: Path, content: dict[str, Any]) -> None:
    """One bit of a weight, as a bad disk leaves it: the file can be read."""
    weight = torch.full((10, 16), 0.7431)
    _changed(path, content, state_dict=_weights(content, fc__weight=weight))
    data = bytearray(path.read_bytes())
    data[data.index(weight.numpy().tobytes()) + 9] ^= 4
    path.write_bytes(data)


def _cut(path: Path, content: dict[str, Any]) -> None:
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _bomb(path: Path, content: dict[str, Any]) -> None:
    """10 MB of zeros in an archive of 10 kB."""
    torch.save({**content, "zeros": torch.zeros(2_500_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _changed(path: Path, content: dict[str, Any], **changes: Any) -> None:
    """The content with changes, and a checksum that is right."""
    changed = {key: value for key, value in content.items() if key != CHECKSUM} | changes
    torch.save(changed | {CHECKSUM: checksum_of(changed)}, path)


def _weights(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    state = dict(deepcopy(content["state_dict"]))
    for name, value in changes.items():
        key = "network." + name.replace("__", ".")
        state.pop(key) if value is None else state.update({key: value})
    return state


def _of(network: str, classes: int, path: Path, content: dict[str, Any]) -> None:
    other = Classifier(network, num_classes=classes)
    settings = {**content["hyper_parameters"], "network": network, "num_classes": classes}
    _changed(path, content, state_dict=other.state_dict(), hyper_parameters=settings)


def _of_classes(path: Path, content: dict[str, Any]) -> None:
    weights = _weights(content, fc__weight=torch.zeros(7, 16), fc__bias=torch.zeros(7))
    _changed(path, content, state_dict=weights, hyper_parameters={**content["hyper_parameters"], "num_classes": 7})


NAN, INFINITE = torch.full((4, 3, 3, 3), float("nan")), torch.full((10,), float("inf"))

# Of each kind of file: how it is made from a good checkpoint, and what is said of it.
KINDS: dict[str, tuple[Callable[[Path, dict[str, Any]], object], str]] = {
    "folder": (lambda path, _: path.mkdir(), "the folder|without any"),
    "missing": (lambda *_: None, "no such file"),
    "list": (lambda path, _: torch.save([1, 2], path), "it holds a list"),
    "empty": (lambda path, _: path.touch(), "the file is empty"),
    "cut": (_cut, "it is cut or damaged"),
    "flipped": (_flipped, "is damaged: its checksum is not that of its content"),
    "text": (lambda path, _: path.write_text("epoch: 3\n"), "not a file that torch.save has written"),
    "code": (lambda path, _: torch.save({"state_dict": Code(path.with_suffix(".ran"))}, path), "objects of Python"),
    "bomb": (_bomb, "it holds compressed data"),
    "state dict": (lambda path, content: torch.save(dict(content["state_dict"]), path), "it holds a bare state dict"),
    "optimizer": (
        lambda path, content: torch.save({"optimizer_states": content["optimizer_states"]}, path),
        "the state of an optimizer, and no weights",
    ),
    "another network": (lambda *made: _of("resnet18", 10, *made), "does not fit the network"),
    "other classes": (_of_classes, "is of a network of 7 classes, and the data has 10"),
    "missing key": (
        lambda path, content: _changed(path, content, state_dict=_weights(content, fc__bias=None)),
        "fc.bias",
    ),
    "nan": (
        lambda path, content: _changed(path, content, state_dict=_weights(content, conv1__weight=NAN)),
        "diverged: parameter conv1.weight is NaN or infinite",
    ),
    "infinite": (
        lambda path, content: _changed(path, content, state_dict=_weights(content, fc__bias=INFINITE)),
        "diverged: parameter fc.bias is NaN or infinite",
    ),
}


def made(kind: str, path: Path, content: dict[str, Any]) -> Path:
    """A file of a kind, in the place of what is at the path.

    Args:
        kind: One of `KINDS`.
        path: Where it is made.
        content: The content of a good checkpoint.
    """
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind][0](path, content)
    return path
