"""Which of several processes writes and says what has to be written and said once."""

from __future__ import annotations

from pytorch_lightning.utilities import rank_zero_only


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, as Lightning knows before they meet."""
    return int(getattr(rank_zero_only, "rank", None) or 0) == 0
