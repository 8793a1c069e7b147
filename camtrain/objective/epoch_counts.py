"""Whether the regularizers of a training act: how many images they count, and how many of their maps are flat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.distributed
from torch import Tensor

from camtrain.objective.step import TermStep
from camtrain.objective.term_record import in_several_processes
from camtrain.regularizers import Regularizer

_MANY_FLAT = 0.05


@dataclass
class _Counts:
    """Numbers of images of one term; on the device of the training, so that counting does not wait for it."""

    images: int = 0
    counted: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    flat: Tensor | None = None


class EpochCounts:
    """Counts, over the steps of an epoch, the images on which each regularizer acts."""

    def __init__(self) -> None:
        self._terms: dict[str, _Counts] = {}

    def add(self, terms: Mapping[str, TermStep], num_images: int) -> None:
        """Add a training step.

        Args:
            terms: The terms of the step.
            num_images: The size of its batch.
        """
        for name, term in terms.items():
            counts = self._terms.setdefault(name, _Counts())
            counts.images += num_images
            # As integers: in a training with half precision, a sum of floats would stop growing soon.
            counts.counted = counts.counted.to(term.counted.device) + term.counted.long()
            if term.flat is not None:
                counts.flat = term.flat if counts.flat is None else counts.flat + term.flat

    def gather(self, names: Iterable[str], device: torch.device) -> None:
        """Add what other processes have counted; all of them have to call it.

        A process without an annotated image in an epoch has counted none, and must not be the only one that takes no
        part in what the others log.

        Args:
            names: The names of all terms, in the same order in all processes.
            device: Where the processes exchange their counts.
        """
        if not in_several_processes():
            return
        ordered = list(names)
        counts = torch.zeros(len(ordered), 4, dtype=torch.int64, device=device)
        for row, name in zip(counts, ordered, strict=True):
            if (mine := self._terms.get(name)) is not None:
                flat = 0 if mine.flat is None else int(mine.flat)
                row.copy_(torch.tensor([mine.images, int(mine.counted), flat, int(mine.flat is not None)]))
        torch.distributed.all_reduce(counts)
        for name, (images, counted, flat, has_maps) in zip(ordered, counts.cpu(), strict=True):
            if images:
                self._terms[name] = _Counts(int(images), counted, flat if has_maps else None)

    @property
    def flat_maps(self) -> dict[str, float]:
        """The fraction of flat maps among the images that count, for each term of maps that has counted any."""
        return {
            name: float(counts.flat) / float(counts.counted)
            for name, counts in self._terms.items()
            if counts.flat is not None and counts.counted > 0
        }

    def warnings(self, regularizers: Mapping[str, Regularizer]) -> dict[tuple[str, str], str]:
        """What a user should know of an epoch, by term and kind: that a term did not act, or that maps are flat.

        Args:
            regularizers: The regularizers, by the names of their terms.
        """
        found = {}
        for name, counts in self._terms.items():
            if not counts.counted > 0:
                found[name, "idle"] = f"{name} did not act: {_why_idle(regularizers[name], counts.images)}"
        for name, share in self.flat_maps.items():
            if share > _MANY_FLAT:
                found[name, "flat"] = (
                    f"{name}: {100 * share:.0f} % of the maps have no positive value, so that it cannot tell where the "
                    "network looks. Lower λ, or choose another `target_layer`: at some, such as the last norm of a "
                    "vision transformer, a map is zero by construction"
                )
        return found

    def clear(self) -> None:
        """Begin a new epoch."""
        self._terms.clear()


def _why_idle(regularizer: Regularizer, num_images: int) -> str:
    looks_at = regularizer.looks_at
    if looks_at is None:
        return f"it has a penalty for none of {num_images} images"
    kind = {"any": "boxes or a mask", "boxes": "boxes", "masks": "a mask"}[looks_at]
    return f"none of {num_images} images has {kind}; look at the annotation that the data module reads"
