"""What can be a path on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from camtrain.files import local_path


def test_paths_of_what_is_there_and_what_is_not(tmp_path):
    assert local_path(tmp_path, "x") == tmp_path
    assert local_path("no/such", "x") == Path("no/such")


@pytest.mark.parametrize("source", [7, None, ["a"], b"a"])
def test_what_is_no_path(source):
    with pytest.raises(TypeError, match="`x`: expected a path, got "):
        local_path(source, "x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "got an empty text"),
        ("  ", "got an empty text"),
        ("a\0b", ".* with a NUL in it"),
        ("y" * 5000, "got y{100}…: File name too long"),
    ],
)
def test_names_that_no_file_has(source, message):
    with pytest.raises(ValueError, match=f"`x`: expected a path, {message}"):
        local_path(source, "x")
