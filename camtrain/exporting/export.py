"""Export a trained network: a folder that timm, torchvision, Hugging Face and camtrain read."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml  # type: ignore[import-untyped, unused-ignore]
from safetensors.torch import save
from torch import nn

from camtrain.evaluation.evaluation_rows import network_hash
from camtrain.exporting.configuration import PREPROCESSOR, configuration, preprocessor
from camtrain.exporting.hub import Hub
from camtrain.exporting.library import building_code, library_of
from camtrain.exporting.model_card import Card
from camtrain.exporting.onnx_file import ONNX, check_onnx, write_onnx
from camtrain.exporting.run_facts import RunFacts, run_facts
from camtrain.exporting.without_places import without_places
from camtrain.files import local_folder, local_path, named_if_unwritable, whole_file, write_whole
from camtrain.loading import checkpoint_in, load_network
from camtrain.loading.checkpoint import settings_of
from camtrain.loading.exported_folder import CONFIG, WEIGHTS, exported_folder, read_exported
from camtrain.loading.load_data import configuration_in
from camtrain.loading.named_code import OF_NETWORKS
from camtrain.loading.named_network import is_own
from camtrain.loading.preprocessing_steps import PIXEL_FORMAT, described_preprocessing
from camtrain.loading.without_weights import without_weights
from camtrain.messages import CamtrainWarning
from camtrain.networks import LoadedNetwork
from camtrain.networks.checkpoint_file import checkpoint_content
from camtrain.networks.loaded_network import gray_image

CARD, PICTURE, TRAINING = "README.md", "maps.png", "training.yaml"
_FILES = (CARD, WEIGHTS, CONFIG, PREPROCESSOR, ONNX, PICTURE, TRAINING)


@dataclass(frozen=True)
class Exported:
    """What `export` has written.

    Attributes:
        folder: The folder.
        files: The names of the files in it, in the order in which they are worth a look.
        url: The address of the repository that they were sent to; `None` if they were not sent.
    """

    folder: Path
    files: Sequence[str]
    url: str | None = None


def export(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    network: nn.Module | None = None,
    config: str | Path | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    evaluation: str | Path | None = None,
    no_pictures: bool = False,
    onnx: bool = False,
    cam: str | None = None,
    target_layer: str | None = None,
    push: str | None = None,
    public: bool = False,
) -> Exported:
    """Export the network of a checkpoint, with all that it takes to use it elsewhere, and no code.

    The folder has the layout of the hub of Hugging Face: `model.safetensors`, the weights of the bare network;
    `config.json`, which timm reads for a network of timm; `preprocessor_config.json`; the configuration of the
    training, `training.yaml`; a picture of maps; and a model card, `README.md`, with the scores and how to use it.
    `camtrain.load_network(folder)` reads it.

    Args:
        checkpoint: A checkpoint of `camtrain fit`, or the folder of a run, whose best checkpoint is taken.
        folder: Where it is written; empty, or of an earlier export, whose files are replaced.
        name: The network, if it was built in Python; see `load_network`.
        network: A module, instead of `name`.
        config: The configuration of the run, where it is not in its folder.
        size: Height and width in pixels that photographs are scaled and cropped to. The default is that of the run.
        mean: Mean of images in [0, 1] by which they are normalized, a number for each channel. The default is that of
            the run.
        std: Standard deviation of images in [0, 1], a number for each channel. The default is that of the run.
        evaluation: The folder of `camtrain evaluate` whose scores the card shows. The default is one of these weights
            in the folder of the run or beside it.
        no_pictures: Leave out the picture of maps, which shows images of the data.
        onnx: Also write `model.onnx`, and check that onnxruntime computes the same with it.
        cam: The method whose map of the predicted class is a second output of the ONNX file, such as `grad_cam`. It
            needs a network with global average pooling and one linear layer, or an attention head.
        target_layer: The layer of this map, by its dotted name; the default is the last spatial layer.
        push: The repository on the hub of Hugging Face to send the files to, such as `ann/digits`. Files of an earlier
            export that this one has not, such as `model.onnx`, are removed from it.
        public: Make that repository visible to everybody if it is new; otherwise it is private.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If the checkpoint cannot be loaded, arguments do not go together, the folder holds something else,
            or the network or its map cannot be written as ONNX.
        TypeError: If an argument is of another type.
        OSError: If files cannot be written, or the hub does not take them.

    Example:
        >>> exported = export("runs/quickstart/version_0", "exported")  # doctest: +SKIP
        >>> camtrain.load_network("exported").num_classes  # doctest: +SKIP
        10
    """
    where = local_folder(folder, "folder")
    _check_free(where)
    _check_together(onnx, cam, target_layer, push, public)
    hub = None if push is None else Hub(push, public=public)
    given = local_path(checkpoint, "checkpoint")
    if exported_folder(given) is not None:
        raise ValueError(f"`checkpoint`: expected a checkpoint or the folder of a run, got {given}, which is exported")
    path = checkpoint_in(given)
    images = {"config": config, "size": size, "mean": mean, "std": std}
    loaded = load_network(path, name=name, network=network, **images, device="cpu")  # type: ignore[arg-type]
    for remark in loaded.preprocessing.remarks:
        warnings.warn(remark, CamtrainWarning, stacklevel=2)
    content = checkpoint_content(path)
    of_run = None if config is None else configuration_in(local_path(config, "config"))
    facts = run_facts(path, content, network_hash(loaded.network), of_run, evaluation)
    settings = _settings(settings_of(path, content), name)
    preprocessing = described_preprocessing(loaded.preprocessing)
    with TemporaryDirectory() as made:  # what can be refused is made before anything is replaced
        if onnx:
            try:
                shape = (loaded.preprocessing.channels, *_size(loaded))
                write_onnx(loaded.network, shape, Path(made, ONNX), cam, target_layer)
            except ValueError as error:
                raise ValueError(str(error).replace("`method`", "`cam`")) from error
        written = _write(
            where,
            _Sources(loaded, settings, preprocessing, facts, None if no_pictures else facts.picture, Path(made)),
            title=push or f"{path.absolute().parents[1].parent.name} {path.stem}",
            source="local-dir:." if push is None else f"hf-hub:{push}",
            onnx_map=cam,
        )
    # Those of an earlier export, which are of other weights.
    absent = [each for each in _FILES if each not in written]
    return Exported(where, written, None if hub is None else hub.send(where, written, absent))


@dataclass(frozen=True)
class _Sources:
    """What the files are made of."""

    loaded: LoadedNetwork
    settings: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    facts: RunFacts
    picture: Path | None
    made: Path


def _write(folder: Path, sources: _Sources, *, title: str, source: str, onnx_map: str | None) -> list[str]:
    """Write all files; their names. The configuration comes first: an export that is stopped can be done again."""
    loaded, settings, facts = sources.loaded, sources.settings, sources.facts
    # Copies, since the file must hold a weight under each of its names, for `load_state_dict`.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in loaded.network.state_dict().items()}
    weights = save(tensors, {"format": "pt"})
    described, stem = settings["network"], settings.get("stem", "imagenet")
    checksum = hashlib.sha256(weights).hexdigest()
    about = (loaded.class_names, loaded.several_labels, checksum)
    config = configuration(loaded.network, settings, sources.preprocessing, _size(loaded), *about)
    hf = preprocessor(sources.preprocessing)
    model = sources.made / ONNX
    num_logits = _num_logits(loaded)
    built = (loaded.network, described, stem, num_logits)
    card = Card(
        title=title,
        network=described if isinstance(described, str) else type(loaded.network).__name__,
        library=library_of(described),
        num_logits=num_logits,
        class_names=loaded.class_names,
        several_labels=loaded.several_labels,
        preprocessing=sources.preprocessing,
        facts=facts,
        # That of the card reads photographs in RGB.
        code=None if PIXEL_FORMAT in sources.preprocessing else building_code(*built, source),
        needs_name=not _is_described(described),
        picture=PICTURE if sources.picture else None,
        training=TRAINING if facts.training else None,
        onnx_map=onnx_map,
        has_onnx=model.is_file(),
    )
    contents: dict[str, bytes | str | None] = {
        CONFIG: _json(config),
        WEIGHTS: weights,
        PREPROCESSOR: None if hf is None else _json(hf),
        TRAINING: yaml.safe_dump(facts.training, sort_keys=False, allow_unicode=True) if facts.training else None,
        PICTURE: sources.picture.read_bytes() if sources.picture else None,
        ONNX: model.read_bytes() if model.is_file() else None,
        CARD: card.text(),
    }
    for name, content in contents.items():
        _put(folder / name, content)
    return [name for name in _FILES if contents[name] is not None]


def _put(path: Path, content: bytes | str | None) -> None:
    """Write a file, or remove that of an earlier export."""
    if content is None:
        with named_if_unwritable(path):
            path.unlink(missing_ok=True)
    elif isinstance(content, str):
        write_whole(path, content)
    else:
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _size(loaded: LoadedNetwork) -> tuple[int, int]:
    """Height and width of a photograph that is prepared for the network."""
    height, width = loaded.input(gray_image(loaded.preprocessing)).shape[-2:]
    return height, width


def _num_logits(loaded: LoadedNetwork) -> int:
    """The number of logits, 1 for a network of two classes that answers yes or no."""
    with torch.no_grad():
        return int(loaded.network(loaded.input(gray_image(loaded.preprocessing))).shape[1])


def _is_described(described: Any) -> bool:
    """Whether the folder says how the network is built without code of one's own."""
    path = described.get("class_path", "") if isinstance(described, dict) else described
    return isinstance(path, str) and (isinstance(described, str) or path.startswith(OF_NETWORKS))


def _check_together(onnx: bool, cam: str | None, target_layer: str | None, push: str | None, public: bool) -> None:
    if onnx:
        check_onnx()
    elif cam is not None:
        raise ValueError(f"`cam`: expected none without `onnx`, got {cam!r}")
    if target_layer is not None and cam is None:
        raise ValueError(f"`target_layer`: expected none without `cam`, got {target_layer!r}")
    if public and push is None:
        raise ValueError("`public`: expected `push` beside it")


def _check_free(folder: Path) -> None:
    """Check that nothing in the folder is lost, or would be taken for a part of it."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if (folder / CONFIG).is_file():
        with suppress(ValueError):
            read_exported(folder)
            return
    raise ValueError(f"`folder`: expected an empty folder, or one of an earlier export, got {folder}, which has files")


def _settings(found: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """How the network is described to whoever loads it: by the checkpoint, or by a name that is not of own code."""
    described, count = found.get("network"), found["num_classes"]
    if described is None and name is not None and not is_own(name):
        return {"num_classes": count, "network": name}
    stem = {"stem": found["stem"]} if isinstance(described, str) and "stem" in found else {}
    return {"num_classes": count, "network": without_places(without_weights(described, count), keep_none=True), **stem}
