"""What a user is told: warnings, checks with their errors, errors as one line, the nearest names of a mistyped one."""

from camtrain.messages.camtrain_warning import CamtrainWarning
from camtrain.messages.checked_number import (
    checked_fraction,
    checked_integer,
    checked_number,
    checked_numbers,
    checked_seed,
    positive_integer,
)
from camtrain.messages.data_error import DataError, MissingImageError, message_of_worker
from camtrain.messages.debugging import DEBUG_HELP, debugging, show_tracebacks
from camtrain.messages.empty_word import empty_word
from camtrain.messages.folded import column_width, folded, folded_table, tail, terminal_width
from camtrain.messages.listed_names import listed_names
from camtrain.messages.nearest_names import nearest_names, nearest_options
from camtrain.messages.one_line import error_message, one_line
from camtrain.messages.parser_message import parser_message
from camtrain.messages.percent import percent, signed_points
from camtrain.messages.printable import printable
from camtrain.messages.sample_name import sample_name, sample_path

__all__ = [
    "DEBUG_HELP",
    "CamtrainWarning",
    "DataError",
    "MissingImageError",
    "checked_fraction",
    "checked_integer",
    "checked_number",
    "checked_numbers",
    "checked_seed",
    "column_width",
    "debugging",
    "empty_word",
    "error_message",
    "folded",
    "folded_table",
    "listed_names",
    "message_of_worker",
    "nearest_names",
    "nearest_options",
    "one_line",
    "parser_message",
    "percent",
    "positive_integer",
    "printable",
    "sample_name",
    "sample_path",
    "show_tracebacks",
    "signed_points",
    "tail",
    "terminal_width",
]
