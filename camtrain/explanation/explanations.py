"""The explanations of several images, made one by one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.saliency_map import saliency_map
from camtrain.cams.normalize import normalize
from camtrain.explanation.contact_sheets import ContactSheets
from camtrain.explanation.explanation import ExplainedMap, Explanation
from camtrain.explanation.image_list import ImageList, ListedImage
from camtrain.explanation.map_table import TABLE, MapRow, map_rows, write_map_table
from camtrain.explanation.questions import Question, Questions
from camtrain.files import local_folder, path_from_here
from camtrain.gradients import evaluation_mode
from camtrain.messages import CamtrainWarning, column_width, folded, folded_table, percent, tail, terminal_width
from camtrain.messages.progress_bar import ProgressBar
from camtrain.methods import Method, method_title, normalized_maps
from camtrain.networks.loaded_network import LoadedNetwork

_SHEET = "contact_sheet"
_SHORTEST_PATH = 16  # characters


class Explanations:
    """Explanations of images. Each is made when it is asked for, and does not depend on the others.

    Iterating yields one `Explanation` per image; iterating again makes them again. `len` and indices count all images,
    those that cannot be explained included.

    Args:
        network: The network.
        methods: The methods by name, made for this network.
        questions: The questions about every image.
        images: The images.
        on_error: "raise" stops at an image that cannot be explained, "warn" and "skip" go on with the next one.
        progress: True shows a progress bar.

    Attributes:
        network: The network.
        problems: What is wrong with images that were skipped.
        reasons: Why a method made no map, by its name; the first reason of each.
        used: The names of the methods that made a map.

    Raises:
        ValueError: If a folder holds no image, unless problems are skipped.
        FileNotFoundError: If a file is not there, unless problems are skipped.
    """

    def __init__(
        self,
        network: LoadedNetwork,
        methods: Mapping[str, Method],
        questions: Questions,
        images: ImageList,
        *,
        on_error: Literal["raise", "warn", "skip"] = "raise",
        progress: bool = True,
    ) -> None:
        self.network = network
        self.problems: list[str] = []
        self.reasons: dict[str, str] = {}
        self.used: set[str] = set()
        self._methods, self._questions, self._images = methods, questions, images.images
        self._on_error, self._progress = on_error, progress
        for problem in images.problems:
            named = type(problem)(f"`images`: {problem}") if on_error == "raise" else problem
            self._note(named, stacklevel=4)
        for remark in network.preprocessing.remarks if images.are_photographs else ():
            warnings.warn(remark, CamtrainWarning, stacklevel=3)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Explanation:
        return self._explained(self._images[number])

    def __iter__(self) -> Iterator[Explanation]:
        return (explanation for _, explanation in self._all())

    def show(self) -> None:
        """Show all images with their maps, one below the other."""
        for explanation in self:
            explanation.show()

    def save(self, folder: str | Path, arrays: bool = False) -> SavedExplanations:
        """Write a picture for each map, contact sheets with all of them, and a table.

        The files are `<image>.<method>.png`, `<image>.<method>.<question>.png` for further questions,
        `contact_sheet.png` with the maps of each image in rows of five, `contact_sheet_<method>.png` with a column for
        each question if there are several, and `explanations.csv` with a line for each map: path, label, prediction,
        method, question and file. A page of a sheet is written as soon as it is full.

        Args:
            folder: The folder to write to; files of the same names are replaced.
            arrays: Also write each map itself beside its picture, with the ending .npy: (H, W) float32 in [0, 1], at
                the size of the image as the network saw it.

        Raises:
            ValueError: If it is no folder, or one of the images is a file that would be replaced.
        """
        out = local_folder(folder, "folder")
        self._check_not_overwritten(out)
        sheets = ContactSheets(out, self.network.title)
        rows: list[tuple[str, str, str, str]] = []
        lines: list[MapRow] = []
        for listed, explanation in self._all():
            files = explanation.save(out, arrays=arrays)
            for method, tiles in explanation.sheet_rows().items():
                name = f"{_SHEET}_{method}" if method else _SHEET
                sheets.add(name, tiles, explanation.view, method_title(method) if method else "")
            lines += map_rows(explanation, files)
            score = percent(float(explanation.probabilities.max()))
            shown = str(listed.path) if listed.path else listed.name
            rows.append((shown, explanation.prediction, score, f"{listed.slug}.*.png ({len(files)})"))
        sheets.finish()
        table = write_map_table(lines, out / TABLE) if lines else None
        return SavedExplanations(out, rows, sheets.paths, table)

    def _all(self) -> Iterator[tuple[ListedImage, Explanation]]:
        total = len(self._images) * len(self._methods)
        with ProgressBar(total=total, desc="explain", unit="map", disable=not self._progress or not total) as bar:
            for number, listed in enumerate(self._images, start=1):
                try:
                    explanation = self._explained(listed, bar)
                except (ValueError, OSError) as error:
                    self._note(error, stacklevel=4)
                else:
                    yield listed, explanation
                bar.update(number * len(self._methods) - bar.n)
            bar.set_postfix_str("")

    def _note(self, error: Exception, stacklevel: int) -> None:
        """Raise an error, or skip what it is about."""
        if self._on_error == "raise":
            raise error
        if str(error) not in self.problems:
            self.problems.append(str(error))
        if self._on_error == "warn":
            warnings.warn(str(error), CamtrainWarning, stacklevel=stacklevel)

    def _explained(self, listed: ListedImage, bar: Any = None) -> Explanation:
        network = self.network
        read = listed.read()
        image = read.image
        with evaluation_mode(network.network):
            probabilities = network.probabilities(image)
            _check_answer(listed, image, probabilities)
            asked = self._questions.of(probabilities, network.class_names)
            maps = []
            for method in self._methods:
                if bar is not None:
                    bar.set_postfix_str(method_title(method))
                maps += [self._answer(method, listed, image, question) for question in asked]
                if bar is not None:
                    bar.update()
        about = (listed.name, listed.slug, listed.path)
        made = Explanation(*about, read.picture, probabilities, network.class_names, maps, network.title)
        return replace(made, photograph=read.view, label=read.label)

    def _answer(self, method: str, listed: ListedImage, image: Tensor, question: Question) -> ExplainedMap:
        if question.unanswerable:
            return ExplainedMap(method, question, reason=question.unanswerable)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = self._made(method, image, question)
                self.used.add(method)
            except (ValueError, RuntimeError) as error:
                reason = _reason(error)
                self.reasons.setdefault(method, reason)
                answer = ExplainedMap(method, question, reason=reason)
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            said = f"{listed.path or listed.name}, {method_title(method)}: {message}"
            warnings.warn(said, CamtrainWarning, stacklevel=4)
        return answer

    def _made(self, name: str, image: Tensor, question: Question) -> ExplainedMap:
        method = self._methods[name]
        if isinstance(method, BaseAttribution):
            gradient = _finite(method(image, question.class_idx)[0])
            reduced = normalize(saliency_map(gradient.unsqueeze(0), method.reduction))[0]
            return ExplainedMap(name, question, reduced, gradient, reduction=method.reduction)
        return ExplainedMap(name, question, _finite(normalized_maps(method, image, question.class_idx)[0]))

    def _check_not_overwritten(self, folder: Path) -> None:
        """No image that is to be explained may be one of the files to write."""
        begins = (_SHEET, *(f"{each.slug}.{method}." for each in self._images for method in self._methods))
        for each in self._images:
            path = each.path
            if path is None or not path.name.startswith(begins) or path.suffix.lower() not in (".png", ".npy"):
                continue
            if path.resolve().parent == folder.resolve():
                raise ValueError(f"`folder`: {path} would be overwritten; choose another folder")


class SavedExplanations:
    """What `Explanations.save` wrote.

    Args:
        folder: The folder.
        rows: The image, its predicted class, the probability and the files, of each image.
        sheets: The contact sheets.
        table_file: `explanations.csv`; `None` if there is no image.
    """

    def __init__(
        self, folder: Path, rows: list[tuple[str, str, str, str]], sheets: list[Path], table_file: Path | None = None
    ) -> None:
        self.folder, self.rows, self.sheets, self.table_file = folder, rows, sheets, table_file

    def __len__(self) -> int:
        return len(self.rows)

    def table(self, width: int | None = None) -> str:
        """The predicted class, its probability and the files of each image, for a terminal.

        Of a path that is too long for the table, the end is shown; `explanations.csv` has all of it.

        Args:
            width: The largest number of characters in a line; `None` is the width of the terminal.
        """
        width = terminal_width() if width is None else width
        headings = ["image", "predicted class", "probability", "files"]
        # The class and the files get what they need, up to a quarter of the line each.
        classes, files = ([tail(row[column], width // 4) for row in self.rows] for column in (1, 3))
        others = sum(column_width([heading, *cells]) + 2 for heading, cells in zip(
            headings[1:], (classes, [row[2] for row in self.rows], files), strict=True
        ))  # fmt: skip
        room = max(_SHORTEST_PATH, width - others)
        paths = [tail(row[0], room) for row in self.rows]
        cells = zip(paths, classes, (row[2] for row in self.rows), files, strict=True)
        return folded_table(headings, [list(row) for row in cells], width)

    def __str__(self) -> str:
        names = [path.name for path in self.sheets] + ([] if self.table_file is None else [self.table_file.name])
        return f"{self.table()}\n\n" + folded(f"in {path_from_here(self.folder)}: {', '.join(names)}", indent="  ")


def _check_answer(listed: ListedImage, image: Tensor, probabilities: Tensor) -> None:
    what = "the image" if not bool(image.isfinite().all()) else "the network's answer"
    if not bool(probabilities.isfinite().all()):
        raise ValueError(f"{listed.path or listed.name} cannot be explained: {what} holds NaN or infinity")


def _finite(values: Tensor) -> Tensor:
    if not bool(values.isfinite().all()):
        raise ValueError("the map is not finite")
    return values.cpu()


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory; a smaller `max_batch` may help"
    return " ".join(str(error).split()) or type(error).__name__
