"""What training costs: the columns of a study's table that say it."""

from __future__ import annotations

from collections.abc import Sequence

from camtrain.report.points import PointRuns

TIME = "train/seconds_per_step"
PROCESSOR_TIME = "train/processor_seconds_per_step"
MEMORY = "train/peak_memory_mib"


def time_column(points: Sequence[PointRuns]) -> str:
    """The column of the time of a step by which points are compared.

    That is the processor's time if all finished runs have it: a step takes longer by the clock while other programs
    share the machine, so that runs of different hours cannot be compared by it. Runs on a GPU and those of earlier
    versions have no processor's time.

    Args:
        points: The points that are compared.
    """
    rows = [row for runs in points for row in runs.rows.values() if TIME in row]
    return PROCESSOR_TIME if rows and all(PROCESSOR_TIME in row for row in rows) else TIME


def time_title(column: str) -> str:
    """What the time of a column is called.

    Example:
        >>> time_title(TIME), time_title(PROCESSOR_TIME)
        ('time per step', 'processor time per step')
    """
    return "processor time per step" if column == PROCESSOR_TIME else "time per step"


def time_note(column: str) -> str:
    """How the time of a column was measured, and what it depends on."""
    if column == PROCESSOR_TIME:
        return (
            "Time: of the processor, all threads together, on the mean over the steps of the last epoch. Other "
            "programs on the machine change it much less than the time by the clock."
        )
    return (
        "Time: by the clock, median over the steps of the last epoch. Runs that share a machine slow each other down: "
        "the ratios hold if it was idle otherwise."
    )


def cost_with_unit(value: float, column: str) -> str:
    """A time in seconds, or a memory in MiB, by its column.

    Example:
        >>> cost_with_unit(0.2113, TIME), cost_with_unit(930.4, MEMORY)
        ('0.211 s', '930 MiB')
    """
    return f"{value:.0f} MiB" if column == MEMORY else f"{value:.3g} s"
