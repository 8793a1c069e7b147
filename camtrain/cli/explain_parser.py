"""The arguments of `camtrain explain`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from camtrain.cli.question import RUNNER_UP
from camtrain.methods import METHODS

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
    add(
        "--methods",
        default="grad_cam",
        metavar="NAMES",
        help=f"separated by commas, or `all`, of: {', '.join(METHODS)} (default: %(default)s)",
    )
    network = parser.add_argument_group("network")
    _add_network_arguments(network.add_argument)
    questions = parser.add_argument_group("questions")
    _add_question_arguments(questions.add_argument)
    computation = parser.add_argument_group("computation")
    _add_computation_arguments(computation.add_argument)
    return parser


def _add_network_arguments(add: Callable[..., object]) -> None:
    add(
        "--checkpoint",
        type=Path,
        metavar="CKPT",
        help="of a run of `camtrain fit`; mean, std, size and class names are those of its data module",
    )
    add(
        "--network",
        metavar="NAME",
        help=(
            "in place of a checkpoint: a network of torchvision (resnet50), timm:NAME of timm (`pip install "
            "'camtrain[timm]'`), or MODULE.FUNCTION of yours, which makes a network; beside a checkpoint of a network "
            "that was built in Python: that network"
        ),
    )
    add(
        "--weights",
        metavar="NAME",
        help="of the network given by name, DEFAULT for instance; downloaded if need be (default: random weights)",
    )
    add(
        "--config",
        type=Path,
        metavar="YAML",
        help=(
            "configuration of the run, whose data module says how images are prepared (default: the config.yaml of the "
            "checkpoint's run)"
        ),
    )
    add(
        "--size",
        type=_positive,
        metavar="PIXELS",
        help="height and width that images are scaled and cropped to, at the center (default: those of the network)",
    )
    for name, positive in (("mean", False), ("std", True)):
        add(
            f"--{name}",
            nargs=3,
            type=_positive_number if positive else float,
            metavar=("R", "G", "B"),
            help=f"{name} of images in [0, 1], by which they are normalized (default: that of the network)",
        )
    add(
        "--target-layer",
        metavar="NAME",
        help=(
            "layer of the maps; several, separated by commas, for methods that fuse them (default: the last one with "
            "more than one pixel)"
        ),
    )


def _add_question_arguments(add: Callable[..., object]) -> None:
    add(
        "--class",
        dest="class_",
        metavar="CLASS",
        help="name or number of the class to explain (default: the predicted class of each image)",
    )
    add(
        "--top-k",
        type=_positive,
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


def _add_computation_arguments(add: Callable[..., object]) -> None:
    add(
        "--max-batch",
        type=_positive,
        default=32,
        metavar="N",
        help="most images in one pass, which bounds the memory (default: %(default)s)",
    )
    add(
        "--channels",
        type=_positive,
        metavar="N",
        help=(
            "measure only the N strongest channels in Score-CAM, SS-CAM and Ablation-CAM, which otherwise take a pass "
            "for each (default: all)"
        ),
    )
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s, a GPU if there is one)")
    add("--seed", type=int, default=0, help="of noise and random weights (default: %(default)s)")


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise ArgumentTypeError(f"expected a positive integer, got {word!r}")
    return int(word)


def _positive_number(word: str) -> float:
    number = float(word)
    if not number > 0:
        raise ArgumentTypeError(f"expected a positive number, got {word!r}")
    return number
