"""A table of texts: in a terminal, in a notebook, in Markdown and in LaTeX."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import escape
from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.messages import folded, folded_table

_LATEX = {"λ": r"$\lambda$", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "−": "$-$"}


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns. It prints as wide as the terminal.

    Attributes:
        title: What the table shows.
        headings: The heading of each column.
        rows: The rows, each as long as the headings.
        best: Index of the row that the answer names; `None` if it names none.
        best_column: Index of the column that the answer names; `None` if it names none.
    """

    title: str
    headings: list[str]
    rows: list[list[str]]
    best: int | None = None
    best_column: int | None = None

    def __str__(self) -> str:
        return self.folded()

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.title)}</p>\n{self._made('html')}"

    def plain(self) -> str:
        """The table with a line for each row, however long."""
        return f"{self.title}\n\n{self._made('simple')}"

    def folded(self, width: int | None = None) -> str:
        """The table for a terminal: columns that do not fit go to a further table below.

        Args:
            width: The largest number of characters in a line; `None` is the width of the terminal.
        """
        return f"{folded(self.title, width)}\n\n{folded_table(self.headings, self.rows, width)}"

    def parts(self, most: int) -> list[Table]:
        """The table as several with at most this number of columns beside the first one, which each of them has."""
        found = []
        for start in range(1, max(2, len(self.headings)), most):
            end = min(start + most, len(self.headings))
            rows = [[row[0], *row[start:end]] for row in self.rows]
            is_here = self.best_column is not None and start <= self.best_column < end
            place = self.best_column - start + 1 if is_here and self.best_column is not None else None
            headings = [self.headings[0], *self.headings[start:end]]
            found.append(replace(self, headings=headings, rows=rows, best_column=place))
        return found

    def markdown(self) -> str:
        r"""The table for a README.

        Example:
            >>> print(Table("title", ["point"], [["a | b"]]).markdown())
            ### title
            <BLANKLINE>
            | point   |
            |---------|
            | a \| b  |
        """
        escaped = Table(
            self.title, list(map(_in_markdown, self.headings)), [list(map(_in_markdown, row)) for row in self.rows]
        )
        return f"### {self.title}\n\n{escaped._made('github')}"

    def latex(self) -> str:
        """The table for a paper; it needs the LaTeX package booktabs."""
        made = self._made("latex_booktabs")
        title = self.title.replace("%", r"\%")
        for symbol, command in _LATEX.items():
            made, title = made.replace(symbol, command), title.replace(symbol, command)
        return f"% {self.title}\n\\begin{{table}}\n\\centering\n\\caption{{{title}}}\n{made}\n\\end{{table}}"

    def _made(self, form: str) -> str:
        return str(tabulate(self.rows, self.headings, tablefmt=form, disable_numparse=True))


def _in_markdown(cell: str) -> str:
    """A cell that no reader of Markdown takes for HTML, or for two cells."""
    return cell.replace("<", "&lt;").replace("|", r"\|")
