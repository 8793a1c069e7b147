"""An error in the data, whose message stays one line on its way out of a loader's processes."""

from __future__ import annotations

import re

_FROM_WORKER = re.compile(r"^(?:Original )?Traceback \(most recent call last\):\n", re.MULTILINE)
_LAST_LINES = re.compile(r"^[A-Za-z_][\w.]*(?:: (?P<message>.*))?\Z", re.DOTALL)


class DataError(ValueError):
    """A file or a row of the user's data cannot be used.

    The message is one line that names the file. PyTorch hands an error of a loader's process on as the text of a
    traceback; this class takes the message out of that text, which becomes a note, `__notes__`.

    Args:
        message: What is wrong, or the text of a worker's traceback that ends with a `DataError`.

    Example:
        >>> str(DataError("cannot read the image a.png: it is empty"))
        'cannot read the image a.png: it is empty'
    """

    def __init__(self, message: str = "") -> None:
        told = message_of_worker(message)
        # A file's name may hold anything.
        super().__init__("\\n".join(told.strip().splitlines()))
        if told != message:
            self.add_note(message)


class MissingImageError(DataError, FileNotFoundError):
    """There is no file where an image should be."""


def message_of_worker(text: str) -> str:
    r"""The message of the error that another process hands on as the text of a traceback; any other text as it is.

    Args:
        text: `str(error)` of what a loader has raised.

    Example:
        >>> message_of_worker(
        ...     'Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        ...     '  File "a.py", line 1, in f\n    raise ValueError("too small")\nValueError: too small\n'
        ... )
        'too small'
        >>> message_of_worker("too small")
        'too small'
    """
    if not _FROM_WORKER.search(text):
        return text
    # Everything below the last line of the last frame, which is indented, as those of all frames are.
    last = re.split(r"\n(?=[^\s])", text.rstrip("\n"))
    for start in range(len(last) - 1, 0, -1):
        # The message may have several lines: it begins below an indented line.
        if last[start - 1].rsplit("\n", 1)[-1].startswith(" "):
            found = _LAST_LINES.match("\n".join(last[start:]))
            return text if found is None else found["message"] or found[0]
    return text
