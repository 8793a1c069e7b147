"""Measure what the metrics of localization cost, beside wsolevaluation's loop; see README.md.

    python -m experiments.metric_cost.localization [--noise] [--maps 10000] [--peer-maps 200] [--results FILE]

Both take turns in one process, round by round, each with its part of the maps. The other code takes much longer, so it
gets fewer maps, the first ones of each round, and the times for one map are compared. Making the maps is not timed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from camtrain.cams import normalize, resize
from camtrain.metrics import (
    AdditiveScore,
    EnergyPointingGame,
    LocalizationIoU,
    MaxBoxAccuracy,
    PixelAveragePrecision,
    PointingGame,
)
from experiments.measuring import quartiles, ratios, seconds_of
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "localization.csv"
OURS, PEER = "camtrain", "wsolevaluation's loop"
NUM_CLASSES = 10
CHUNK = 50  # maps in memory, and in one update
THRESHOLDS = list(np.arange(0, 1, 0.001))  # wsolevaluation's


class Chunk(NamedTuple):
    """Maps, with the boxes, masks and labels that they are compared with."""

    cams: Tensor
    boxes: list[Tensor]
    masks: Tensor
    labels: Tensor


Arguments = Callable[[Chunk], tuple[Any, ...]]
Key = tuple[str, str]  # contender and score


def main() -> None:
    """Measure, and append to the results."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    known = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    # The rows of a run are added together: if the first is there, all of them are.
    if first_case(settings) in known:
        print(f"{settings.results} has these rows already; --fresh forgets them")
        return
    scores, peers = our_scores(), peer_evaluators()
    on_peer_maps = {name: our_scores()[name] for name in peers}
    maps, peer_maps = settings.maps // settings.rounds, settings.peer_maps // settings.rounds
    update(our_scores(), next(chunks(maps, -1, settings)))  # so that the first call is not timed
    rounds = []
    for number in tqdm(range(settings.rounds), unit="round"):
        seconds: Counter[Key] = Counter()
        left = peer_maps
        for chunk in chunks(maps, number, settings):
            seconds.update({(OURS, name): took for name, took in update(scores, chunk).items()})
            if left:
                part = Chunk(*(each[:left] for each in chunk))
                left -= len(part.cams)
                seconds.update({(PEER, name): took for name, took in peer_update(peers, part).items()})
                update(on_peer_maps, part)
        rounds.append(seconds)
    values = {name: (float(on_peer_maps[name][0].compute()), peer.value()) for name, peer in peers.items()}
    rows = table(rounds, (maps, peer_maps), values, settings)
    known.add(*rows)
    print(*(field.name for field in fields(Row)), sep="  ")
    for row in rows:
        print(*astuple(row), sep="  ")


def update(scores: dict[str, tuple[AdditiveScore, Arguments]], chunk: Chunk) -> dict[str, float]:
    """Count maps, and return the seconds that each score took."""
    return {name: seconds_of(partial(score.update, *arguments(chunk))) for name, (score, arguments) in scores.items()}


def peer_update(peers: dict[str, BoxEvaluator | MaskEvaluator], chunk: Chunk) -> dict[str, float]:
    """Count maps, and return the seconds that each evaluator took."""
    return {name: seconds_of(partial(peer.update, chunk)) for name, peer in peers.items()}


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=10_000)
    parser.add_argument("--peer-maps", type=int, default=200, help="number of maps that the other code gets")
    parser.add_argument("--size", type=int, default=224, help="size of the maps in pixels")
    parser.add_argument("--noise", action="store_true", help="random pixels instead of smooth maps")
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds, which divide the maps among them")
    parser.add_argument("--threads", type=int, default=1, help="number of threads on the CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of maps, boxes and masks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to append to")
    parser.add_argument("--fresh", action="store_true", help="delete that file first")
    settings = parser.parse_args()
    if not 0 < settings.rounds <= min(settings.maps, settings.peer_maps) or settings.peer_maps > settings.maps:
        parser.error("--rounds, --peer-maps: every round needs maps for both, and the other code gets no other maps")
    return settings


# Maps


def chunks(count: int, round_: int, settings: argparse.Namespace) -> Iterator[Chunk]:
    """Make the maps of one round, in parts."""
    generator = torch.Generator().manual_seed(1000 * settings.seed + round_)
    for start in range(0, count, CHUNK):
        yield random_chunk(min(CHUNK, count - start), generator, settings)


