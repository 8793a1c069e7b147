"""Empty words of a command line, which a shell makes of a variable that is not set."""

from __future__ import annotations

from collections.abc import Sequence


def empty_word(words: Sequence[str]) -> str | None:
    """What to say of the first empty word of a command; `None` if there is none.

    Example:
        >>> empty_word(["--out", "study", "--score="])
        '--score: expected a value, got an empty word'
        >>> empty_word(["--images", "a.png", ""])
        "expected a word after 'a.png', got an empty one"
        >>> empty_word(["--set=model.stem=", "--seeds", "0"])
    """
    before = ""
    for word in words:
        option, equals, value = word.partition("=")
        is_option = word.startswith("--")
        named = option if is_option and equals and not value.strip() else before if not word.strip() else None
        if named is not None and named.startswith("--"):
            return f"{named}: expected a value, got an empty word"
        if named is not None:
            return f"expected a word{f' after {named!r}' if named else ''}, got an empty one"
        before = word
    return None
