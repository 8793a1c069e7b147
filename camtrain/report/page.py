"""The report as one HTML page that opens from disk."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from camtrain.messages import printable
from camtrain.report.answer import Answer
from camtrain.report.figure_style import inline_svg
from camtrain.report.map_tiles import MapRow
from camtrain.report.points import PointRuns, number, short
from camtrain.report.sentences import listed
from camtrain.report.table import Table
from camtrain.report.value_names import value_names
from camtrain.study import VALIDATED, Row, Study

_PROVENANCE = ("commit", "device")
_MOST_POINTS = 7  # columns of a table beside the first one


@dataclass(frozen=True)
class PageFigure:
    """A picture on the page.

    Attributes:
        path: An SVG file, which becomes part of the page.
        caption: The text below the picture.
        title: What the picture shows, for screen readers.
        narrow: The SVG that takes its place on a narrow page.
    """

    path: Path
    caption: str
    title: str
    narrow: str

    @property
    def element(self) -> Markup:
        """The picture as an HTML element."""
        return Markup(inline_svg(self.path.read_text(encoding="utf-8"), self.path.stem, self.title))

    @property
    def narrow_element(self) -> Markup:
        """The picture of a narrow page as an HTML element."""
        return Markup(inline_svg(self.narrow, f"{self.path.stem}_narrow", self.title))


@dataclass(frozen=True)
class PageMaps:
    """The maps of one method on the page.

    Attributes:
        title: What they are.
        rows: The images with their maps.
    """

    title: str
    rows: list[MapRow]


@dataclass(frozen=True)
class Section:
    """A heading with figures or maps below it, and words on them."""

    title: str
    figures: list[PageFigure] = field(default_factory=list)
    maps: list[PageMaps] = field(default_factory=list)
    words: str = ""


def page(
    study: Study, points: Sequence[PointRuns], answer: Answer, sections: Sequence[Section], tables: Sequence[Table]
) -> str:
    """The page with all pictures embedded, so that it needs no internet connection.

    Args:
        study: The study that the page reports.
        points: The points with a finished run.
        answer: The answer of the study.
        sections: The sections; those without figures are left out.
        tables: The tables, that of all points first.
    """
    commands = dict.fromkeys([*study.commands, study.plan.command])
    environment = Environment(
        loader=PackageLoader("camtrain.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=_title(study),
        name=printable(study.plan.name),
        unbroken=_unbroken,
        finished=sum(len(runs.rows) for runs in points),
        planned_runs=len(study.reported),
        answer=answer,
        note=note_on_choice(study, answer),
        planned=_planned(study),
        sections=[section for section in sections if section.figures or section.maps],
        tables=[table for table in tables if not _has_points_as_columns(table)],
        score_tables=[part for table in tables if _has_points_as_columns(table) for part in table.parts(_MOST_POINTS)],
        is_best_named=tables[0].best is not None,
        commands=[
            # Of a study that somebody else made, no other command is shown to be copied.
            *(shlex.join(words) for words in commands if words[:2] == ("camtrain", "ablate")),
            f"camtrain report {shlex.quote(str(study.folder))}",
        ],
        provenance=_provenance(points),
    )


def _title(study: Study) -> str:
    """What was varied, and of which configuration; the name of a study's folder says little."""
    keys = listed(list(dict.fromkeys(short(axis.key) for axis in study.plan.axes)))
    config = printable(Path(study.plan.config).stem)
    return f"{config}: {keys} compared" if config and keys else f"{printable(study.plan.name)}: seeds compared"


def _unbroken(cell: str) -> str:
    r"""A number with its unit or spread in one line; brackets and the end of an interval may be below.

    Example:
        >>> _unbroken("0.64 × (0.1 s)").split(" "), _unbroken("1.0 ± 0.1").split(" ")
        (['0.64\xa0×', '(0.1\xa0s)'], ['1.0\xa0±\xa00.1'])
    """
    return re.sub(r" (?!\(|to )", "\N{NO-BREAK SPACE}", cell)


def _has_points_as_columns(table: Table) -> bool:
    """Whether a table grows in width with the number of points."""
    return table.headings[0] != "point"


def note_on_choice(study: Study, answer: Answer) -> str:
    """That the test images chose the point that they judge, and why; empty if other images chose it."""
    on_test = answer.accuracy.startswith("test/") or (study.plan.evaluation is not None and study.plan.split == "test")
    if answer.on_validation or not on_test:
        return ""
    plan, remedy = study.plan, ""
    if plan.evaluation is None:
        why = "no maps were scored"
    elif plan.validation is None:
        why = "no maps were scored on validation images"
        remedy = ", or let `camtrain ablate` score them (`--num_validation_images`)"
    elif not _is_any_validated(answer):
        why = "there are no validation images, or they are the test images"
        remedy = ", or give the data both validation and test images"
    else:
        why = "not every point has these scores on validation images"
        remedy = ", or finish the runs that lack them; `--only` leaves earlier grids out"
    return (
        f"Points were compared on the test images, since {why}. So take figures that you publish from other "
        f"images{remedy}."
    )


def _is_any_validated(answer: Answer) -> bool:
    rows = [row for each in answer.compared for row in each.runs.rows.values()]
    return any(column.startswith(VALIDATED) and number(row, column) is not None for row in rows for column in row)


def _planned(study: Study) -> list[tuple[str, str]]:
    plan = study.plan
    values = {axis.key: list(axis.values) for axis in plan.axes}
    for key in dict.fromkeys(key for trial in study.reported for key in trial.point):
        values[key] = [trial.point[key] for trial in study.reported if key in trial.point]
    grid = [(short(key), ", ".join(value_names(of_key).values())) for key, of_key in values.items()]
    scores = "none" if plan.evaluation is None else str(plan.evaluation)
    chosen_by = [] if plan.validation is None else [("the point is chosen by", str(plan.validation))]
    seeds = ", ".join(map(str, dict.fromkeys(trial.seed for trial in study.reported)))
    return [
        ("configuration", printable(plan.config)),
        *grid,
        ("seeds", seeds),
        ("scores of the maps", scores),
        *chosen_by,
    ]


def _provenance(points: Sequence[PointRuns]) -> list[tuple[str, str]]:
    """Commit, device and versions that the runs were made with; if runs differ, all of them."""
    rows = [row for runs in points for row in runs.rows.values()]
    columns = [column for column in rows[0] if column in _PROVENANCE or column.startswith("version/")]
    return [
        (printable(column.removeprefix("version/")), ", ".join(dict.fromkeys(_text(row, column) for row in rows)))
        for column in columns
    ]


def _text(row: Row, column: str) -> str:
    return printable(str(row.get(column, "–")))
