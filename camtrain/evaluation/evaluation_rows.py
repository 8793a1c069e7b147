"""The parts of an evaluation, in memory or kept on disk so that it goes on where it was stopped."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.evaluation.evaluated_images import EvaluatedImages, flat_maps, joined, small_maps
from camtrain.evaluation.evaluation_folder import SETTINGS_OF_PART, settings_hash_in
from camtrain.evaluation.evaluator import IMAGE, NO_CLASS, Evaluated, Evaluator
from camtrain.evaluation.explained_target import ExplainedTarget
from camtrain.evaluation.image_source import ImageSource, PartOfImages
from camtrain.evaluation.score_map_files import ScoreMapWriter
from camtrain.files import DamagedFileError, said_aside, whole_file
from camtrain.fingerprint import tensor_bytes
from camtrain.messages import CamtrainWarning
from camtrain.messages.progress_bar import ProgressBar
from camtrain.networks.checkpoint_file import CHECKSUM, checksum_of, is_intact

_CONTENT = "content"
"""The key under which a part has a hash of what is known of its images."""


def evaluated_images(
    evaluator: Evaluator,
    images: ImageSource,
    device: torch.device,
    folder: Path | None = None,
    *,
    keeps_maps: bool = True,
    progress: bool = True,
    title: str = "evaluate",
    score_maps: ScoreMapWriter | None = None,
    with_labels: bool = True,
) -> EvaluatedImages:
    """Evaluate all images part by part, except for the parts that an earlier call left in the folder.

    Args:
        evaluator: The evaluator of one network's maps.
        images: The images, in a fixed order.
        device: The device of the network.
        folder: The folder that keeps each part; `None` keeps nothing.
        keeps_maps: True if small maps are kept for panels.
        progress: True shows a progress bar.
        title: The title of the progress bar.
        score_maps: Writes the maps to files; `None` writes none.
        with_labels: Whether the labels are those of the network's classes; if not, they are left out.

    Raises:
        ValueError: If labels or annotation of some images cannot be used, or there are no images.
    """
    parts = []
    settings = None if folder is None else settings_hash_in(folder)
    with ProgressBar(total=images.num_images, desc=title, unit="image", disable=not progress) as bar:
        for number, part in enumerate(images.parts()):
            path = None if folder is None else folder / f"batch_{number:05d}.pt"
            image_ids = [] if score_maps is None else images.image_ids(part.indices)
            content = "" if path is None else part.content()
            found = None if path is None else _kept(path, part.indices, content, settings)
            if found is not None and score_maps is not None and not _has_maps(score_maps, found, image_ids):
                found = None
            if found is None:
                batch = _batch_of(part, with_labels and not isinstance(evaluator.network, ExplainedTarget))
                found = _evaluated(evaluator, part.indices, batch, device, image_ids, score_maps, keeps_maps=keeps_maps)
                if path is not None:
                    _keep({**found, _CONTENT: content}, path, settings)
            parts.append(found)
            bar.update(len(part.indices))
    if not parts:
        raise ValueError("`data`: there are no images")
    return joined(parts)


def _has_maps(score_maps: ScoreMapWriter, found: Mapping[str, Any], image_ids: Sequence[str]) -> bool:
    """Whether the files of the maps of a part that was evaluated before are still there."""
    name_of = dict(zip(found["indices"], image_ids, strict=True))
    left_out = {
        method: [name_of[index] for key in (method, IMAGE, NO_CLASS) for index in found["left_out"].get(key, ())]
        for method in score_maps.methods
    }
    return score_maps.is_complete(image_ids, left_out)


def _batch_of(part: PartOfImages, with_labels: bool) -> Batch:
    """The images, without labels if these are of no class of the network, or no class is explained."""
    batch = part.read()
    return batch if with_labels else replace(batch, labels=None)


def _evaluated(
    evaluator: Evaluator,
    indices: list[int],
    batch: Batch,
    device: torch.device,
    image_ids: Sequence[str],
    score_maps: ScoreMapWriter | None,
    *,
    keeps_maps: bool,
) -> dict[str, Any]:
    passes, reasons = evaluator.passes.copy(), evaluator.reasons.copy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = evaluator(batch.to(device))
        except ValueError as error:
            raise ValueError(f"{_which(indices)}: {error}") from error
    if score_maps is not None:
        nothing = torch.zeros(len(batch), dtype=torch.bool)
        of_images = found.left_out.get(IMAGE, nothing) | found.left_out.get(NO_CLASS, nothing)
        missing = {method: found.left_out.get(method, nothing) | of_images for method in score_maps.methods}
        score_maps.write(image_ids, found.cams, missing)
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        warnings.warn(f"{_which(indices)}: {message}", CamtrainWarning, stacklevel=6)
    return {
        "indices": list(indices),
        **_labels_of(batch, found),
        "predictions": found.predictions.cpu(),
        "class_idx": found.class_idx.cpu(),
        "scores": found.scores.cpu(),
        "confidences": torch.where(found.predictions >= 0, found.probabilities.amax(dim=1), torch.nan).cpu(),
        "rows": found.rows,
        "beside": found.beside,
        "annotated": {kind: known.cpu() for kind, known in found.annotated.items()},
        "small_maps": small_maps(found) if keeps_maps else {},
        "flat": flat_maps(found, list(evaluator.methods)),
        "passes": dict(evaluator.passes - passes),
        "left_out": {
            name: [indices[place] for place in which.nonzero().flatten().tolist()]
            for name, which in found.left_out.items()
        },
        "reasons": {name: why for name, why in evaluator.reasons.items() if name not in reasons},
    }


def _which(indices: Sequence[int]) -> str:
    """The images of a part in words.

    Example:
        >>> _which([4, 5, 6, 7]), _which([0, 3, 6]), _which([2])
        ('images 4 to 7', 'images 0, 3, 6', 'image 2')
        >>> _which(range(0, 60, 6))
        'images 0, 6, …, 54'
    """
    if len(indices) == 1:
        return f"image {indices[0]}"
    if indices[-1] - indices[0] == len(indices) - 1:
        return f"images {indices[0]} to {indices[-1]}"
    shown = [*indices[:2], "…", indices[-1]] if len(indices) > 4 else indices
    return f"images {', '.join(map(str, shown))}"


def _labels_of(batch: Batch, found: Evaluated) -> dict[str, Tensor]:
    """The label of each image; what it shows, and all probabilities, if it may show several classes."""
    if batch.labels is None:
        return {"labels": torch.full((len(batch),), -1)}
    if batch.labels.dim() == 1:
        return {"labels": batch.labels.cpu()}
    if batch.labels.shape[1] == 1:
        return {"labels": batch.labels.squeeze(1).long().cpu()}
    shown = (batch.labels == 1).cpu()
    return {"labels": torch.full((len(batch),), -1), "shown": shown, "probabilities": found.probabilities.cpu()}


def _keep(part: dict[str, Any], path: Path, settings: str | None) -> None:
    """Write a part with a checksum, since torch does not notice a flipped bit in a tensor."""
    content = part if settings is None else {**part, SETTINGS_OF_PART: settings}
    with whole_file(path) as unfinished:
        torch.save({**content, CHECKSUM: checksum_of(content)}, unfinished)


def _kept(path: Path, indices: Sequence[int], content: str, settings: str | None) -> dict[str, Any] | None:
    """What a file holds of these images; `None` if there is none, it is damaged, or the images are others now."""
    if not path.is_file():
        return None
    try:
        part = torch.load(path, weights_only=True)
        if not is_intact(part):
            reason = "its checksum is not that of its content"
        # An earlier version did not say which evaluation a part is of.
        elif (
            part["indices"] == list(indices) and "small_maps" in part and part.get(SETTINGS_OF_PART) in (None, settings)
        ):
            if part.get(_CONTENT, content) == content:  # an earlier version did not say it
                return part  # type: ignore[no-any-return]
            changed = f"{_which(indices)}, or their labels or annotation, are others than before"
            warnings.warn(f"{changed}, and are evaluated again", CamtrainWarning, stacklevel=6)
            return None
        else:
            reason = "it holds something else"
    except Exception as error:  # torch raises almost anything for a file that is not one of its own
        reason = "it is empty" if path.stat().st_size == 0 else str(error).partition("\n")[0]
    message = f"{said_aside(DamagedFileError(path, reason))}, and its images are evaluated again"
    warnings.warn(message, CamtrainWarning, stacklevel=6)
    return None


def network_hash(network: nn.Module) -> str:
    """A name for a network: a hash of its layers as they are printed, and of all its parameters and buffers.

    Example:
        >>> network_hash(nn.Linear(2, 2)) == network_hash(nn.Linear(2, 2))
        False
        >>> network_hash(nn.ReLU()) == network_hash(nn.Softplus())
        False
    """
    # A layer may print an object, and with it an address that differs in each process.
    digest = hashlib.sha256(re.sub(r"0x[0-9a-fA-F]+", "", repr(network)).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(tensor_bytes(value))
    return digest.hexdigest()[:16]