def random_chunk(count: int, generator: torch.Generator, settings: argparse.Namespace) -> Chunk:
    """Make maps like Grad-CAM's, of 7 × 7 cells that are not negative, and a box with its ellipse for each."""
    size = settings.size
    if settings.noise:
        cams = normalize(torch.rand(count, size, size, generator=generator))
    else:
        cams = normalize(resize(torch.randn(count, 7, 7, generator=generator).relu(), (size, size)))
    shape = (size * (0.3 + 0.6 * torch.rand(count, 2, generator=generator))).round()
    corner = (torch.rand(count, 2, generator=generator) * (size - shape)).round()
    boxes = torch.cat([corner, corner + shape], dim=1)
    center, radius = corner + shape / 2, shape / 2
    place = torch.arange(size) + 0.5
    x, y = ((place - center[:, axis, None]).div(radius[:, axis, None]).square() for axis in (0, 1))
    masks = y.unsqueeze(2) + x.unsqueeze(1) <= 1
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    return Chunk(cams, list(boxes.unsqueeze(1)), masks, labels)


# Contenders


def our_scores() -> dict[str, tuple[AdditiveScore, Arguments]]:
    """Make every metric of localization, with a function from a chunk to its arguments."""

    def boxes(chunk: Chunk) -> tuple[Any, ...]:
        return chunk.cams, chunk.boxes

    return {
        **{f"localization_iou_{100 * delta:.0f}": (LocalizationIoU(delta), boxes) for delta in (0.0, 0.25, 0.5)},
        "energy_pointing_game": (EnergyPointingGame(), boxes),
        "pointing_game": (PointingGame(NUM_CLASSES), lambda chunk: (chunk.cams, chunk.boxes, chunk.labels)),
        "max_box_accuracy_v1": (MaxBoxAccuracy("v1"), boxes),
        "max_box_accuracy_v2": (MaxBoxAccuracy("v2"), boxes),
        "pixel_average_precision": (PixelAveragePrecision(), lambda chunk: (chunk.cams, chunk.masks)),
    }


def peer_evaluators() -> dict[str, BoxEvaluator | MaskEvaluator]:
    """Make wsolevaluation's evaluators, by the names of our metrics."""
    return {
        "max_box_accuracy_v1": BoxEvaluator(several=False),
        "max_box_accuracy_v2": BoxEvaluator(several=True),
        "pixel_average_precision": MaskEvaluator(),
    }


