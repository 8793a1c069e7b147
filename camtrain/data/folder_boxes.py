"""Where `ImageFolderData` finds the boxes of its images, and what their numbers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from camtrain.data.box_format import Box, BoxFormat, FormatName
from camtrain.data.boxes_csv import boxes_from_csv
from camtrain.data.boxes_json import boxes_from_json
from camtrain.data.boxes_yolo import boxes_from_yolo
from camtrain.data.image_boxes import ImageBoxes
from camtrain.data.matched_files import matched_files
from camtrain.data.upright import AnnotationPixels
from camtrain.files import local_path
from camtrain.pixel_format import PixelFormat

_FORMATS = {
    "boxes_csv": BoxFormat("xyxy"),
    "boxes_json": BoxFormat("xywh"),
    "boxes_yolo": BoxFormat("cxcywh", normalized=True),
}
_NOT_LABELS = "classes.txt"  # the names of the classes, which some tools write beside the files


@dataclass(frozen=True)
class FolderBoxes:
    """A file or folder of boxes.

    Attributes:
        argument: The setting that names it: `boxes_csv`, `boxes_json` or `boxes_yolo`.
        path: The file or folder.
        box_format: What its numbers are.
    """

    argument: str
    path: Path
    box_format: BoxFormat

    @classmethod
    def of(
        cls, files: Mapping[str, str | None], name: FormatName | None, normalized: bool | None
    ) -> FolderBoxes | None:
        """What the settings of a data module say; `None` if they name no boxes.

        Args:
            files: The file or folder by setting.
            name: `boxes_format`; `None` is that of the kind of file.
            normalized: `None` is that of the kind of file.

        Raises:
            FileNotFoundError: If there is no such file or folder.
            ValueError: If several are given, a format without boxes, or one that the kind of file does not have.
        """
        given = {argument: path for argument, path in files.items() if path is not None}
        if len(given) > 1:
            raise ValueError(f"`{list(given)[1]}`: expected boxes of one kind, got {' and '.join(given)}")
        if not given:
            for setting, value in (("boxes_format", name), ("normalized", normalized)):
                if value is not None:
                    raise ValueError(f"`{setting}`: expected null without {', '.join(files)}, got {value}")
            return None
        ((argument, path),) = given.items()
        usual = _FORMATS[argument]
        box_format = BoxFormat(name or usual.name, usual.normalized if normalized is None else normalized)
        if argument == "boxes_yolo" and box_format != usual:
            setting = "boxes_format" if box_format.name != usual.name else "normalized"
            raise ValueError(f"`{setting}`: the boxes of YOLO are {usual}; expected null or that, got {box_format}")
        is_there = Path.is_dir if argument == "boxes_yolo" else Path.is_file
        return cls(argument, absolute_path(argument, path, is_there), box_format)

    def boxes(
        self,
        root: Path,
        class_of: Mapping[str, str],
        pixels: AnnotationPixels,
        pixel_format: PixelFormat | None = None,
    ) -> dict[str, tuple[Box, ...]]:
        """The boxes by the path of the image relative to `root`; images without boxes are left out.

        Args:
            root: The folder of the images.
            class_of: The class of each image, by its path relative to `root`.
            pixels: What the boxes were drawn on.
            pixel_format: What image files hold, if that is stated.

        Raises:
            DataError: If something is wrong with a file or with a box; it is a `ValueError`.
        """
        boxes = ImageBoxes(self.path, root, class_of, self.box_format, pixels, pixel_format)
        if self.argument == "boxes_csv":
            boxes_from_csv(self.path, boxes, self.box_format.columns)
        elif self.argument == "boxes_json":
            boxes_from_json(self.path, boxes, class_of)
        else:
            files = [path for path in sorted(self.path.rglob("*.txt")) if path != self.path / _NOT_LABELS]
            boxes_from_yolo(matched_files(self.argument, "text file", self.path, files, class_of), boxes)
        return boxes.found(self.argument)


def absolute_path(argument: str, path: str, is_there: Callable[[Path], bool]) -> Path:
    """The absolute path that a setting names.

    Args:
        argument: The setting, for messages.
        path: Its value.
        is_there: `Path.is_file` or `Path.is_dir`.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If there is a file in the place of a folder, or the other way round.
    """
    absolute = local_path(path, argument).absolute()
    if absolute.exists() and not is_there(absolute):
        raise ValueError(f"`{argument}`: expected a {'file' if absolute.is_dir() else 'folder'}, got {absolute}")
    if not is_there(absolute):
        raise FileNotFoundError(f"`{argument}`: expected {absolute}, which does not exist")
    return absolute
