"""Rows as a pandas data frame, where pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def data_frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as a `pandas.DataFrame`.

    Args:
        rows: The values of each row by column.

    Raises:
        ModuleNotFoundError: If pandas is not installed.
    """
    try:
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("`to_frame` needs pandas: `pip install pandas`") from error
    return pd.DataFrame([dict(row) for row in rows])
