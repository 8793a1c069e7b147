"""A terminal that only shows text: what is on it after carriage returns, new lines and moves up."""

from __future__ import annotations

import io
import re


class Terminal(io.StringIO):
    """What is written to it, as a stream of a terminal; `screen()` is what one sees."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True

    def screen(self) -> list[str]:
        """The lines that are not empty, with what was written over them."""
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[A|\x1b\[K|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if piece == "\x1b[A":
                row = max(0, row - 1)
            elif piece == "\x1b[K":
                lines[row] = lines[row][:column]
            elif piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + piece + line[column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in lines if line.strip()]
