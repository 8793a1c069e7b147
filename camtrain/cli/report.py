"""`camtrain report`: the answer of a study, as a page, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from camtrain.cli.report_parser import report_parser
from camtrain.cli.say import say
from camtrain.report import Rule, write_report
from camtrain.study import Study


def report(words: Sequence[str]) -> int:
    """Run `camtrain report <words>`.

    Args:
        words: what follows the subcommand.

    Returns:
        The exit status: 0, or 1 if no run is finished.

    Raises:
        SystemExit: with status 2 if an argument is wrong, with 0 after the help.
    """
    parser = report_parser()
    settings = parser.parse_args(words)
    try:
        study = Study.opened(settings.folder)
        rule = Rule(settings.margin / 100, settings.score)
        if not study.rows():
            say("report", f"no run of {settings.folder} is finished; `camtrain ablate` goes on with it")
            return 1
        study.write_results()
        print_report(study, rule)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


def print_report(study: Study, rule: Rule) -> list[Path]:
    """Write the report, and print its table, its answer, what it leaves out and where it is.

    Returns:
        The figures as PNG.
    """
    written = write_report(study, rule)
    parts = [written.table, written.answer, *written.notes, str(written.page)]
    print("\n" + "\n\n".join(parts))
    return written.pictures
