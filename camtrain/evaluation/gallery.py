"""A few images with their maps, as arrays, so that the maps of several networks can be shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from camtrain.batch import evenly_spaced
from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.image_source import ImageSource
from camtrain.files import whole_file
from camtrain.pictures import reduced


def write_gallery(
    found: EvaluatedImages, images: ImageSource, count: int, path: Path, class_names: Sequence[str] | None = None
) -> Path:
    """Write images that are evenly spaced over those evaluated, with their maps.

    The file has `indices`, `labels` (-1 where unknown), `predictions`, `probabilities`, (K,) each; `pictures`,
    (K, H, W, 3) uint8; for each method `cam/<method>`, (K, h, w) uint8; and where they are known `class_names`.

    Args:
        found: The evaluated images, with small maps.
        images: The same images.
        count: The largest number of images.
        path: The `.npz` file.
        class_names: The names of all classes of the network.
    """
    places = evenly_spaced(len(found.indices), count)
    pictures = torch.stack([reduced(each) for each in images.pictures([found.indices[place] for place in places])])
    arrays = {
        "indices": np.array([found.indices[place] for place in places]),
        "labels": found.labels[places].numpy(),
        "predictions": found.predictions[places].numpy(),
        "probabilities": found.scores[places].float().numpy(),
        "pictures": (255 * pictures).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(),
    }
    if class_names is not None:
        arrays["class_names"] = np.array(class_names, dtype=str)
    arrays |= {f"cam/{method}": cams[places].numpy() for method, cams in found.small_maps.items()}
    with whole_file(path) as unfinished:
        np.savez_compressed(unfinished, **arrays)  # type: ignore[arg-type, unused-ignore]
    return path
