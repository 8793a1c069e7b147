"""The progress bar of long work: in a terminal, and in a notebook as a widget where that can be shown."""

from __future__ import annotations

from importlib.util import find_spec

# Without ipywidgets `tqdm.auto` warns in every notebook.
if find_spec("ipywidgets") is None:
    from tqdm import tqdm as ProgressBar  # type: ignore[import-untyped, unused-ignore]
else:
    from tqdm.auto import tqdm as ProgressBar  # type: ignore[import-untyped, unused-ignore, no-redef]

__all__ = ["ProgressBar"]
