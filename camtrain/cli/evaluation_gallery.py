"""A few images with their maps, as arrays, so that the maps of several networks can be shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from camtrain.batch import evenly_spaced
from camtrain.cli.evaluation_data import EvaluationImages
from camtrain.cli.evaluation_run import EvaluatedImages
from camtrain.pictures import reduced


def write_gallery(
    found: EvaluatedImages, images: EvaluationImages, count: int, path: Path, class_names: Sequence[str] | None = None
) -> Path:
    """Images that are evenly spaced over those evaluated, and their maps.

    The file has `indices`, `labels` (-1 where unknown), `predictions`, `probabilities`, (K,) each; `pictures`,
    (K, H, W, 3) uint8; for each method `cam/<method>`, (K, h, w) uint8; and where they are known `class_names`.

    Args:
        found: with small maps.
        images: the same ones.
        count: how many.
        path: of the `.npz` file.
        class_names: of all classes of the network.
    """
    places = evenly_spaced(len(found.indices), count)
    with torch.no_grad():
        pictures = torch.stack([reduced(images.pictures([found.indices[place]])[0]) for place in places])
    arrays = {
        "indices": np.array([found.indices[place] for place in places]),
        "labels": found.labels[places].numpy(),
        "predictions": found.predictions[places].numpy(),
        "probabilities": found.scores[places].float().numpy(),
        "pictures": (255 * pictures).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(),
    }
    if class_names is not None:
        arrays["class_names"] = np.array(class_names, dtype=str)
    arrays |= {f"cam/{method}": cams[places].numpy() for method, cams in found.thumbnails.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type, unused-ignore]
    return path
