"""Maps as `.npy` files, so that maps of other code can be scored here, and maps of this package elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from camtrain.files import whole_file
from camtrain.messages import DataError
from camtrain.metrics.checked import checked_unit_maps

MAPS = "maps"
"""The folder of the maps, in the folder of an evaluation."""


def score_map_path(folder: str | Path, image_id: str) -> Path:
    """The file of a map: the path of the image below the folder of all images, and `.npy`.

    Args:
        folder: The folder of the maps.
        image_id: The path of the image, with forward slashes.

    Raises:
        ValueError: If the path leads out of the folder.

    Example:
        >>> score_map_path("maps", "val2/0/7.jpeg").as_posix()
        'maps/val2/0/7.jpeg.npy'
    """
    parts = PurePosixPath(image_id).parts
    if not parts or PurePosixPath(image_id).is_absolute() or ".." in parts:
        raise ValueError(f"`image_id`: expected a path below the folder of all images, got {image_id!r}")
    return Path(folder, *parts[:-1], f"{parts[-1]}.npy")


def write_score_map(folder: str | Path, image_id: str, cam: Tensor) -> Path:
    """Write a map as (H, W) float32 in [0, 1].

    Args:
        folder: The folder of the maps; it is made if need be.
        image_id: The path of the image below the folder of all images, with forward slashes.
        cam: (H, W) map in [0, 1].

    Returns:
        The file (see `score_map_path`).

    Raises:
        TypeError: If the map is no tensor.
        ValueError: If the map is not (H, W) in [0, 1], or the path of the image leads out of the folder.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = write_score_map(folder, "cat/1.jpg", torch.eye(2))
        >>> read_score_map(folder, "cat/1.jpg")
        tensor([[1., 0.],
                [0., 1.]])
    """
    if isinstance(cam, Tensor) and cam.dim() != 2:
        raise ValueError(f"`cam`: expected (H, W), got {tuple(cam.shape)}")
    (checked,) = checked_unit_maps("cam", cam.unsqueeze(0) if isinstance(cam, Tensor) else cam)
    path = score_map_path(folder, image_id)
    with whole_file(path) as unfinished:
        np.save(unfinished, checked.detach().float().clamp(0, 1).cpu().numpy(), allow_pickle=False)
    return path


def read_score_map(folder: str | Path, image_id: str) -> Tensor:
    """Read a map that this package or other code wrote.

    Args:
        folder: The folder of the maps.
        image_id: The path of the image below the folder of all images, with forward slashes. For `cat/1.jpg` the file
            is `cat/1.jpg.npy`, as this package and the authors of the WSOL benchmark write it, or else `cat/1.npy`.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file does not hold an (H, W) array of numbers in [0, 1]; it is a `ValueError`.
    """
    path = score_map_path(folder, image_id)
    without_suffix = path.with_name(f"{PurePosixPath(image_id).stem}.npy")
    found = next((each for each in (path, without_suffix) if each.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"there is no map of {image_id}: expected {path} or {without_suffix.name}")
    try:
        array = np.load(found, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read the map {found}: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive of arrays"
        raise DataError(f"the map {found} should be an array (H, W) of numbers, got {got}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"the map {found} should hold numbers from 0 to 1, got {low:g} to {high:g}")
    return torch.from_numpy(array.astype(np.float32))


class ScoreMapWriter:
    """Writes the maps of methods while images are evaluated, to `<folder>/<method>/<path of the image>.npy`.

    Args:
        folder: The folder of all maps.
        methods: The names of the methods.
    """

    def __init__(self, folder: Path, methods: Sequence[str]) -> None:
        self.folder = folder
        self.methods = methods

    def write(self, image_ids: Sequence[str], cams: Mapping[str, Tensor], left_out: Mapping[str, Tensor]) -> None:
        """Write the maps of a few images.

        Args:
            image_ids: The paths of the images.
            cams: (N, H, W) normalized maps by method.
            left_out: (N,) bool by method: the images whose maps stand for nothing.
        """
        for method in self.methods:
            if method not in cams:
                continue
            missing = left_out.get(method, torch.zeros(len(image_ids), dtype=torch.bool))
            for image_id, cam, is_missing in zip(image_ids, cams[method], missing.tolist(), strict=True):
                if not is_missing:
                    write_score_map(self.folder / method, image_id, cam)

    def is_complete(self, image_ids: Sequence[str], left_out: Mapping[str, Sequence[str]]) -> bool:
        """Whether the maps of a few images are all there, except for those that are left out, by method."""
        return all(
            score_map_path(self.folder / method, image_id).is_file()
            for method in self.methods
            for image_id in image_ids
            if image_id not in left_out.get(method, ())
        )
