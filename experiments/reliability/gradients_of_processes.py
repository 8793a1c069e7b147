"""Compares the gradient of 2 and 4 gloo processes with that of one process, for every regularizer; see README.md.

    python -m experiments.reliability.gradients_of_processes [--small] [--only MapL1]

In float64. Every process has its share of the same images, and DistributedDataParallel takes the mean of the gradients.
What a regularizer draws at random for an image must not depend on which process has it: `torch.rand` and its relatives
are replaced by functions of the image's place in the whole batch. Regularizers that pair images of a batch (`IN_TURN`)
pair others in a share of it; one process then takes the shares in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import AttentionBranch
from camtrain.regularizers import (
    AttentionBranchLoss,
    AttentionMining,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    GradientSmoothness,
    InterpretableGradient,
    MapBCE,
    MapConsistency,
    MapDistillation,
    MapFaithfulness,
    MapL1,
    MapOutside,
    MapRanking,
    MapSmoothness,
    MapSparsity,
    Regularizer,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    SoftInsertionDeletion,
    Sum,
    Term,
)
from experiments.reliability.parts import Part, Row, kept, part_settings, run_part

PART = Part(
    "gradients_of_processes",
    "2 and 4 gloo processes, every kind of regularizer",
    "gradient of one process to 1e-6",
    ("equal",),
    None,
    4,
)
TOLERANCE = 1e-6
_IMAGES, _SIZE, _CLASSES = 12, 14, 3
_LAYER = "3"
PROCESSES = (2, 4)


def teacher() -> nn.Module:
    """A network whose maps another one is to have."""
    torch.manual_seed(9)
    return network()


REGULARIZERS: dict[str, Callable[[], Regularizer]] = {
    "AttentionMining": lambda: AttentionMining(target_layer=_LAYER, threshold=0.9, mask_weight=1.0),
    "EnergyInside": lambda: EnergyInside(target_layer=_LAYER),
    "ExpectedGradientsPrior": lambda: ExpectedGradientsPrior(),
    "GradientNorm": lambda: GradientNorm(),
    "GradientSmoothness": lambda: GradientSmoothness(),
    "InterpretableGradient": lambda: InterpretableGradient("mse"),
    "MapBCE": lambda: MapBCE(target_layer=_LAYER),
    "MapConsistency": lambda: MapConsistency(target_layer=_LAYER, transform="flip"),
    "MapDistillation": lambda: MapDistillation(teacher(), None, "layer_cam", target_layer=_LAYER, teacher_layer=_LAYER),
    "MapFaithfulness": lambda: MapFaithfulness(
        target_layer=_LAYER, necessity_weight=0.0, swapped=0.0, soft_masks=1.0, blurred_backgrounds=0.0
    ),
    "MapFaithfulness, swapped maps": lambda: MapFaithfulness(target_layer=_LAYER),
    "MapL1": lambda: MapL1(target_layer=_LAYER),
    "MapOutside": lambda: MapOutside("hi_res_cam", _LAYER),
    "MapRanking": lambda: MapRanking(target_layer=_LAYER, grid=3),
    "MapSmoothness": lambda: MapSmoothness(target_layer=_LAYER),
    "MapSparsity": lambda: MapSparsity(target_layer=_LAYER),
    "RightForBetterReasons": lambda: RightForBetterReasons(),
    "RightForRightReasons": lambda: RightForRightReasons(),
    "SaliencyGuided": lambda: SaliencyGuided(),
    "SoftInsertionDeletion": lambda: SoftInsertionDeletion(target_layer=_LAYER),
    "AttentionBranchLoss": lambda: AttentionBranchLoss(),
    "Sum": lambda: Sum([Term(GradientNorm(), 0.3), Term(EnergyInside(target_layer=_LAYER), 0.5)]),
    "EnergyInside, 5 of 12 images without an object": lambda: EnergyInside(target_layer=_LAYER),
}
IN_TURN = ("ExpectedGradientsPrior", "MapFaithfulness, swapped maps")


def main(words: Sequence[str] | None = None) -> None:
    """Compare what has no row yet."""
    if words is None and _is_one_process():
        return
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    names = list(REGULARIZERS)[: settings.size]
    cases = kept(PART, settings, [(name, count) for name in names for count in PROCESSES], case_name)
    run_part(PART, settings, rows(cases), len(cases))


def case_name(case: tuple[str, int]) -> str:
    """The name of a case."""
    return f"{case[0]}, {case[1]} processes"


def rows(cases: Sequence[tuple[str, int]]) -> Iterator[Row]:
    """Compare several processes with one, for all regularizers of a number of processes at once."""
    for count in dict.fromkeys(count for _, count in cases):
        names = [name for name, other in cases if other == count]
        started = time.monotonic()
        one, several = gradients_of(names, 1, count), gradients_of(names, count, count)
        seconds = f"{(time.monotonic() - started) / len(names):.1f}"
        for name in names:
            yield compared(case_name((name, count)), name, count, one.get(name), several.get(name), seconds)


def compared(case: str, name: str, count: int, one: Any, several: Any, seconds: str) -> Row:
    """The row of a case: the largest difference of a gradient, relative to the largest gradient."""
    what = f"gradient of {count} processes"
    if not isinstance(one, Tensor) or not isinstance(several, Tensor):
        return Row(case, name, what, "traceback", f"one: {_shown(one)}; {count}: {_shown(several)}", "", seconds)
    difference = float((one - several).abs().max() / one.abs().max())
    outcome = "equal" if difference <= TOLERANCE else "different"
    return Row(case, name, what, outcome, "", f"{difference:.1e}", seconds)


def _shown(found: Any) -> str:
    return "a gradient" if isinstance(found, Tensor) else str(found)[:150]


def gradients_of(names: Sequence[str], count: int, shares: int) -> dict[str, Any]:
    """The gradients of all parameters for each regularizer, as one vector; an error is the text of it.

    Args:
        names: The regularizers.
        count: The number of processes.
        shares: The number of parts of the batch, where a process takes them in turn.
    """
    with TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "experiments.reliability.gradients_of_processes", "--measure", *names]
        processes = [
            subprocess.Popen(
                [*words, "--count", str(count), "--folder", folder, "--rank", str(rank), "--shares", str(shares)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        errors = [process.communicate(timeout=600)[1] for process in processes]
        path = Path(folder, "gradients.pt")
        if not path.is_file():
            return dict.fromkeys(names, json.dumps(errors[0][-300:]))
        found: dict[str, Any] = torch.load(path, weights_only=True)
        return found


def _is_one_process() -> bool:
    """Whether this is one of the processes that are compared; if so, it has done its work."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--measure", nargs="+")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--shares", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path())
    settings, _ = parser.parse_known_args()
    if settings.measure is None:
        return False
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    if settings.count > 1:
        place = f"file://{settings.folder.absolute()}/meeting"
        dist.init_process_group("gloo", init_method=place, rank=settings.rank, world_size=settings.count)
    found: dict[str, Any] = {}
    for name in settings.measure:
        try:
            found[name] = gradient(name, settings.rank, settings.count, settings.shares)
        except Exception as error:  # it is a result
            found[name] = f"{type(error).__name__}: {error}"
    if settings.rank == 0:
        torch.save(found, settings.folder / "gradients.pt")
    if settings.count > 1:
        dist.barrier()
        dist.destroy_process_group()
    return True


