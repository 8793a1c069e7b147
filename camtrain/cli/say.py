"""Words beside a progress bar."""

from __future__ import annotations

import sys

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]


def say(command: str, message: str) -> None:
    """A line of a command on stderr, above a progress bar if there is one."""
    tqdm.write(f"camtrain {command}: {message}", file=sys.stderr)
