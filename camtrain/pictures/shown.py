"""Pixels on the screen: in a notebook, as a figure, or in the viewer of the system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100


def figure_of(pixels: npt.NDArray[np.uint8]) -> Figure:
    """Pixels as a matplotlib figure of their own size, without axes.

    Args:
        pixels: (H, W, 3).

    Example:
        >>> figure_of(np.zeros((50, 200, 3), dtype=np.uint8)).get_size_inches()
        array([2. , 0.5])
    """
    from matplotlib.figure import Figure  # takes half a second

    figure = Figure(figsize=(pixels.shape[1] / _DPI, pixels.shape[0] / _DPI), dpi=_DPI)
    figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[]).imshow(pixels)
    return figure


def show_pixels(pixels: npt.NDArray[np.uint8]) -> None:
    """Show pixels in the notebook that runs this code; elsewhere in the image viewer of the system, if there is one.

    Args:
        pixels: (H, W, 3).
    """
    picture = Image.fromarray(pixels)
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        get_ipython = None
    if get_ipython is not None and get_ipython() is not None:
        from IPython.display import display

        display(picture)  # type: ignore[no-untyped-call, unused-ignore]
    else:
        picture.show()
