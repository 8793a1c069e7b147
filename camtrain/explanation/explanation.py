"""The explanation of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.explanation.photo_view import PhotoView
from camtrain.explanation.questions import Question
from camtrain.files import whole_file
from camtrain.methods import method_title
from camtrain.pictures import (
    Panel,
    Pixels,
    Tile,
    class_name,
    contact_sheet,
    figure_of,
    note_tile,
    show_pixels,
    title_of,
    write_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
"""The largest number of tiles side by side on a sheet; further ones go on below."""

_SMALLEST_OVERLAY = 224  # pixels of the shorter side
_LONGEST = 2  # the largest ratio of the sides of a picture on a sheet


@dataclass(frozen=True)
class ExplainedMap:
    """The answer of one method to one question about an image.

    Attributes:
        method: The name of the method.
        question: The question.
        map: (H, W) in [0, 1] at the size of the image; `None` where the method made none.
        gradient: (C, H, W), for methods at the input; `None` for the others.
        reason: Why there is no map; empty where there is one.
        reduction: How the channels of `gradient` became the map; see `saliency_map`.
    """

    method: str
    question: Question
    map: Tensor | None = None
    gradient: Tensor | None = None
    reason: str = ""
    reduction: ChannelReduction = "max"

    def tile(self, view: PhotoView, title: str | None = None) -> Tile:
        """A picture of the map, or a note on why there is none.

        Args:
            view: The picture below the map.
            title: The title; `None` is that of the question.
        """
        title, heading = self.question.title if title is None else title, method_title(self.method)
        if self.map is None:
            note = self.question.unanswerable or f"none: {self.reason}"
            return note_tile(heading, view.picture, note, title)
        if self.gradient is not None and self.reduction == "max":
            title = title_of(title, self.gradient, "(zero)")
            return Tile(heading, view.with_gradient(self.gradient), title, outline=view.outline)
        # A picture of magnitudes would show what speaks against the class as brightly as what speaks for it.
        return Tile(heading, view.overlaid(self.map), title_of(title, self.map, "(flat map)"), outline=view.outline)


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
        photograph: The picture that maps are drawn on: the photograph at its own size, if it is not larger than 1024
            pixels; `None` is `picture`.
        label: The name of the image's class; `None` where it is not known.
    """

    name: str
    slug: str
    path: Path | None
    picture: Tensor
    probabilities: Tensor
    class_names: Sequence[str] | None
    maps: Sequence[ExplainedMap]
    title: str = ""
    photograph: PhotoView | None = None
    label: str | None = None

    @property
    def view(self) -> PhotoView:
        """The picture that maps are drawn on."""
        return PhotoView.of_input(self.picture) if self.photograph is None else self.photograph

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
        view = self.view.within(_LONGEST)
        image = self._image_tile(view)
        return [
            Panel([image, *(each.tile(view) for each in self.maps if each.question == question)])
            for question in questions
        ]

    def figure(self) -> Figure:
        """The image and its maps side by side, as a matplotlib figure; titles name the class and its probability."""
        return figure_of(self._sheet())

    def show(self) -> None:
        """Show the image and its maps side by side: in the notebook, or in the viewer of the system."""
        show_pixels(self._sheet())

    def _sheet(self) -> Pixels:
        title = "; ".join([self.title or self.name, *self.view.meaning])
        return contact_sheet(self.panels(), title, _SMALLEST_OVERLAY, COLUMNS)

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
        size = max(_SMALLEST_OVERLAY, min(self.view.picture.shape[-2:]))
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
                write_png(contact_sheet([Panel([each.tile(self.view)])], self.name, size), unfinished)
            paths.append(path)
        return paths

    def sheet_rows(self) -> dict[str, list[Tile]]:
        """The rows of this image in contact sheets: by "" on the sheet of all methods, by a method on its own sheet.

        A method has a sheet of its own, with a column for each question, if there are several questions. On the sheet
        of all methods the question stands once, below the name of the image.
        """
        view, answers = self.view.within(_LONGEST), self.by_method
        image = self._image_tile(view)
        asked = replace(image, title=f"{image.title}\n{self.question.kind}: {self.question.title}")
        rows = {"": [asked, *(each[0].tile(view, "") for each in answers.values())]}
        for method, maps in answers.items():
            if len(maps) > 1:
                rows[method] = [image, *(replace(each.tile(view), kind=each.question.kind) for each in maps)]
        return rows

    def _image_tile(self, view: PhotoView) -> Tile:
        title = self.name if self.label is None else f"{self.name}\nlabel: {self.label}"
        return Tile("image", view.shown(), title, outline=view.outline)
