"""Text of any form as one line of a terminal."""

from __future__ import annotations

from typing import Any

from camtrain.messages.printable import printable

LONGEST = 800


def one_line(text: str, longest: int = LONGEST) -> str:
    r"""The text in one line, with a space for other white space and a mark for what a terminal would act on.

    Args:
        text: Any text, such as the message of an error, which may quote a file.
        longest: The largest number of characters; a longer text is cut.

    Example:
        >>> one_line("expected a number,\n\tgot \x1b[2J")
        'expected a number, got �[2J'
        >>> one_line("abcdef", longest=4)
        'abc…'
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def error_message(error: Any) -> str:
    """What an error says, without Python's own additions.

    Example:
        >>> error_message(FileNotFoundError(2, "No such file or directory", "absent.png"))
        'absent.png: No such file or directory'
        >>> error_message(KeyError("no metric is called 'auc'"))
        "no metric is called 'auc'"
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
