"""Writes the tables of this folder's README, and the figure.

    python -m experiments.map_faithfulness.table

It reads `<board>/<variant>.csv`, which are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from experiments.compared_settings import Compared, board_tables, compared_settings, difference_table, summary_table
from experiments.interval_figure import Panel, write_intervals
from experiments.league.boards import KINDS
from experiments.map_faithfulness.ablation import BASE, BOARDS, SHORT, variants_of
from experiments.named_settings import SettingRows
from experiments.readme_tables import put_texts

HERE = Path(__file__).parent
MARKER = "{} of experiments/map_faithfulness"


def main() -> None:
    """Write between the marker lines of the README, and draw."""
    texts = readme_texts()
    put_texts(texts, HERE / "README.md")
    for name in BOARDS:
        if name != SHORT.name and len(found := compared(name)) > 1:
            write_changes(found, HERE / name / "variants")
    print("\n\n".join(texts.values()))


def readme_texts() -> dict[str, str]:
    """Make the tables of each board that has results."""
    texts = {}
    for name in BOARDS:
        if len(found := compared(name)) > 1:
            tables = {"choice": summary_table(found)} if name == SHORT.name else board_tables(found, KINDS)
            texts |= {f"{what} of {name}": table for what, table in tables.items()}
            base = next((each for each in found if each.setting.name == BASE), None)
            if base is not None:
                texts[f"difference to the base of {name}"] = difference_table(found, base)
    return {MARKER.format(name): text for name, text in texts.items()}


def write_changes(found: Sequence[Compared], path: Path) -> None:
    """Draw how much the maps of each variant gain, what it does to accuracy, and how much its maps leak."""
    panels = gain, accuracy, leakage = Panel("gain of maps\nbeyond control"), Panel("accuracy"), Panel("leakage")
    rows = {
        fill(each.label.replace(" = ", "\xa0=\xa0"), 48): {
            gain: {"": each.against.beyond},
            accuracy: {"": each.against.accuracy},
            leakage: {"": each.against.leakage},
        }
        for each in found[1:]
    }
    write_intervals(rows, panels, path)


def compared(board: str) -> list[Compared]:
    """The variants that have results, against plain training."""
    return compared_settings(
        {variant: SettingRows(HERE / board / f"{name}.csv") for name, variant in variants_of(BOARDS[board]).items()},
        split="val",
    )


if __name__ == "__main__":
    main()
