"""The best and the worst maps of each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.evaluator import Evaluator
from camtrain.evaluation.image_source import ImageSource
from camtrain.evaluation.metric_specs import METRICS
from camtrain.evaluation.shown_image import ShownImage
from camtrain.messages import percent, printable
from camtrain.methods import method_title
from camtrain.pictures import MAP_COLORS, OUTLINES, Panel, Tile, map_tile, note_tile

PANEL_TILE = 192
"""The length in pixels of the shorter side of a picture in a panel."""


def best_and_worst_panels(
    evaluator: Evaluator, found: EvaluatedImages, images: ImageSource, metric: str, count: int
) -> list[Panel]:
    """A row for each method: its best maps and then its worst ones.

    Args:
        evaluator: The evaluator, which knows the metrics.
        found: The evaluated images, with small maps.
        images: The same images.
        metric: The name of a metric of maps.
        count: The largest number of best, and of worst, maps.

    Returns:
        Panels with the same number of tiles; none where no method ranks two images.
    """
    scored = evaluator.metric(metric)
    chosen: dict[str, list[tuple[int, str]]] = {}
    scores: dict[str, Tensor] = {}
    for method in evaluator.methods:
        if method in found.small_maps:
            scores[method] = scored.image_scores(found.rows[method, metric])
            chosen[method] = _best_and_worst(scores[method], count, higher=bool(scored.higher_is_better))
    # Methods may have been able to rank different numbers of images.
    longest = max(map(len, chosen.values()), default=0)
    chosen = {method: places for method, places in chosen.items() if len(places) == longest > 0}
    wanted = sorted({found.indices[place] for places in chosen.values() for place, _ in places})
    shown = {index: image.reduced(PANEL_TILE) for index, image in zip(wanted, images.shown(wanted), strict=True)}
    title = METRICS[metric].title
    return [_panel(found, shown, method, places, scores[method], title) for method, places in chosen.items()]


def panels_title(evaluator: Evaluator, metric: str, panels: Sequence[Panel]) -> str:
    """The title of a sheet of panels, which says what colors and lines mean."""
    better = "higher" if evaluator.metric(metric).higher_is_better else "lower"
    has_outline = any(tile.outline is not None for panel in panels for tile in panel.tiles)
    title = f"{METRICS[metric].title}: best and worst maps, {better} is better; {MAP_COLORS}"
    return f"{title}; {OUTLINES}" if has_outline else title


def _panel(
    found: EvaluatedImages,
    shown: Mapping[int, ShownImage],
    method: str,
    places: Sequence[tuple[int, str]],
    scores: Tensor,
    title: str,
) -> Panel:
    tiles = [
        _tile(found, shown[found.indices[place]], method, place, kind, f"{title}: {percent(float(scores[place]))}")
        for place, kind in places
    ]
    return Panel([note_tile("", tiles[0].pixels, method_title(method)), *tiles])


def _best_and_worst(scores: Tensor, count: int, *, higher: bool) -> list[tuple[int, str]]:
    """Places of the best and the worst of the images that have a score, and which they are; none of them twice."""
    known = scores.isfinite().nonzero().flatten()
    order = known[scores[known].argsort(descending=higher, stable=True)].tolist()
    count = min(count, len(order) // 2) if len(order) > 1 else 0
    best = [(place, f"best {rank}") for rank, place in enumerate(order[:count], start=1)]
    worst = [(place, f"worst {rank}") for rank, place in enumerate(order[::-1][:count], start=1)]
    return best + worst


def _tile(found: EvaluatedImages, image: ShownImage, method: str, place: int, kind: str, score: str) -> Tile:
    picture = image.picture
    small = found.small_maps[method][place].float()[None, None] / 255
    cam = F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return map_tile(kind, picture, cam, f"{score}\n{printable(image.name)}", outline=image.outline)
