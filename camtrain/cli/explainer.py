"""From a photo to the tiles that explain what a network says of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.cli.photos import upright_photo
from camtrain.cli.question import Question, Questions
from camtrain.cli.ready_network import ReadyNetwork
from camtrain.cli.say import say
from camtrain.methods import TITLES, Method, normalized_maps
from camtrain.pictures import Tile, gradient_tile, map_tile, note_tile


@dataclass(frozen=True)
class ExplainedPhoto:
    """What there is to see of one photo.

    Attributes:
        picture: (3, H, W) RGB in [0, 1], what the network saw of it.
        probabilities: (K,) of the classes.
        questions: what was asked.
        tiles: by the name of the method, one for each question; one without a map has a note.
    """

    picture: Tensor
    probabilities: Tensor
    questions: list[Question]
    tiles: dict[str, list[Tile]]


class Explainer:
    """Explains photos one by one, so that nothing depends on what is explained beside a photo.

    Args:
        ready: the network.
        methods: by their names.
        questions: asked of every photo.

    Attributes:
        reasons: why a method made no map, by its name; the first reason of each.
        used: names of the methods that made one.
    """

    def __init__(self, ready: ReadyNetwork, methods: Mapping[str, Method], questions: Questions) -> None:
        self.ready = ready
        self.methods = methods
        self.questions = questions
        self.reasons: dict[str, str] = {}
        self.used: set[str] = set()

    def explained(self, path: Path, bar: tqdm) -> ExplainedPhoto:
        """Explain a photo.

        Args:
            path: of the photo.
            bar: advanced by one for each method.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it can not be read, or the network can not be run on it.
        """
        image = self.ready.input(upright_photo(path))
        picture = self.ready.preprocessing.picture(image[0])
        probabilities = self.ready.probabilities(image)
        asked = self.questions.of(probabilities, self.ready.class_names)
        tiles: dict[str, list[Tile]] = {}
        for name in self.methods:
            bar.set_postfix_str(TITLES[name])
            tiles[name] = [self._tile(name, path, image, picture, question) for question in asked]
            bar.update()
        return ExplainedPhoto(picture, probabilities, asked, tiles)

    def _tile(self, name: str, path: Path, image: Tensor, picture: Tensor, question: Question) -> Tile:
        if question.unanswerable:
            return note_tile(TITLES[name], picture, question.unanswerable, question.title)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                tile = self._map(name, image, picture, question)
                self.used.add(name)
            except (ValueError, RuntimeError) as error:
                self.reasons.setdefault(name, _reason(error))
                tile = note_tile(TITLES[name], picture, f"none: {_reason(error)}", question.title)
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            say("explain", f"warning: {path}, {TITLES[name]}: {message}")
        return tile

    def _map(self, name: str, image: Tensor, picture: Tensor, question: Question) -> Tile:
        method = self.methods[name]
        if isinstance(method, BaseAttribution):
            gradient = _finite(method(image, question.class_idx)[0])
            return gradient_tile(TITLES[name], gradient, question.title)
        return map_tile(
            TITLES[name], picture, _finite(normalized_maps(method, image, question.class_idx)[0]), question.title
        )


def _finite(values: Tensor) -> Tensor:
    if not bool(values.isfinite().all()):
        raise ValueError("the map is not finite")
    return values.cpu()


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory; a smaller --max-batch may help"
    return " ".join(str(error).split()) or type(error).__name__
