"""Warnings of camtrain are lines of a command; those of others stay what they are."""

from __future__ import annotations

import warnings

import pytest

from camtrain.cli.console import say, warnings_as_lines
from camtrain.messages import CamtrainWarning


def test_own_warnings_are_lines_each_once(capsys):
    with warnings_as_lines("score", lambda message: message.replace("`folder`", "--out")):
        for _ in range(2):
            warnings.warn("`folder`: it is old", CamtrainWarning, stacklevel=1)
        warnings.warn("another", CamtrainWarning, stacklevel=1)
    assert capsys.readouterr() == (
        "", "camtrain score: warning: --out: it is old\ncamtrain score: warning: another\n",
    )  # fmt: skip


def test_warnings_of_others_are_not(capsys):
    with pytest.warns(UserWarning, match="of another package"), warnings_as_lines("score", str):
        warnings.warn("of another package", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_afterwards_all_is_as_before():
    with warnings_as_lines("score", str):
        pass
    with pytest.warns(CamtrainWarning, match="later"):
        warnings.warn("later", CamtrainWarning, stacklevel=1)


def test_a_message_names_its_command(capsys):
    say("score", "done")
    assert capsys.readouterr() == ("", "camtrain score: done\n")
