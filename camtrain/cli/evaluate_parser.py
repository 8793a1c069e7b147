"""The arguments of `camtrain evaluate`."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from camtrain.cli.network_arguments import (
    add_computation_arguments,
    add_methods_argument,
    add_network_arguments,
    not_negative,
    positive,
)
from camtrain.evaluation import METRICS, EvaluationSettings

_EXAMPLES = """
examples:
  camtrain evaluate --checkpoint runs/quickstart/version_0/checkpoints/last.ckpt
  camtrain evaluate --checkpoint CKPT --methods all --metrics all --limit 200 --out evaluated
  camtrain evaluate --checkpoint PLAIN --compare REGULARIZED --methods grad_cam,layer_cam
  camtrain evaluate --network resnet50 --weights DEFAULT --config configs/pets_resnet18_interpretable_gradient.yaml

The images are those of the data module that --config names, or the checkpoint's own run; they are normalized as the
network's run or its weights say.

In --out: scores.csv and scores.json, images.csv with the scores of each image, curves.csv and curves.png of insertion,
deletion and ROAD, panels/<metric>.png with the best and the worst maps, rows/ with what the scores are made of. Called
again with the same settings it goes on where it was stopped. With --compare the second network's are in
--out/compared, and differences.csv has the differences.

exit status: 0; 1 if no method could be used; 2 if an argument is wrong.
"""


def evaluate_parser() -> ArgumentParser:
    """The parser of its arguments."""
    parser = ArgumentParser(
        "camtrain evaluate",
        description="Score what a network looks at: every method on every metric, over the images of a data module.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_methods_argument(add)
    add(
        "--metrics",
        default="fast",
        metavar="NAMES",
        help=(
            "separated by commas: `all`, `fast` (all but those that take many passes more), faithfulness, "
            f"localization, sanity, gradient, or of: {', '.join(METRICS)} (default: %(default)s)"
        ),
    )
    add("--limit", type=positive, metavar="N", help="so many images, evenly spaced over the data set (default: all)")
    add("--split", choices=("test", "val"), default="test", help="images of the data module (default: %(default)s)")
    add("--out", type=Path, default=Path("evaluated"), metavar="DIR", help="folder (default: %(default)s)")
    add("--fresh", action="store_true", help="forget what an earlier evaluation wrote to --out")
    add(
        "--compare",
        type=Path,
        metavar="CKPT",
        help="a second checkpoint, scored on the same images; by how much its scores are higher, with intervals",
    )
    add_network_arguments(parser.add_argument_group("network").add_argument)
    _add_protocol_arguments(parser.add_argument_group("protocol").add_argument)
    add_computation_arguments(parser.add_argument_group("computation").add_argument)
    return parser


def _add_protocol_arguments(add: Callable[..., object]) -> None:
    default = EvaluationSettings()
    add(
        "--class-of",
        choices=("prediction", "label"),
        default=default.class_of,
        help="whose map is scored, and whose probability (default: %(default)s)",
    )
    add(
        "--annotation",
        choices=("boxes", "masks"),
        default=default.annotation,
        help="what maps are compared with, where images have both (default: %(default)s)",
    )
    add(
        "--steps",
        type=positive,
        default=default.num_steps,
        metavar="T",
        help="of insertion and deletion; RISE takes as many as the image is high (default: %(default)s)",
    )
    for name, what in (("insertion-start", "insertion starts from"), ("deletion-end", "deletion ends at")):
        add(
            f"--{name}",
            choices=("blur", "zeros"),
            default=getattr(default, name.replace("-", "_")),
            help=f"what {what}; zeros are the mean color (default: %(default)s, as in RISE)",
        )
    add("--tolerance", type=float, metavar="PIXELS", help="of the pointing game (default: 15 at 224 pixels)")
    add(
        "--stages",
        type=positive,
        default=default.num_stages,
        metavar="L",
        help="groups of layers that are randomized one after the other (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=positive,
        default=16,
        metavar="N",
        help="images whose maps are made together, and stored together (default: %(default)s)",
    )
    add(
        "--resamples",
        type=positive,
        default=1000,
        metavar="R",
        help="of the bootstrap that makes the 95 %% intervals (default: %(default)s)",
    )
    add(
        "--panels",
        type=not_negative,
        default=3,
        metavar="K",
        help="best and worst maps of each method that a metric's panel shows; 0 makes none (default: %(default)s)",
    )
    add(
        "--gallery",
        type=not_negative,
        default=0,
        metavar="K",
        help="also write K images with their maps as arrays, gallery.npz, to be shown elsewhere (default: none)",
    )
