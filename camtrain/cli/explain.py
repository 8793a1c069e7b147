"""`camtrain explain`: what a network looks at in photographs, as pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import fill
from typing import Any

from jsonargparse import Namespace

from camtrain.class_names import names_of_data, renamed_classes
from camtrain.cli.command_parser import CommandParser
from camtrain.cli.console import say, warnings_as_lines
from camtrain.cli.errors_as_lines import wrong_arguments
from camtrain.explanation import Explanations, explain
from camtrain.explanation.questions import RUNNER_UP
from camtrain.loading import config_beside, load_data, load_network
from camtrain.messages import CamtrainWarning
from camtrain.methods import FURTHER_METHODS, METHODS, method_title
from camtrain.networks import LoadedNetwork

NETWORK_OPTIONS = ("checkpoint", ("name", "--network"), "weights", "config", "size", "mean", "std")
_EXAMPLES = f"""
{fill(f"methods: {', '.join(METHODS)}; and, not part of `all`: {', '.join(FURTHER_METHODS)}", 120)}

examples:
  camtrain explain --images photo.jpg --network resnet50 --weights DEFAULT
  camtrain explain --images photos/ --checkpoint runs/quickstart/version_0/checkpoints/last.ckpt \\
      --methods grad_cam,smooth_grad --out explained
  camtrain explain --images photo.jpg --checkpoint EXPORTED  # a folder of camtrain export
  camtrain explain --images photo.jpg --network timm:convnext_nano --weights DEFAULT --methods all --num_channels 64
  camtrain explain --images photo.jpg --network resnet50 --weights DEFAULT --top_k 3 --counterfactual --contrast

In --out: <image>.<method>.png for each image and method, contact_sheet.png with all of them, and for every further
question (--top_k, --counterfactual, --contrast) <image>.<method>.<question>.png and a sheet for each method;
explanations.csv with the path, the label, the prediction and the files of each image. Where an image is one of the
data of the network's run (or of --config), its boxes and mask are drawn, and its label is named. With --arrays, the
maps themselves are beside their pictures, as .npy.

Images of other channels than red, green and blue are read as the data module of the network's run says (or that of
--config), .npy files too.

An image with more than 50 megapixels is skipped; CAMTRAIN_MAX_PIXELS in the environment sets another limit.

exit status: 0; 1 if an image could not be read or no method could be used; 2 if an argument is wrong.
"""


def explain_command(words: Sequence[str]) -> int:
    """Run `camtrain explain <words>`.

    Args:
        words: The words after the subcommand.

    Returns:
        The exit status: 0, or 1 if an image could not be read or no method could be used.

    Raises:
        SystemExit: With status 2 if an argument is wrong, with 0 after the help.
    """
    parser = explain_parser()
    settings = parser.parsed(words)
    with warnings_as_lines("explain", parser.in_words), wrong_arguments(parser, _renamed):
        network = load_network(**parser.arguments(settings, load_network))
        constants = {
            "seed": settings.seed,
            "on_error": "skip",
            "left_out": settings.out,
            "data": _data(settings, network),
        }
        asked = parser.arguments(settings, explain, **constants)
        explanations = explain(network, **asked)
        saved = explanations.save(**parser.arguments(settings, Explanations.save))
    if saved:
        print(saved)
    _say_what_is_missing(parser, explanations)
    if not saved and not explanations.problems:
        say("explain", "error: there is no image to explain")
    is_complete = bool(saved) and not explanations.problems and bool(explanations.used)
    return 0 if is_complete else 1


def explain_parser() -> CommandParser:
    """The parser of the command."""
    description = "Show what a network looks at in photographs: overlays and contact sheets as PNG."
    parser = CommandParser("explain", description, _EXAMPLES)
    images = {"nargs": "+", "type": str, "metavar": "PATH", "help": "Files, and folders with all image files in them."}
    parser.add_parameters("images and methods", explain, ["images", "methods"], images=images)
    parser.add_parameters(
        "images and methods", Explanations.save, [("folder", "--out"), "arrays"], folder={"default": "explained"}
    )
    parser.add_parameters("network", load_network, NETWORK_OPTIONS)
    parser.add_parameters("network", explain, ["target_layer"])
    contrast = {
        "nargs": "?",
        "const": RUNNER_UP,
        "type": str,
        "metavar": "CLASS",
        "help": "Also show why the class rather than this one; without a value, than the most probable other one.",
    }
    questions = (("class_", "--class"), "top_k", "counterfactual", "contrast")
    parser.add_parameters("questions", explain, questions, contrast=contrast)
    parser.add_parameters("computation", explain, ["max_batch", "num_channels"])
    parser.add_parameters("computation", load_network, ["device", "seed"])
    return parser


def _data(settings: Namespace, network: LoadedNetwork) -> Any:
    """The data module of the network's run, which may know boxes and masks; `None` where there is none.

    Warns:
        CamtrainWarning: If it calls the classes otherwise than the network, so that labels and predictions differ.
    """
    config = Path(settings.config) if settings.config else None
    if config is None and settings.checkpoint:
        config = config_beside(settings.checkpoint)
    if config is None:
        return None
    try:
        data = load_data(config)
    except (ValueError, OSError):  # `load_network` has said that it cannot be made
        return None
    with suppress(ValueError):  # another order, in which each label still has its own name
        if remark := renamed_classes(network.class_names, names_of_data(data)):
            warnings.warn(remark, CamtrainWarning, stacklevel=2)
    return data


def _renamed(message: str) -> str:
    return message.replace("`left_out`", "`folder`")


def _say_what_is_missing(parser: CommandParser, explanations: Explanations) -> None:
    for problem in explanations.problems:
        say("explain", f"error: {parser.in_words(problem)}")
    for method, reason in explanations.reasons.items():
        where = "made no map of some images" if method in explanations.used else "cannot be used here"
        kind = "warning" if explanations.used else "error"
        say("explain", f"{kind}: {method_title(method)} {where}: {parser.in_words(reason)}")
