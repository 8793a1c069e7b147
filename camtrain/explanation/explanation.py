"""The explanation of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from camtrain.explanation.questions import Question
from camtrain.files import whole_file
from camtrain.methods import method_title
from camtrain.pictures import (
    Panel,
    Tile,
    class_name,
    contact_sheet,
    figure_of,
    gradient_tile,
    map_tile,
    note_tile,
    show_pixels,
    write_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALLEST_OVERLAY = 224  # pixels of the shorter side


@dataclass(frozen=True)
class ExplainedMap:
    """The answer of one method to one question about an image.

    Attributes:
        method: The name of the method.
        question: The question.
        map: (H, W) in [0, 1] at the size of the image; `None` where the method made none.
        gradient: (3, H, W), for methods at the input; `None` for the others.
        reason: Why there is no map; empty where there is one.
    """

    method: str
    question: Question
    map: Tensor | None = None
    gradient: Tensor | None = None
    reason: str = ""

    def tile(self, picture: Tensor) -> Tile:
        """A picture of the map, or a note on why there is none.

        Args:
            picture: The image, (3, H, W).
        """
        title, heading = self.question.title, method_title(self.method)
        if self.map is None:
            note = self.question.unanswerable or f"none: {self.reason}"
            return note_tile(heading, picture, note, title)
        if self.gradient is not None:
            return gradient_tile(heading, self.gradient, title)
        return map_tile(heading, picture, self.map, title)


@dataclass(frozen=True)
class Explanation:
    """The explanation of one image: a map for each method and question.

    `map`, `question` and `score` belong to the first method and question; often there is only one.

    Attributes:
        name: The name of the image's file, or the number of the image.
        slug: What the names of its files begin with when it is saved.
        path: The file; `None` for an image that was given as pixels.
        picture: (3, H, W) RGB in [0, 1], what the network saw of the image.
        probabilities: (K,) class probabilities.
        class_names: The names of all classes; `None` where they are not known.
        maps: All answers, method by method.
        title: The title of the network.
    """

    name: str
    slug: str
    path: Path | None
    picture: Tensor
    probabilities: Tensor
    class_names: Sequence[str] | None
    maps: Sequence[ExplainedMap]
    title: str = ""

    @property
    def map(self) -> Tensor | None:
        """(H, W) in [0, 1], the map of the first method; `None` if it made none."""
        return self.maps[0].map

    @property
    def question(self) -> Question:
        """The first question."""
        return self.maps[0].question

    @property
    def score(self) -> float:
        """The probability of the class that the first question is about."""
        return self.question.probability

    @property
    def predicted_class(self) -> int:
        """The index of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def prediction(self) -> str:
        """The name of the most probable class, or its number."""
        return class_name(self.class_names, self.predicted_class)

    @property
    def by_method(self) -> Mapping[str, list[ExplainedMap]]:
        """The answers of each method, one per question."""
        found: dict[str, list[ExplainedMap]] = {}
        for each in self.maps:
            found.setdefault(each.method, []).append(each)
        return found

    def panels(self) -> list[Panel]:
        """A row for each question: the image and the map of each method."""
        questions = list(dict.fromkeys(each.question for each in self.maps))
        image = Tile("image", self.picture, self.name)
        return [
            Panel([image, *(each.tile(self.picture) for each in self.maps if each.question == question)])
            for question in questions
        ]

    def figure(self) -> Figure:
        """The image and its maps side by side, as a matplotlib figure; titles name the class and its probability."""
        return figure_of(contact_sheet(self.panels(), self.title or self.name, _SMALLEST_OVERLAY))

    def show(self) -> None:
        """Show the image and its maps side by side: in the notebook, or in the viewer of the system."""
        show_pixels(contact_sheet(self.panels(), self.title or self.name, _SMALLEST_OVERLAY))

    def save(self, folder: str | Path, name: str | None = None, *, arrays: bool = False) -> list[Path]:
        """Write a picture for each map.

        The files are `<name>.<method>.png`, and `<name>.<method>.<question>.png` for further questions.

        Args:
            folder: The folder to write to; files of the same names are replaced.
            name: The beginning of the names of the files; `None` takes `slug`.
            arrays: Also write each map itself beside its picture, with the ending `.npy`: (H, W) float32 in [0, 1].

        Returns:
            The paths of the pictures.
        """
        stem = self.slug if name is None else name
        size = max(_SMALLEST_OVERLAY, min(self.picture.shape[-2:]))
        paths = []
        for each in self.maps:
            if each.map is None:
                continue
            file_stem = ".".join(filter(None, [stem, each.method, each.question.slug]))
            path = Path(folder) / f"{file_stem}.png"
            if arrays:
                from camtrain.evaluation import write_score_map  # only where it is needed: it takes a second

                write_score_map(folder, file_stem, each.map)
            with whole_file(path) as unfinished:
                write_png(contact_sheet([Panel([each.tile(self.picture)])], self.name, size), unfinished)
            paths.append(path)
        return paths

    def sheet_rows(self) -> dict[str, list[Tile]]:
        """The rows of this image in contact sheets: by "" on the sheet of all methods, by a method on its own sheet.

        A method has a sheet of its own, with a column for each question, if there are several questions.
        """
        image = Tile("image", self.picture, self.name)
        answers = self.by_method
        rows = {"": [image, *(each[0].tile(self.picture) for each in answers.values())]}
        for method, maps in answers.items():
            if len(maps) > 1:
                rows[method] = [image, *(replace(each.tile(self.picture), kind=each.question.kind) for each in maps)]
        return rows
