"""Files written whole, checked when read, or set aside; names of files, paths as people type them, rows of a table."""

from camtrain.files.cannot_write import CannotWriteError, named_if_unwritable
from camtrain.files.damaged_file import DamagedFileError, said_aside
from camtrain.files.data_frame import data_frame
from camtrain.files.file_name import check_inside, file_name, is_plain_name, safe_words, shortened
from camtrain.files.folder_lock import LOCK, NoLocksError, taken_lock
from camtrain.files.local_path import is_address, local_folder, local_path
from camtrain.files.path_from_here import path_from_here
from camtrain.files.sealed_json import SEAL, file_hash, read_sealed, write_sealed
from camtrain.files.set_aside import set_aside
from camtrain.files.spreadsheet_cell import spreadsheet_cell, word_of_cell
from camtrain.files.unique_keys import check_unique_keys
from camtrain.files.whole_file import whole_file, write_whole
from camtrain.files.yaml_size import check_yaml_size

__all__ = [
    "LOCK",
    "SEAL",
    "CannotWriteError",
    "DamagedFileError",
    "NoLocksError",
    "check_inside",
    "check_unique_keys",
    "check_yaml_size",
    "data_frame",
    "file_hash",
    "file_name",
    "is_address",
    "is_plain_name",
    "local_folder",
    "local_path",
    "named_if_unwritable",
    "path_from_here",
    "read_sealed",
    "safe_words",
    "said_aside",
    "set_aside",
    "shortened",
    "spreadsheet_cell",
    "taken_lock",
    "whole_file",
    "word_of_cell",
    "write_sealed",
    "write_whole",
]
