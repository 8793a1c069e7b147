"""`camtrain explain`: what a network looks at in photos, as pictures."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.cli.contact_sheets import ContactSheets
from camtrain.cli.explain_parser import explain_parser
from camtrain.cli.explainer import ExplainedPhoto, Explainer
from camtrain.cli.network_arguments import device_named, method_names, methods_of, override_of
from camtrain.cli.photos import photo_paths, unique_names
from camtrain.cli.question import RUNNER_UP, Questions, class_index
from camtrain.cli.ready_network import ready_network
from camtrain.cli.say import say
from camtrain.methods import TITLES
from camtrain.pictures import Panel, Tile, class_name, contact_sheet, write_png

_SHEET = "contact_sheet"
_SMALLEST_OVERLAY = 224  # pixels of the shorter side


def explain(words: Sequence[str]) -> int:
    """Run `camtrain explain <words>`.

    Args:
        words: what follows the subcommand.

    Returns:
        The exit status: 0, or 1 if an image could not be read or no method could be used.

    Raises:
        SystemExit: with status 2 if an argument is wrong, with 0 after the help.
    """
    parser = explain_parser()
    settings = parser.parse_args(words)
    try:
        paths, problems = photo_paths(settings.images, settings.out)
        explainer = _explainer(settings)
        names = unique_names(paths)
        _check_not_overwritten(settings.out, paths, names, explainer)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    for problem in problems:
        say("explain", f"error: {problem}")
    for remark in explainer.ready.remarks:
        say("explain", f"warning: {remark}")
    explained = _write_all(explainer, dict(zip(paths, names, strict=True)), settings.out)
    for method in explainer.reasons:
        _say_why(method, explainer)
    if not explained:
        say("explain", "error: there is no image to explain")
    return 0 if len(explained) == len(paths) and not problems and explainer.used else 1


def _write_all(explainer: Explainer, names: dict[Path, str], out: Path) -> list[Path]:
    """Explain all photos, write what there is to see, print a table; the photos that could be read."""
    sheets = ContactSheets(out, explainer.ready.title)
    rows: list[tuple[str, ...]] = []
    explained = []
    with tqdm(total=len(names) * len(explainer.methods), desc="explain", unit="map", disable=not names) as bar:
        for number, (path, name) in enumerate(names.items(), start=1):
            try:
                photo = explainer.explained(path, bar)
            except (ValueError, OSError) as error:
                say("explain", f"error: {error}")
            else:
                files = _write_overlays(photo, path, out / name)
                _add_to_sheets(sheets, photo, path)
                rows.append(_row(explainer, photo, path, f"{name}.*.png ({files})"))
                explained.append(path)
            bar.update(number * len(explainer.methods) - bar.n)
        bar.set_postfix_str("")
    sheets.finish()
    if rows:
        print(_table([("image", "predicted class", "probability", "files"), *rows]))
        print(f"\nin {out}: " + ", ".join(path.name for path in sheets.paths))
    return explained


def _write_overlays(photo: ExplainedPhoto, path: Path, stem: Path) -> int:
    """A file for each method and question that has a map; their number."""
    tile_size = max(_SMALLEST_OVERLAY, min(photo.picture.shape[-2:]))
    files = 0
    for method, tiles in photo.tiles.items():
        for question, tile in zip(photo.questions, tiles, strict=True):
            if not tile.note:
                overlay = contact_sheet([Panel([tile])], path.name, tile_size)
                write_png(overlay, stem.with_name(".".join(filter(None, [stem.name, method, question.slug, "png"]))))
                files += 1
    return files


def _add_to_sheets(sheets: ContactSheets, photo: ExplainedPhoto, path: Path) -> None:
    image = Tile("image", photo.picture, path.name)
    sheets.add(_SHEET, [image, *(tiles[0] for tiles in photo.tiles.values())])
    if len(photo.questions) > 1:
        for method, tiles in photo.tiles.items():
            answers = [replace(tile, kind=asked.kind) for tile, asked in zip(tiles, photo.questions, strict=True)]
            sheets.add(f"{_SHEET}_{method}", [image, *answers], TITLES[method])


def _row(explainer: Explainer, photo: ExplainedPhoto, path: Path, files: str) -> tuple[str, ...]:
    predicted = int(photo.probabilities.argmax())
    name = class_name(explainer.ready.class_names, predicted)
    return str(path), name, f"{float(photo.probabilities[predicted]):.1%}", files


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns, aligned.

    Example:
        >>> print(_table([("image", "class"), ("a.png", "cat"), ("long.png", "dog")]))
        image     class
        a.png     cat
        long.png  dog
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _say_why(method: str, explainer: Explainer) -> None:
    reason = explainer.reasons[method]
    where = "made no map of some images" if method in explainer.used else "can not be used here"
    say("explain", f"{'warning' if explainer.used else 'error'}: {TITLES[method]} {where}: {reason}")


def _explainer(settings: Namespace) -> Explainer:
    """All that the arguments say, checked by a first pass of the network."""
    names = method_names(settings.methods)
    device = device_named(settings.device)
    torch.manual_seed(settings.seed)  # of random weights
    ready = ready_network(
        settings.checkpoint, settings.network, settings.weights, settings.config, override_of(settings)
    )
    ready, classes = ready.ready_on(device)
    return Explainer(
        ready, methods_of(names, ready.network, settings), _questions(settings, ready.class_names, classes)
    )


def _questions(settings: Namespace, class_names: Sequence[str] | None, classes: int) -> Questions:
    def index(argument: str, word: str | None) -> int | None:
        return None if word is None else class_index(argument, word, class_names, classes)

    contrast = settings.contrast if settings.contrast == RUNNER_UP else index("--contrast", settings.contrast)
    return Questions(index("--class", settings.class_), settings.top_k, settings.counterfactual, contrast)


def _check_not_overwritten(out: Path, paths: Sequence[Path], names: Sequence[str], explainer: Explainer) -> None:
    """No photo that is to be explained may be one of the files to write.

    Raises:
        ValueError: if one is.
    """
    for path in paths:
        begins = [_SHEET, *(f"{name}.{method}." for name in names for method in explainer.methods)]
        mine = path.name.startswith(tuple(begins)) and path.suffix.lower() == ".png"
        if mine and path.resolve().parent == out.resolve():
            raise ValueError(f"`--out`: {path} would be overwritten; choose another folder")
