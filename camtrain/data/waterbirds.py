"""Waterbirds, and any images with a table that says their class, split and group."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from camtrain.data.image_data_module import Split
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.photograph_data import PhotographData
from camtrain.data.text_file import text_in
from camtrain.files import local_path
from camtrain.messages import DataError, nearest_names


class Waterbirds(PhotographData):
    """Waterbirds: birds of the land and of the water, before land or water; or your own images in its layout.

    The folder holds `metadata.csv`, with a line for each image:

        img_id,img_filename,y,split,place,place_filename
        1,001.Albatross/0046_18.jpg,1,0,1,/o/ocean/00002178.jpg

    `img_filename` is relative to the folder, `y` is the class, and `split` is 0, 1 or 2 (or train, val or test). A
    class and a `place` make a group: in training, 95 % of the birds of the water are before water. A network that looks
    at the background fails on the others. So accuracy is logged for each group,
    `<stage>/accuracy_per_group/<class>, place <place>`, and for the worst one, `<stage>/accuracy_worst_group`;
    `--checkpoint.monitor val/accuracy_worst_group` keeps the checkpoint that is best there.

    Five lines of a configuration, for a table of your own:

        data:
          class_path: Waterbirds
          init_args: {root: mine, metadata: images.csv, path_column: file,
                      class_column: breed, group_column: camera}
        model: {network: resnet50, weights: DEFAULT}
        checkpoint: {monitor: val/accuracy_worst_group}

    Args:
        root: The folder that the paths in the table are relative to.
        metadata: The table, a CSV file with a header, relative to `root`.
        path_column: The column of the image's path.
        class_column: The column of its class. Classes are in alphabetical order, or in that of their numbers.
        split_column: The column of its split: 0, 1 and 2, or train, val and test.
        group_column: The column that makes groups together with the class; null makes no groups.
        class_names: Other names for the classes, in their order, such as `[landbird, waterbird]`; null takes those of
            the table.
        image_size: The height and width of the images in a batch, in pixels.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If an argument is out of range, or a line of the table cannot be understood.

    Source: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, arXiv 1911.08731;
        github.com/kohpangwei/group_DRO.
    """

    def __init__(
        self,
        root: str = "data/waterbird_complete95_forest2water2",
        metadata: str = "metadata.csv",
        path_column: str = "img_filename",
        class_column: str = "y",
        split_column: str = "split",
        group_column: str | None = "place",
        class_names: list[str] | None = None,
        image_size: int = 224,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, **kwargs)
        self.root = local_path(root, "root").absolute()
        self._metadata = self.root / metadata
        if not self._metadata.is_file():
            raise FileNotFoundError(f"`root`: expected the table {self._metadata}, which does not exist")
        self._columns = {
            "path_column": path_column,
            "class_column": class_column,
            "split_column": split_column,
            **({} if group_column is None else {"group_column": group_column}),
        }
        classes = _in_order({row["class_column"] for row in self._rows})
        if class_names is not None and len(set(class_names)) != len(classes):
            raise ValueError(
                f"`class_names`: expected a name for each of the {len(classes)} classes {', '.join(classes)}, got "
                f"{', '.join(class_names) or 'none'}"
            )
        self._classes = classes
        self._class_names = classes if class_names is None else list(class_names)
        self._group_values = [] if group_column is None else _in_order({row["group_column"] for row in self._rows})

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""
        return self._class_names

    @property
    def group_names(self) -> list[str] | None:
        """The names of the groups, in the order of their indices; `None` if there are no groups."""
        if not self._group_values:
            return None
        column = self._columns["group_column"]
        return [f"{name}, {column} {value}" for name in self.class_names for value in self._group_values]

    def samples(self, split: Split) -> ImageFileSamples:
        """The images of a split, with their groups.

        Raises:
            ValueError: If a line of the table cannot be understood; on access, if an image cannot be read.
        """
        return ImageFileSamples([self._file(row) for row in self._rows if _SPLITS[row["split_column"]] == split])

    def _file(self, row: dict[str, str]) -> ImageFile:
        label = self._classes.index(row["class_column"])
        group = None
        if self._group_values:
            group = label * len(self._group_values) + self._group_values.index(row["group_column"])
        return ImageFile(self.root / row["path_column"], label, group=group)

    @cached_property
    def _rows(self) -> list[dict[str, str]]:
        """The fields that count of each line, by the setting that names their column."""
        rows = csv.reader(io.StringIO(text_in(self._metadata, "CSV"), newline=""), strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            places = {setting: self._place(setting, name, header) for setting, name in self._columns.items()}
            found: list[dict[str, str]] = []
            seen: dict[str, int] = {}
            for fields in rows:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise ValueError(f"line {rows.line_num}: expected {len(header)} fields, got {len(fields)}")
                row = {setting: fields[place].strip() for setting, place in places.items()}
                empty = next((self._columns[setting] for setting, field in row.items() if not field), None)
                if empty is not None:
                    raise ValueError(f"line {rows.line_num}: expected a value for {empty!r}, got none")
                if row["split_column"] not in _SPLITS:
                    raise ValueError(
                        f"line {rows.line_num}: expected a split of {', '.join(_SPLITS)}, got {row['split_column']!r}"
                    )
                first = seen.setdefault(row["path_column"], rows.line_num)
                if first != rows.line_num:
                    raise ValueError(f"line {rows.line_num}: the same image as in line {first}: {row['path_column']!r}")
                found.append(row)
            if not found:
                raise ValueError("expected images below the header, got none")
        except (ValueError, csv.Error) as error:
            raise DataError(f"{self._metadata}: {error}") from None
        return found

    def _place(self, setting: str, name: str, header: Sequence[str]) -> int:
        if header.count(name) != 1:
            what = "twice" if name in header else f"not there; {nearest_names(name, header)}"
            raise ValueError(f"line 1: the column {name!r} of `{setting}` is {what}")
        return header.index(name)


_SPLITS: dict[str, Split] = {"0": "train", "1": "val", "2": "test", "train": "train", "val": "val", "test": "test"}


def _in_order(values: set[str]) -> list[str]:
    """Sorted by their numbers if all are numbers, and otherwise by the alphabet."""
    return sorted(values, key=int) if all(value.isdecimal() for value in values) else sorted(values)
