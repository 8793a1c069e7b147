"""Shows, in the gallery, a figure that an example ends a block with and that pyplot does not know."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

_SHOWN: dict[int, Figure] = {}
"""The figures that were shown. sphinx-gallery keeps the value of a block for the blocks that follow."""


def returned_figure(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any], **kwargs: Any) -> str:
    """Save the figure that is the value of the last line of a block, as `Evaluation.curves_figure()` returns it.

    Args:
        block: The block of the example.
        block_vars: The names of the example, and the paths of its pictures.
        gallery_conf: The configuration of the gallery.
        **kwargs: What else sphinx-gallery passes.

    Returns:
        The picture as reStructuredText; empty if there is none.
    """
    from sphinx_gallery.scrapers import figure_rst

    figure = block_vars["example_globals"].get("___")
    if not isinstance(figure, Figure) or id(figure) in _SHOWN:
        return ""
    _SHOWN[id(figure)] = figure
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=90)
    return figure_rst([path], gallery_conf["src_dir"])
