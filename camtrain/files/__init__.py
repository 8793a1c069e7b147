"""Files that are written whole, paths as people type them, and rows as a data frame."""

from camtrain.files.data_frame import data_frame
from camtrain.files.path_from_here import path_from_here
from camtrain.files.whole_file import whole_file, write_whole

__all__ = ["data_frame", "path_from_here", "whole_file", "write_whole"]
