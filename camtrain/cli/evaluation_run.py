"""An evaluation that is kept on disk batch by batch, so that it goes on where it was stopped."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.batch import Batch
from camtrain.cli.evaluation_data import EvaluationImages
from camtrain.cli.say import say
from camtrain.evaluation import Evaluated, Evaluator, Rows

_THUMBNAIL = 64  # pixels of the shorter side of the maps that are kept for the panels


@dataclass
class EvaluatedImages:
    """What was found out about all images.

    Attributes:
        indices: of the images in their data set.
        labels: (N,); -1 where they are unknown.
        predictions: (N,).
        class_idx: (N,) the explained classes.
        scores: (N,) their probabilities.
        rows: of every method and metric, (N, S).
        thumbnails: (N, h, w) uint8 small maps by method; of a method without a map for some images, zeros.
        passes: images run through the network, by what for.
        reasons: why a method made no map, by its name.
        annotated: (N,) bool, which images have what maps are compared with, by "boxes" and "masks".
    """

    indices: list[int]
    labels: Tensor
    predictions: Tensor
    class_idx: Tensor
    scores: Tensor
    rows: Rows
    thumbnails: dict[str, Tensor]
    passes: dict[str, int]
    reasons: dict[str, str]
    annotated: dict[str, Tensor] = field(default_factory=dict)


class EvaluationRun:
    """Evaluates images batch by batch and keeps each batch in a file, so that no batch is evaluated twice.

    Args:
        folder: of the files, which are all of this evaluation.
        evaluator: of the network.
        images: in a fixed order.
        thumbnails: whether small maps are kept.
    """

    def __init__(
        self, folder: Path, evaluator: Evaluator, images: EvaluationImages, *, thumbnails: bool = True
    ) -> None:
        self.folder = folder
        self.evaluator = evaluator
        self.images = images
        self.thumbnails = thumbnails

    def evaluated(self, device: torch.device, title: str = "evaluate") -> EvaluatedImages:
        """Evaluate what is not yet on disk, and put all of it together.

        Args:
            device: of the network.
            title: of the progress bar.

        Raises:
            ValueError: if labels or annotation of some images can not be used.
        """
        parts = []
        with tqdm(total=len(self.images), desc=title, unit="image") as bar:
            for number, indices in enumerate(self.images.batches):
                path = self.folder / f"batch_{number:05d}.pt"
                part = _kept(path, indices)
                if part is None:
                    part = self._evaluated(indices, device)
                    self._write(part, path)
                parts.append(part)
                bar.update(len(indices))
        return _together(parts)

    def _evaluated(self, indices: Sequence[int], device: torch.device) -> dict[str, Any]:
        passes, reasons = self.evaluator.passes.copy(), self.evaluator.reasons.copy()
        batch = self.images.batch(indices)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = self.evaluator(_on(batch, device))
            except ValueError as error:
                raise ValueError(f"images {indices[0]} to {indices[-1]}: {error}") from error
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            say("evaluate", f"warning: images {indices[0]} to {indices[-1]}: {message}")
        return {
            "indices": list(indices),
            "labels": torch.full((len(batch),), -1) if batch.labels is None else batch.labels.cpu(),
            "predictions": found.predictions.cpu(),
            "class_idx": found.class_idx.cpu(),
            "scores": found.scores.cpu(),
            "rows": found.rows,
            "annotated": {kind: known.cpu() for kind, known in found.annotated.items()},
            "thumbnails": _thumbnails(found) if self.thumbnails else {},
            "passes": dict(self.evaluator.passes - passes),
            "reasons": {name: why for name, why in self.evaluator.reasons.items() if name not in reasons},
        }

    def _write(self, part: dict[str, Any], path: Path) -> None:
        # A file is there as a whole or not at all, whenever the process is stopped.
        unfinished = path.with_suffix(".unfinished")
        torch.save(part, unfinished)
        os.replace(unfinished, path)


def weights_hash(network: nn.Module) -> str:
    """A name for what a network has learned: a hash of all its parameters and buffers.

    Example:
        >>> weights_hash(nn.Linear(2, 2)) == weights_hash(nn.Linear(2, 2))
        False
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _kept(path: Path, indices: Sequence[int]) -> dict[str, Any] | None:
    """What a file holds of these images; `None` if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        part = torch.load(path, weights_only=True)
        if part["indices"] == list(indices) and "annotated" in part:
            return part  # type: ignore[no-any-return]
        reason = "it holds something else"
    except Exception as error:  # what is no such file makes torch raise almost anything
        reason = str(error).partition("\n")[0]
    say("evaluate", f"warning: {path} is damaged, and its images are evaluated again: {reason}")
    return None


def _on(batch: Batch, device: torch.device) -> Batch:
    return Batch(
        batch.images.to(device),
        None if batch.labels is None else batch.labels.to(device),
        None if batch.boxes is None else [boxes.as_subclass(Tensor).to(device) for boxes in batch.boxes],
        None if batch.masks is None else batch.masks.as_subclass(Tensor).to(device),
    )


def _thumbnails(found: Evaluated) -> dict[str, Tensor]:
    """Small maps of one byte a pixel."""
    small = {}
    for method, cams in found.cams.items():
        factor = min(1.0, _THUMBNAIL / min(cams.shape[-2:]))
        size = [max(1, round(factor * length)) for length in cams.shape[-2:]]
        shown = interpolate(cams.unsqueeze(1).float(), size=size, mode="area").squeeze(1)
        small[method] = (255 * shown.clamp(0, 1)).round().to(torch.uint8).cpu()
    return small


def _together(parts: Sequence[dict[str, Any]]) -> EvaluatedImages:
    passes: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for part in parts:
        passes |= {need: passes.get(need, 0) + count for need, count in part["passes"].items()}
        reasons = part["reasons"] | reasons
    methods = {method for part in parts for method in part["thumbnails"]}
    return EvaluatedImages(
        [index for part in parts for index in part["indices"]],
        torch.cat([part["labels"] for part in parts]),
        torch.cat([part["predictions"] for part in parts]),
        torch.cat([part["class_idx"] for part in parts]),
        torch.cat([part["scores"] for part in parts]),
        rows={cell: torch.cat([part["rows"][cell] for part in parts]) for cell in parts[0]["rows"]},
        thumbnails={method: _thumbnails_of(parts, method) for method in sorted(methods)},
        passes=passes,
        reasons=reasons,
        annotated={kind: torch.cat([part["annotated"][kind] for part in parts]) for kind in parts[0]["annotated"]},
    )


def _thumbnails_of(parts: Sequence[dict[str, Any]], method: str) -> Tensor:
    """The small maps of a method; zeros where it made none, which are not shown."""
    size = next(part["thumbnails"][method].shape[1:] for part in parts if method in part["thumbnails"])
    none = (torch.zeros(len(part["indices"]), *size, dtype=torch.uint8) for part in parts)
    return torch.cat([part["thumbnails"].get(method, zeros) for part, zeros in zip(parts, none, strict=True)])