def network() -> nn.Sequential:
    """A network without BatchNorm, whose statistics are those of each process."""
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Softplus(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, _CLASSES),
    )
    return made.double()


def gradient(name: str, rank: int, count: int, shares: int) -> Tensor:
    """The mean gradient over all processes, as one vector.

    Args:
        name: The regularizer.
        rank: The number of this process.
        count: The number of all.
        shares: The number of parts of the batch, where one process takes them in turn.
    """
    torch.manual_seed(0)
    trained: nn.Module = network()
    if name == "AttentionBranchLoss":
        # Its BatchNorm takes the statistics of a process's images.
        trained = AttentionBranch(trained, _CLASSES, _LAYER).double().eval()
    images, labels = torch.rand(_IMAGES, 3, _SIZE, _SIZE), torch.arange(_IMAGES) % _CLASSES
    masks = torch.zeros(_IMAGES, _SIZE, _SIZE, dtype=torch.bool)
    masks[5 if "without an object" in name else 0 :, 3:8, 2:9] = True
    turns = shares if count == 1 and name in IN_TURN else 1
    for turn in range(turns):
        part, parts = (turn, turns) if turns > 1 else (rank, count)
        share = slice(part * _IMAGES // parts, (part + 1) * _IMAGES // parts)
        step: nn.Module = _Step(_objective(name), trained)
        if count > 1:
            step = DistributedDataParallel(step, find_unused_parameters=True)
        with drawn_for_each_image(share.start, share.stop - share.start):
            (step(images[share], labels[share], masks[share]) / turns).backward()
    found = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in trained.parameters()]
    return torch.cat(found)


def _objective(name: str) -> Objective:
    regularizer = REGULARIZERS[name]()
    # The exact reference where gradients of the input are penalized: `FrozenGates` divides by a small step.
    engine = DoubleBackprop() if isinstance(regularizer, (GradientNorm, InterpretableGradient)) else FrozenGates()
    return Objective(regularizer, 0.7, engine).double()


class _Step(nn.Module):
    """A training step as a module, as DistributedDataParallel takes it."""

    def __init__(self, objective: Objective, trained: nn.Module) -> None:
        super().__init__()
        self.objective, self.trained = objective, trained

    def forward(self, images: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.objective(self.trained, images, labels, masks=masks).loss
        return loss


@contextlib.contextmanager
def drawn_for_each_image(first: int, count: int) -> Iterator[None]:
    """Let random tensors depend on the places of images in the whole batch, and not on how many a process has.

    Args:
        first: The place of the first image of this process.
        count: The number of its images. A dimension of that size is taken for that of the images.
    """

    def drawn(scale: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        def made(*size: Any, **options: Any) -> Tensor:
            shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
            places = torch.zeros(shape)
            for dimension, size in enumerate(shape):
                along = torch.arange(size)
                if size == count and count not in shape[:dimension]:
                    along = along + first
                places = places + along.reshape(-1, *[1] * (len(shape) - dimension - 1)) * 37.0 ** (dimension + 1)
            options.pop("generator", None)
            options.pop("out", None)
            kept = {key: value for key, value in options.items() if key in ("dtype", "device")}
            return scale((places * 0.6180339887498949) % 1).to(**kept)

        return made

    def like(scale: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda other, **options: drawn(scale)(other.shape, dtype=options.get("dtype", other.dtype))

    def normal(uniform: Tensor) -> Tensor:
        return torch.special.ndtri(uniform.clamp(1e-3, 1 - 1e-3))

    def same(uniform: Tensor) -> Tensor:
        return uniform

    with (
        patch("torch.rand", drawn(same)),
        patch("torch.randn", drawn(normal)),
        patch("torch.rand_like", like(same)),
        patch("torch.randn_like", like(normal)),
    ):
        yield


if __name__ == "__main__":
    main()