class BoxEvaluator:
    """The steps of wsolevaluation's `evaluation.py`: each threshold cuts the map anew, OpenCV finds contours.

    Boxes include their last pixel. Unlike there, maps are not read from files, and the maximum over the boxes of the
    object is not taken anew for each threshold.
    """

    def __init__(self, *, several: bool) -> None:
        self.several = several
        self.iou_levels = (30, 50, 70)
        self.correct = {level: np.zeros(len(THRESHOLDS)) for level in self.iou_levels}
        self.count = 0

    def update(self, chunk: Chunk) -> None:
        """Count maps, one by one."""
        for cam, boxes in zip(chunk.cams, chunk.boxes, strict=True):
            truth = boxes.numpy().astype(int) - np.array([0, 0, 1, 1])
            self.accumulate(cam.numpy().astype(float), truth)

    def accumulate(self, scoremap: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> None:
        """Count a map."""
        found = contour_boxes(scoremap, several=self.several)
        ious = inclusive_ious(np.concatenate(found, axis=0), truth)
        of_box, place, best = ious.max(1), 0, []
        for boxes in found:
            best.append(max(of_box[place : place + len(boxes)]))
            place += len(boxes)
        for level in self.iou_levels:
            self.correct[level][np.asarray(best) >= level / 100] += 1
        self.count += 1

    def value(self) -> float:
        """Return MaxBoxAcc, or MaxBoxAccV2 if several boxes count."""
        best = [self.correct[level].max() / self.count for level in self.iou_levels]
        return float(np.average(best)) if self.several else float(best[1])


def contour_boxes(scoremap: npt.NDArray[np.float64], *, several: bool) -> list[npt.NDArray[np.int64]]:
    """Find, for each threshold, the boxes around all contours, or around the largest one."""
    check_scoremap(scoremap)
    height, width = scoremap.shape
    image = np.expand_dims((scoremap * 255).astype(np.uint8), 2)
    found = []
    for threshold in THRESHOLDS:
        limit = int(threshold * np.max(image))
        _, above = cv2.threshold(src=image, thresh=limit, maxval=255, type=cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(image=above, mode=cv2.RETR_TREE, method=cv2.CHAIN_APPROX_SIMPLE)
        if len(contours) == 0:
            found.append(np.asarray([[0, 0, 0, 0]]))
            continue
        if not several:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
        found.append(np.asarray(boxes))
    return found


def inclusive_ious(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the IoU of each pair of boxes, which include their last pixels."""
    x0, y0 = (np.maximum(first[:, None, axis], second[None, :, axis]) for axis in (0, 1))
    x1, y1 = (np.minimum(first[:, None, axis], second[None, :, axis]) for axis in (2, 3))
    shared = np.maximum(0, x1 - x0 + 1) * np.maximum(0, y1 - y0 + 1)
    areas = [(boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1) for boxes in (first, second)]
    ious: npt.NDArray[np.float64] = shared / (areas[0][:, None] + areas[1][None, :] - shared)
    return ious


class MaskEvaluator:
    """The steps of wsolevaluation's `evaluation.py`: histograms of the values on and off the object, over all images.

    Unlike there, maps and masks are not read from files.
    """

    def __init__(self) -> None:
        self.edges = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
        self.on, self.beside = np.zeros(len(THRESHOLDS) + 2), np.zeros(len(THRESHOLDS) + 2)

    def update(self, chunk: Chunk) -> None:
        """Count maps, one by one."""
        for cam, mask in zip(chunk.cams, chunk.masks, strict=True):
            scoremap, truth = cam.numpy().astype(float), mask.numpy().astype(np.uint8)
            check_scoremap(scoremap)
            self.on += np.histogram(scoremap[truth == 1], bins=self.edges)[0].astype(float)
            self.beside += np.histogram(scoremap[truth == 0], bins=self.edges)[0].astype(float)

    def value(self) -> float:
        """Return PxAP."""
        tp, fp = self.on[::-1].cumsum(), self.beside[::-1].cumsum()
        with np.errstate(invalid="ignore"):
            precision = tp / (tp + fp)
        recall = tp / self.on.sum()
        return float((precision[1:] * np.diff(recall))[(tp + fp)[1:] != 0].sum())


def check_scoremap(scoremap: npt.NDArray[np.float64]) -> None:
    """Check a map as wsolevaluation does."""
    if np.isnan(scoremap).any() or (scoremap > 1).any() or (scoremap < 0).any():
        raise ValueError("`scoremap`: expected values in [0, 1]")


# Results


@dataclass(frozen=True)
class Case:
    """What was measured; `maps` is the number of maps in a round."""

    figure: str
    contender: str
    maps: str
    size: str
    threads: str
    seed: str
    rounds: str


@dataclass(frozen=True)
class Row(Case):
    """The result: the seconds of a round, and `ratio_to_ours`, the median ratio of the times for one map."""

    seconds_median: str
    seconds_low: str
    seconds_high: str
    ratio_to_ours: str
    remark: str
    versions: str


def first_case(settings: argparse.Namespace) -> Case:
    """Return the case of the first row that the command adds."""
    return case("localization", OURS, settings.maps // settings.rounds, settings)


def case(figure: str, contender: str, maps: int, settings: argparse.Namespace) -> Case:
    """Make the case of a contender, with the number of its maps in a round."""
    kind = "noise" if settings.noise else "smooth maps"
    numbers = (maps, settings.size, settings.threads, settings.seed, settings.rounds)
    return Case(f"{figure}, {kind}", contender, *map(str, numbers))


def table(
    rounds: list[Counter[Key]],
    maps: tuple[int, int],
    values: dict[str, tuple[float, float]],
    settings: argparse.Namespace,
) -> list[Row]:
    """Make a row for all metrics together and one for each metric, for both contenders.

    Args:
        rounds: The seconds of each round.
        maps: The numbers of maps in a round, ours and the other code's.
        values: The values of both on the same maps, ours first.
        settings: The settings of the command line.
    """
    every, shared = list(our_scores()), list(values)
    versions = f"torch {torch.__version__}, numpy {np.__version__}, opencv {cv2.__version__}, {platform.machine()}"

    def rows(figure: str, ours: list[str], peers: list[str], remark: str, peer_remark: str) -> list[Row]:
        found = []
        base = [sum(each[OURS, name] for name in ours) / maps[0] for each in rounds]
        for contender, names, count, said in ((OURS, ours, maps[0], remark), (PEER, peers, maps[1], peer_remark)):
            seconds = [sum(each[contender, name] for name in names) for each in rounds]
            ratio = statistics.median(ratios([one / count for one in seconds], base))
            times = (f"{each:.4f}" for each in quartiles(seconds))
            fixed = astuple(case(figure, contender, count, settings))
            found.append(Row(*fixed, *times, f"{ratio:.4g}", said, versions))
        return found[: 1 + bool(peers)]

    both = f"{len(shared)} scores"
    result = rows("localization", every, shared, f"{len(every)} scores", f"{both}: those that it has")
    result += rows("localization, what both have", shared, shared, both, both)
    for name in every:
        ours, peers = values.get(name, (0.0, 0.0))
        remark = f"scores {peers:.4f}; camtrain, on the same maps, {ours:.4f}"
        result += rows(name, [name], [name] * (name in values), "", remark)
    return result


if __name__ == "__main__":
    main()
