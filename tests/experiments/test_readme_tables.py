from __future__ import annotations

import pytest

from experiments.readme_tables import markdown_table, put_texts, text_between


def test_markdown_table():
    table = markdown_table(["", "seconds"], [["a | b", "1"], ["c", ""]])
    assert table == "| | seconds |\n| --- | --- |\n| a \\| b | 1 |\n| c | |"
    with pytest.raises(ValueError, match="expected 2 cells in each, got 1"):
        markdown_table(["", "seconds"], [["a"]])


def test_texts_are_put_between_their_markers(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- one of x -->\nold\n<!-- end -->\nmiddle\n<!-- two of x -->\n<!-- end -->\nafter\n")
    put_texts({"two of x": "2", "one of x": "new\nlines", "three of x": "not shown here"}, readme)
    assert readme.read_text() == (
        "before\n<!-- one of x -->\nnew\nlines\n<!-- end -->\nmiddle\n<!-- two of x -->\n2\n<!-- end -->\nafter\n"
    )
    assert text_between(readme.read_text(), "one of x") == "new\nlines"
    assert text_between(readme.read_text(), "three of x") is None
    told = capsys.readouterr().err
    assert told == f"not shown: {readme} lacks the lines <!-- three of x --> and <!-- end -->\n"


def test_a_readme_without_markers_is_not_touched(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("a text\n")
    before = readme.stat().st_ino  # a file that is written anew is another one
    put_texts({"one of x": "1"}, readme)
    assert readme.read_text() == "a text\n"
    assert readme.stat().st_ino == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<!-- one of x -->\nold\n", "expected the line <!-- end -->"),
        ("<!-- one of x -->\nold\n<!-- two of x -->\n<!-- end -->\n", "expected the line <!-- end -->"),
        ("<!-- one of x -->\n<!-- end -->\n" * 2, "once, found it 2 times"),
    ],
)
def test_broken_markers_are_an_error_and_change_nothing(tmp_path, text, sentence):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        put_texts({"one of x": "1"}, readme)
    assert readme.read_text() == text
