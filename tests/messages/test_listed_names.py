"""Names as a text with commas or as a sequence."""

from __future__ import annotations

import pytest

from camtrain.messages import listed_names


def test_names_are_stripped_and_kept_in_order():
    assert listed_names("x", " b, a ,b") == listed_names("x", ["b", "a ", "b"]) == ["b", "a", "b"]
    assert listed_names("x", (name for name in "ab")) == ["a", "b"]
    assert listed_names("x", "") == [""]


@pytest.mark.parametrize("names", [3.5, None, ["a", 3], [None], object()])
def test_what_is_no_list_of_names(names):
    with pytest.raises(TypeError, match="`x`: expected names, as a sequence or separated by commas, got "):
        listed_names("x", names)
