"""Writes all files of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from camtrain.files import check_inside, write_whole
from camtrain.messages import folded, printable
from camtrain.methods import method_title
from camtrain.pictures import MAP_COLORS, OUTLINES
from camtrain.report.answer import Answer, Rule, answer_of
from camtrain.report.cost_bars import cost_bars
from camtrain.report.costs import time_column, time_note
from camtrain.report.figure_style import report_style, svg_of, write_figure
from camtrain.report.map_sheets import MapSheets, map_sheets
from camtrain.report.page import PageFigure, PageMaps, Section, note_on_choice, page
from camtrain.report.pareto_plane import pareto_plane
from camtrain.report.points import PointRuns
from camtrain.report.removal_curves import removal_curves
from camtrain.report.score_curves import score_curves
from camtrain.report.table import Table
from camtrain.report.tables import score_table
from camtrain.study import Study


@dataclass(frozen=True)
class Report:
    """A report that was written. It prints as its table, its answer, its notes and the path of its page.

    Attributes:
        page: The path of `report.html`.
        answer: The answer in a sentence.
        table: The table of all points, with a line for each.
        notes: What to know of the answer, and what the figures leave out.
        pictures: The paths of the figures as PNG.
        points: The same table, which prints as wide as the terminal.
    """

    page: Path
    answer: str
    table: str
    notes: list[str]
    pictures: list[Path]
    points: Table

    def __repr__(self) -> str:
        return "\n\n".join([str(self.points), *map(folded, [self.answer, *self.notes]), str(self.page)])


def write_report(study: Study, rule: Rule | None = None) -> Report:
    """Write `report.html`, `results.md`, `results.tex` and `figures/` to the folder of a study.

    Args:
        study: The study, with at least one finished run.
        rule: What makes a point the best; `None` is `Rule()`.

    Raises:
        ValueError: If no run is finished, the study does not have the score that the rule names, or its folder of
            figures is a link that leads elsewhere.

    Warns:
        CamtrainWarning: If a file of the study is damaged; it is set aside, and the report goes without it.
    """
    folder = check_inside(study.folder / "figures", study.folder)
    answer = answer_of(study, rule)
    points = [each.runs for each in answer.compared]
    choice = [] if answer.choice is None else [answer.choice]
    scores = score_table(points, answer.table.best)
    tables = [answer.table, *choice, *([] if scores is None else [scores])]
    with report_style():
        sheets = map_sheets(study, points, folder)
        sections = _sections(study, points, answer, sheets, folder)
    path = study.folder / "report.html"
    write_whole(path, page(study, points, answer, sections, tables))
    words = [answer.sentence.replace("<", "&lt;"), *(table.markdown() for table in tables)]
    write_whole(study.folder / "results.md", _joined(words))
    write_whole(study.folder / "results.tex", _joined([table.latex() for table in tables]))
    drawn = [figure.path.with_suffix(".png") for section in sections for figure in section.figures]
    pictures = [*drawn, *sheets.paths.values()]
    of_choice = note_on_choice(study, answer) if answer.scores else ""
    notes = [note for note in (of_choice, sheets.note) if note]
    return Report(path, answer.sentence, answer.table.plain(), notes, pictures, answer.table)


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _sections(
    study: Study, points: Sequence[PointRuns], answer: Answer, sheets: MapSheets, folder: Path
) -> list[Section]:
    def drawn(name: str, make: Callable[[bool], Figure | None], title: str, caption: str) -> list[PageFigure]:
        figure, narrow = make(False), make(True)
        if figure is None or narrow is None:
            return []
        _, svg = write_figure(figure, folder / name)
        return [PageFigure(svg, caption, title, svg_of(narrow, f"{name}_narrow"))]

    name = answer.accuracy_title
    curves = drawn(
        "score_curves",
        lambda is_narrow: score_curves(points, answer, is_narrow=is_narrow),
        f"{name.capitalize()} and scores of the maps over the values of the grid",
        "Mean over the seeds; bars are one standard deviation. Arrows in the titles point in the better direction.",
    )
    plane = drawn(
        "pareto_plane",
        lambda is_narrow: pareto_plane(answer, is_narrow=is_narrow),
        f"{name.capitalize()} against the gain of the maps, with the Pareto front",
        "Both are differences to the baseline, seed by seed; bars are one standard deviation. Up and right is better.",
    )
    ways = drawn(
        "removal_curves",
        lambda is_narrow: removal_curves(study, points, is_narrow=is_narrow),
        "Probability of the class while pixels are inserted or deleted",
        "Insertion should rise early, and deletion should fall early. Mean over images and seeds.",
    )
    cost = drawn(
        "cost_bars",
        lambda is_narrow: cost_bars(answer.compared, is_narrow=is_narrow),
        "Time of a training step and peak memory, divided by the baseline's",
        f"{time_note(time_column(points))} Memory: the peak since the run began.",
    )
    maps = [PageMaps(_maps_of(method), rows) for method, rows in sheets.rows.items()]
    return [
        Section(f"{name.capitalize()} and maps over the grid", curves),
        Section(f"What {name} the maps cost", plane),
        Section("The same images, point by point", maps=maps, words=_words_on_maps(sheets)),
        Section("Insertion and deletion", ways),
        Section("Cost", cost),
    ]


def _words_on_maps(sheets: MapSheets) -> str:
    meaning = f"{MAP_COLORS}; {OUTLINES}" if sheets.has_outlines else MAP_COLORS
    return (
        "Below each map: the predicted class and its probability; ✗ marks a wrong one. "
        f"{meaning[0].upper()}{meaning[1:]}. A click on a picture shows it large, and a second click puts it back. "
        f"{sheets.note}"
    ).strip()


def _maps_of(method: str) -> str:
    return f"{printable(method_title(method))} of the same images for each point"
