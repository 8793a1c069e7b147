"""A study on disk: many runs, each with its resolved configuration, and the table of their scores."""

from camtrain.study.grid import Axis, grid
from camtrain.study.score_prefixes import EVALUATED, VALIDATED
from camtrain.study.study import Row, Study
from camtrain.study.study_file import MADE_AGAIN
from camtrain.study.study_plan import StudyPlan
from camtrain.study.trial import Trial

__all__ = ["EVALUATED", "MADE_AGAIN", "VALIDATED", "Axis", "Row", "Study", "StudyPlan", "Trial", "grid"]
