"""The category of the warnings that camtrain itself gives."""

from __future__ import annotations


class CamtrainWarning(UserWarning):
    """Something that a user should know about a result: what was assumed, left out or could not be done.

    The command line prints these as lines of its own; in Python they are filtered as any other warning:
    `warnings.filterwarnings("ignore", category=camtrain.CamtrainWarning)`.
    """
