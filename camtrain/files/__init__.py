"""Files that are written whole, and paths as people type them."""

from camtrain.files.path_from_here import path_from_here
from camtrain.files.whole_file import whole_file, write_whole

__all__ = ["path_from_here", "whole_file", "write_whole"]
