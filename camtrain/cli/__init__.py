"""The command line."""

from camtrain.cli.main import main

__all__ = ["main"]
