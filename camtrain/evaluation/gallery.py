"""A few images with their maps, as arrays, so that the maps of several networks can be shown side by side."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.batch import evenly_spaced
from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.image_source import ImageSource
from camtrain.evaluation.shown_image import ShownImage
from camtrain.files import DamagedFileError, whole_file
from camtrain.messages import printable
from camtrain.pictures import ObjectOutline, class_name

Gallery = dict[str, "np.ndarray[Any, Any]"]
"""The arrays of a `gallery.npz`."""

GALLERY_SIDE = 224
"""The largest number of pixels of the shorter side of a picture in a gallery."""

_LARGEST = 256 * 2**20  # bytes of all arrays
_MOST_ARRAYS = 256
_LONGEST_SIDE, _LARGEST_RATIO = 16384, 64  # of a picture
_MOST_BOXES = 1000  # of one image
_KINDS = {"indices": "iu", "labels": "iu", "predictions": "iu", "probabilities": "f"}


def write_gallery(
    found: EvaluatedImages, images: ImageSource, count: int, path: Path, class_names: Sequence[str] | None = None
) -> list[Path]:
    """Write images that are evenly spaced over those of which the network says anything, with their maps.

    The file has `indices`, `labels` (-1 where unknown), `predictions`, `probabilities` (of the predictions; NaN where a
    part of an earlier version does not say it), `names` (of files), (K,) each;
    `pictures`, (K, H, W, 3) uint8; for each method `cam/<method>`, (K, h, w) uint8; and where they are known
    `class_names`, `label_names`, (K,), all classes that an image shows, if there may be several, `boxes`, (K, M, 4)
    xyxy as fractions of width and height, NaN where an image has fewer than M, and `masks`, (K, H, W) bool.

    Args:
        found: The evaluated images, with small maps.
        images: The same images.
        count: The largest number of images.
        path: The `.npz` file.
        class_names: The names of all classes of the network.

    Returns:
        The path; nothing is written if the network says nothing of any image.
    """
    answered = ((found.predictions >= 0) & found.scores.isfinite()).nonzero().flatten().tolist()
    if not answered:
        return []
    places = [answered[place] for place in evenly_spaced(len(answered), count)]
    shown = [each.reduced(GALLERY_SIDE) for each in images.shown([found.indices[place] for place in places])]
    # Maps and boxes are stretched alike, so that pictures of other sizes than the first can be too.
    size = shown[0].picture.shape[-2:]
    shown = [each if each.picture.shape[-2:] == size else replace(each, picture=_of_size(each, size)) for each in shown]
    pictures = torch.stack([each.picture for each in shown])
    arrays = {
        "indices": np.array([found.indices[place] for place in places]),
        **_answers(found, places, class_names),
        "names": np.array([each.name for each in shown], dtype=str),
        "pictures": (255 * pictures).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(),
    }
    if class_names is not None:
        arrays["class_names"] = np.array(class_names, dtype=str)
    arrays |= _outlines(shown)
    arrays |= {f"cam/{method}": cams[places].numpy() for method, cams in found.small_maps.items()}
    with whole_file(path) as unfinished:
        np.savez_compressed(unfinished, **arrays)  # type: ignore[arg-type, unused-ignore]
    return [path]


def _answers(found: EvaluatedImages, places: Sequence[int], class_names: Sequence[str] | None) -> Gallery:
    """Labels, predictions and their probabilities; if images may show several classes, those of the explained ones."""
    rows = list(places)
    if found.shown is None:
        return {
            "labels": found.labels[rows].numpy(),
            "predictions": found.predictions[rows].numpy(),
            "probabilities": found.confidences[rows].float().numpy(),
        }
    shown, explained = found.shown[rows], found.class_idx[rows]
    # The explained class is right if the image shows it.
    is_right = shown.gather(1, explained.unsqueeze(1)).squeeze(1)
    other = torch.where(shown.any(dim=1), shown.int().argmax(dim=1), -1)
    names = [", ".join(class_name(class_names, index) for index in each.nonzero().flatten().tolist()) for each in shown]
    return {
        "labels": torch.where(is_right, explained, other).numpy(),
        "predictions": explained.numpy(),
        "probabilities": found.scores[rows].float().numpy(),
        "label_names": np.array(names, dtype=str),
    }


def _outlines(shown: Sequence[ShownImage]) -> Gallery:
    """The boxes and masks of images, where any has them."""
    arrays: Gallery = {}
    relative = [None if each.outline is None else each.outline.boxes_at(1, 1) for each in shown]
    most = max((len(boxes) for boxes in relative if boxes is not None), default=0)
    if most:
        arrays["boxes"] = np.full((len(shown), most, 4), np.nan, dtype=np.float32)
        for place, boxes in enumerate(relative):
            if boxes is not None:
                arrays["boxes"][place, : len(boxes)] = boxes.numpy()
    if any(each.outline is not None and each.outline.mask is not None for each in shown):
        arrays["masks"] = np.stack([_mask(each) for each in shown])
    return arrays


def _of_size(image: ShownImage, size: Sequence[int]) -> Tensor:
    """A picture, (3, H, W), at another height and width."""
    resized = F.interpolate(image.picture[None], size=list(size), mode="bilinear", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)


def _mask(image: ShownImage) -> np.ndarray[Any, Any]:
    """(H, W) bool at the size of the picture, nowhere true where it is not known."""
    height, width = image.picture.shape[-2:]
    if image.outline is None or image.outline.mask is None:
        return np.zeros((height, width), dtype=bool)
    mask = image.outline.mask[None, None].float()
    return np.asarray(F.interpolate(mask, size=(height, width), mode="nearest")[0, 0].numpy() > 0)


def outline_in(gallery: Gallery, place: int) -> ObjectOutline | None:
    """The boxes and the mask of one image of a gallery; `None` where nothing is known of its objects."""
    height, width = gallery["pictures"].shape[1:3]
    boxes = mask = None
    if "boxes" in gallery:
        known = torch.from_numpy(gallery["boxes"][place].astype(np.float32))
        boxes = known[known.isfinite().all(dim=1)] * torch.tensor([width, height, width, height])
    if "masks" in gallery:
        mask = torch.from_numpy(gallery["masks"][place])
    return ObjectOutline.of(torch.empty(3, height, width), boxes, mask)


def name_in(gallery: Gallery, place: int) -> str:
    """What one image of a gallery is called; empty in a gallery of an earlier version."""
    return printable(str(gallery["names"][place])) if "names" in gallery else ""


def read_gallery(path: Path) -> Gallery:
    """Read a gallery that anybody may have made: nothing in it is run, and it cannot fill the memory.

    Args:
        path: The `.npz` file.

    Raises:
        DamagedFileError: If it is no gallery, or too large for one.
        FileNotFoundError: If there is no such file.
    """
    if path.stat().st_size == 0:
        raise DamagedFileError(path, "it is empty")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if (size := sum(each.file_size for each in members)) > _LARGEST or len(members) > _MOST_ARRAYS:
            raise ValueError(f"{len(members)} arrays of {size >> 20} MiB are more than a gallery has")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # NumPy and zipfile raise almost anything for a file that is not one of their own
        raise DamagedFileError(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if (why := _objection(found)) is not None:
        raise DamagedFileError(path, why)
    return found


def _objection(found: Mapping[str, Any]) -> str | None:
    """Why arrays are no gallery; `None` if they are one."""
    for name in (*_KINDS, "pictures"):
        if name not in found:
            return f"it has no array {name}"
    count = found["indices"].shape[:1]
    for name, kinds in _KINDS.items():
        if found[name].dtype.kind not in kinds or found[name].shape != count or count in ((), (0,)):
            return f"expected a number of each image in {name}, got {_shown(found[name])}"
    shape = found["pictures"].shape
    if found["pictures"].dtype != np.uint8 or len(shape) != 4 or shape[:1] != count or shape[3] != 3:
        return f"expected pictures (K, H, W, 3) of bytes, got {_shown(found['pictures'])}"
    sides = sorted(shape[1:3])
    if not sides[0] >= 1 or sides[1] > min(_LONGEST_SIDE, _LARGEST_RATIO * sides[0]):
        return f"expected pictures of common sizes, got {shape[1]}×{shape[2]} pixels"
    for name in found:
        maps = found[name]
        if name.startswith("cam/") and not (maps.dtype == np.uint8 and maps.ndim == 3 and maps.shape[:1] == count):
            return f"expected maps (K, h, w) of bytes in {name!r}, got {_shown(maps)}"
        if name.startswith("cam/") and not (min(maps.shape) > 0 and max(maps.shape[1:]) <= _LONGEST_SIDE):
            return f"expected maps of common sizes in {name!r}, got {maps.shape[1]}×{maps.shape[2]} pixels"
    if (found["predictions"] < 0).any():
        return "expected classes from 0 in predictions, got negative ones"
    names = found.get("class_names")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        return f"expected texts in class_names, got {_shown(names)}"
    return _objection_to_truth(found, count, shape[:3])


def _objection_to_truth(found: Mapping[str, Any], count: Any, shape: Any) -> str | None:
    """Why names, boxes and masks, which a gallery may have, cannot be those of its images; `None` if they can."""
    boxes, masks = (found.get(name) for name in ("boxes", "masks"))
    for name in ("names", "label_names"):
        texts = found.get(name)
        if texts is not None and (texts.dtype.kind != "U" or texts.shape != count):
            return f"expected a text for each image in {name}, got {_shown(texts)}"
    if boxes is not None and (boxes.dtype.kind != "f" or boxes.ndim != 3 or boxes.shape[::2] != (*count, 4)):
        return f"expected boxes (K, M, 4), got {_shown(boxes)}"
    if boxes is not None and (boxes.shape[1] > _MOST_BOXES or not (np.isnan(boxes) | (np.abs(boxes) <= 2)).all()):
        return f"expected at most {_MOST_BOXES} boxes, as fractions of width and height, got {_shown(boxes)}"
    if masks is not None and (masks.dtype != np.bool_ or masks.shape != shape):
        return f"expected masks (K, H, W) of the size of the pictures, got {_shown(masks)}"
    return None


def _shown(array: Any) -> str:
    return f"{array.dtype} {array.shape}"
