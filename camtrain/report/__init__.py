"""The answer of a study: which point is best, by a stated rule, and what it costs; as a page, tables and figures."""

from camtrain.report.answer import Answer, Rule, answer_of, answered
from camtrain.report.point_comparison import PointComparison
from camtrain.report.points import Estimate, PointRuns, points_of
from camtrain.report.table import Table
from camtrain.report.write_report import Report, write_report

__all__ = [
    "Answer",
    "Estimate",
    "PointComparison",
    "PointRuns",
    "Report",
    "Rule",
    "Table",
    "answer_of",
    "answered",
    "points_of",
    "write_report",
]
