"""A study on disk: many runs, each with its resolved configuration, and the table of their scores."""

from camtrain.study.asked import Asked
from camtrain.study.grid import Axis, grid
from camtrain.study.study import Row, Study
from camtrain.study.trial import Trial

__all__ = ["Asked", "Axis", "Row", "Study", "Trial", "grid"]
