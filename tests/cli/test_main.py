"""The commands by their names."""

from __future__ import annotations

import runpy
from importlib.metadata import version

import pytest

from camtrain.cli import main


def test_the_help_lists_all_commands(capsys):
    main(["--help"])
    out = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "explain", "evaluate", "ablate", "report"):
        assert f"\n  {command} " in out


def test_the_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"camtrain {version('camtrain')}\n"


@pytest.mark.parametrize(("words", "message"), [(["explian"], "did you mean 'explain'?"), ([], "usage: camtrain")])
def test_other_commands_are_named(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_python_runs_the_package_as_the_command(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["camtrain", "--version"])
    runpy.run_module("camtrain", run_name="__main__", alter_sys=True)
    assert capsys.readouterr().out == f"camtrain {version('camtrain')}\n"
