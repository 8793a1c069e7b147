"""Which files are meant, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from camtrain.explanation.photographs import photograph_paths, unique_names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`photos` with a.png, sub/b.jpg and a text file, `more` with c.png, and `empty`."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a.png", "photos/sub/b.jpg", "more/c.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(name)
    Path("photos/notes.txt").write_text("no image")
    Path("empty").mkdir()
    return tmp_path


def test_files_and_folders_once_and_in_order(folder):
    given = ["more/c.png", "photos", "photos/a.png", "photos/../more"]
    paths, problems = photograph_paths(map(Path, given), Path("out"))
    assert [path.as_posix() for path in paths] == ["more/c.png", "photos/a.png", "photos/sub/b.jpg"]
    assert problems == []


def test_what_is_not_there_is_named(folder):
    paths, problems = photograph_paths([Path("absent.png"), Path("photos/a.png"), Path("empty")], Path("out"))
    assert [path.name for path in paths] == ["a.png"]
    assert [(type(problem), str(problem)) for problem in problems] == [
        (FileNotFoundError, "no such image: absent.png"),
        (ValueError, "no image in the folder empty"),
    ]


def test_output_of_an_earlier_run_is_not_explained(folder):
    paths, _ = photograph_paths([Path("photos")], Path("photos/sub"))
    assert [path.name for path in paths] == ["a.png"]
    with pytest.raises(ValueError, match="`left_out`: expected another folder than one of images, got photos"):
        photograph_paths([Path("photos")], Path("photos"))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["a/x.png", "a/x.jpg"], ["x.png", "x.jpg"]),
        (["a/x.png", "b/x.png", "b/y.png"], ["a-x", "b-x", "y"]),
        (["c/a/x.png", "d/a/x.png"], ["c-a-x", "d-a-x"]),
        (["a/x.png", "b/X.png"], ["a-x", "b-X"]),
    ],
)
def test_names_are_different(paths, names):
    assert unique_names([Path(path) for path in paths]) == names


def test_names_that_are_taken_are_not_given_again():
    assert unique_names([Path("a/image_0.png"), Path("a/b.png")], ["Image_0"]) == ["image_0.png", "b"]


def test_even_whole_paths_that_look_alike_get_names():
    paths = [Path("/a-b/x.png"), Path("/a/b-x.png"), Path("/a-b-x.png"), Path("/c/a-b-x.png"), Path("/d/x.png")]
    assert len(set(unique_names(paths))) == 5
    assert unique_names([]) == []
