"""What `ablate` returns: a study, how its trials ended, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camtrain.ablation.look_over import warn_of_half_trained, warn_of_unfinished
from camtrain.ablation.outcome import Outcome
from camtrain.ablation.study_summary import log_study
from camtrain.files import data_frame
from camtrain.report import Answer, Report, Rule, answer_of, write_report
from camtrain.study import Row, Study


@dataclass(frozen=True)
class Ablation:
    """A study that was run, to its end or in part.

    Attributes:
        study: The study on disk.
        outcomes: How its trials ended; empty for a study that was opened.
    """

    study: Study
    outcomes: Sequence[Outcome] = field(default=())

    @classmethod
    def opened(cls, folder: str | Path, *, only: bool = False) -> Ablation:
        """The study that a folder holds.

        Args:
            folder: The folder of the study.
            only: Leave the points of earlier grids out of the table, the answer and the report.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If its file is damaged, and the copy of it too.

        Warns:
            CamtrainWarning: If a file is damaged or gone, a trial is not finished, or its training may have been
                stopped.
        """
        study = Study.opened(Path(folder))
        study = study.without_earlier() if only else study
        warn_of_half_trained(study)
        warn_of_unfinished(study)
        return cls(study)

    @property
    def folder(self) -> Path:
        """The folder of the study."""
        return self.study.folder

    @property
    def failed(self) -> list[Outcome]:
        """The trials that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def unfinished(self) -> list[Outcome]:
        """The trials that did not finish: those that failed, and those that were stopped before their end."""
        return [outcome for outcome in self.outcomes if not outcome.is_finished]

    @property
    def rows(self) -> list[Row]:
        """The results of all finished trials: the values of the grid, the seed and every score by its log key."""
        return self.study.rows()

    def to_frame(self) -> Any:
        """The results of all finished trials as a pandas data frame.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return data_frame(self.rows)

    def answer(self, margin: float = 0.01, score: str | None = None, leakage_margin: float = 0.03) -> Answer:
        """Which point is best, by a stated rule: the largest gain of maps at equal accuracy and leakage.

        Args:
            margin: The accuracy that the best point may lose against the baseline, a fraction.
            score: The score whose gain decides: a metric, or metric/method. The default is the mean gain over
                the scores of faithfulness and localization but `win` and leakage.
            leakage_margin: How much more the maps of the best point may leak than the baseline's, a fraction.

        Raises:
            ValueError: If no trial is finished, or the study has no such score.
        """
        return answer_of(self.study, Rule(margin, score, leakage_margin))

    def report(
        self, margin: float = 0.01, score: str | None = None, leakage_margin: float = 0.03, *, log: bool = False
    ) -> Report:
        """Write `report.html`, `results.csv`, tables and figures to the folder of the study.

        Args:
            margin: As for `answer`.
            score: As for `answer`.
            leakage_margin: As for `answer`.
            log: True also logs the table and the figures to W&B, as a run `summary` in the study's group.

        Raises:
            ValueError: If no trial is finished, or the study has no such score.
        """
        self.study.write_results()
        report = write_report(self.study, Rule(margin, score, leakage_margin))
        if log:
            log_study(self.study, report.pictures)
        return report

    def __repr__(self) -> str:
        return f"{self.folder}: {len(self.rows)} of {len(self.study.reported)} runs finished"

    def _repr_html_(self) -> str:
        answer = self.answer()._repr_html_() if self.rows else ""
        return f"<p>{len(self.rows)} of {len(self.study.reported)} runs finished</p>{answer}"
