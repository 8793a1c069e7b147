"""The answer of a study: which point is best, by a stated rule, and what it costs; as a page, tables and figures."""

from camtrain.report.answer import Answer, Rule, answered
from camtrain.report.write_report import Report, write_report

__all__ = ["Answer", "Report", "Rule", "answered", "write_report"]
