"""The arguments of `camtrain explain`."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from camtrain.cli.network_arguments import (
    add_computation_arguments,
    add_methods_argument,
    add_network_arguments,
    positive,
)
from camtrain.cli.question import RUNNER_UP

_EXAMPLES = """
examples:
  camtrain explain --images photo.jpg --network resnet50 --weights DEFAULT
  camtrain explain --images photos/ --checkpoint runs/quickstart/version_0/checkpoints/last.ckpt \\
      --methods grad_cam,smooth_grad --out explained
  camtrain explain --images photo.jpg --network timm:convnext_nano --weights DEFAULT --methods all --channels 64
  camtrain explain --images photo.jpg --network resnet50 --weights DEFAULT --top-k 3 --counterfactual --contrast

In --out: <image>.<method>.png for each image and method, contact_sheet.png with all of them, and for every further
question (--top-k, --counterfactual, --contrast) <image>.<method>.<question>.png and a sheet for each method.

exit status: 0; 1 if an image could not be read or no method could be used; 2 if an argument is wrong.
"""


def explain_parser() -> ArgumentParser:
    """The parser of its arguments."""
    parser = ArgumentParser(
        "camtrain explain",
        description="Show what a network looks at in photos: overlays and contact sheets as PNG.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--images",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="files, and folders with all image files in them; turned the way that their EXIF orientation says",
    )
    add(
        "--out",
        type=Path,
        default=Path("explained"),
        metavar="DIR",
        help="folder of the pictures; files of the same name in it are overwritten (default: %(default)s)",
    )
    add_methods_argument(add)
    network = parser.add_argument_group("network")
    add_network_arguments(network.add_argument)
    questions = parser.add_argument_group("questions")
    _add_question_arguments(questions.add_argument)
    computation = parser.add_argument_group("computation")
    add_computation_arguments(computation.add_argument)
    return parser


def _add_question_arguments(add: Callable[..., object]) -> None:
    add(
        "--class",
        dest="class_",
        metavar="CLASS",
        help="name or number of the class to explain (default: the predicted class of each image)",
    )
    add(
        "--top-k",
        type=positive,
        default=1,
        metavar="K",
        help="also the next of the K most probable classes (default: %(default)s)",
    )
    add("--counterfactual", action="store_true", help="also what speaks against the class")
    add(
        "--contrast",
        nargs="?",
        const=RUNNER_UP,
        metavar="CLASS",
        help="also why the class rather than this one; without a value, rather than the most probable other one",
    )
