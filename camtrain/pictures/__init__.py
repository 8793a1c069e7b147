"""Pictures of maps and gradients: overlays, panels of tiles, contact sheets, files."""

from camtrain.pictures.contact_sheet import GAP, contact_sheet, reduced, shown_pixels
from camtrain.pictures.denormalized import denormalized
from camtrain.pictures.gradient_picture import gradient_picture
from camtrain.pictures.object_outline import OUTLINES, ObjectOutline, outlined
from camtrain.pictures.overlay import MAP_COLORS, overlay
from camtrain.pictures.panel import Panel, Tile, class_name, gradient_tile, map_tile, note_tile, title_of
from camtrain.pictures.pixels import Pixels, figure_pixels
from camtrain.pictures.png import write_png
from camtrain.pictures.shown import figure_of, show_pixels
from camtrain.pictures.shown_channels import check_shown_channels, shown_colors

__all__ = [
    "GAP",
    "MAP_COLORS",
    "OUTLINES",
    "ObjectOutline",
    "Panel",
    "Pixels",
    "Tile",
    "check_shown_channels",
    "class_name",
    "contact_sheet",
    "denormalized",
    "figure_of",
    "figure_pixels",
    "gradient_picture",
    "gradient_tile",
    "map_tile",
    "note_tile",
    "outlined",
    "overlay",
    "reduced",
    "show_pixels",
    "shown_colors",
    "shown_pixels",
    "title_of",
    "write_png",
]
