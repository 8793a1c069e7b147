"""`camtrain evaluate`: the scores of a network's maps, as tables, files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from jsonargparse import Namespace

from camtrain.cli.command_parser import CommandParser
from camtrain.cli.console import warnings_as_lines
from camtrain.cli.errors_as_lines import wrong_arguments
from camtrain.cli.explain import NETWORK_OPTIONS
from camtrain.evaluation import METRICS, Comparison, Evaluation, EvaluationSettings, compare, evaluate, score_maps
from camtrain.files import path_from_here
from camtrain.loading import checkpoint_in, config_beside, load_data, load_network, needs_name
from camtrain.loading.exported_folder import exported_folder
from camtrain.messages import folded
from camtrain.methods import FURTHER_METHODS, METHODS
from camtrain.networks import LoadedNetwork
from camtrain.networks.checkpoint_file import checkpoint_content

PROTOCOL = (
    "class_of", "annotation", "num_steps", "insertion_start", "deletion_end", "tolerance", "num_stages",
    "box_threshold",
)  # fmt: skip
# What says nothing of maps that are read from files.
_OF_A_NETWORK = (
    "compare", "write_maps", "network", "methods", "controls", "target_layer", "fresh", "num_panel_maps",
    "num_gallery_images", "max_batch", "num_channels", "weights", "size", "mean", "std", "device",
)  # fmt: skip
_EXAMPLES = f"""
{fill(f"methods: {', '.join(METHODS)}; and, not part of `all`: {', '.join(FURTHER_METHODS)}", 120)}
{fill(f"metrics: {', '.join(METRICS)}", 120)}

examples:
  camtrain evaluate --checkpoint runs/quickstart/version_0/checkpoints/last.ckpt
  camtrain evaluate --checkpoint CKPT --methods all --metrics all --num_images 200 --out evaluated
  camtrain evaluate --checkpoint PLAIN --compare REGULARIZED --methods grad_cam,layer_cam
  camtrain evaluate --network resnet50 --weights DEFAULT --config configs/pets_resnet18_interpretable_gradient.yaml
  camtrain evaluate --score_maps maps_of_other_code --config CONFIG --metrics max_box_accuracy_v2 --split val

The images are those of the data module that --config names, or the checkpoint's own run; they are normalized as the
network's run or its weights say.

In --out: scores.csv and scores.json, images.csv with the scores of each image, curves.csv and curves.png of insertion,
deletion and ROAD, panels/<metric>.png with the best and the worst maps, rows/ with what the scores are made of. Called
again with the same settings it goes on where it was stopped. With --compare the second network's are in
--out/compared, differences.csv has the differences, curves_compared.png the curves of both, and
differences_beyond_shuffled.csv the differences beyond control: minus the same scores of another image's map, since a
network that is robust to hidden pixels scores well with any map. The uniform map is a reference: a map without content.
With --write_maps the maps themselves are in maps/<method>/<path of the image>.npy. --score_maps reads such files,
whatever code has made them, scores them by the annotation of the images, and writes score_maps.csv; it runs no network.

exit status: 0; 1 if no method could be used; 2 if an argument is wrong.
"""


def evaluate_command(words: Sequence[str]) -> int:
    """Run `camtrain evaluate <words>`.

    Args:
        words: The words after the subcommand.

    Returns:
        The exit status: 0, or 1 if no method could be used.

    Raises:
        SystemExit: With status 2 if an argument is wrong, with 0 after the help.
    """
    parser = evaluate_parser()
    settings = parser.parsed(words)
    with warnings_as_lines("evaluate", parser.in_words), wrong_arguments(parser, _renamed):
        if settings.score_maps:
            _print_scores_of_maps(parser, settings)
            return 0
        found = _found(parser, settings)
    if isinstance(found, Comparison):
        _print(found.first, settings)
        _print(found.second, settings)
        for table in filter(None, (found.networks(), *found.tables)):
            print(f"\n{table}")
        files = ["differences.csv", *(f"differences_beyond_{control}.csv" for control in found.beyond)]
        files += ["curves_compared.png"] if found.first.curves and found.second.curves else []
        print("\n" + folded(", ".join(f"{path_from_here(Path(settings.out))}/{name}" for name in files)))
        return 0 if found.first.has_maps else 1
    _print(found, settings)
    return 0 if found.has_maps else 1


def evaluate_parser() -> CommandParser:
    """The parser of the command."""
    description = "Score what a network looks at: every method on every metric, over the images of a data module."
    parser = CommandParser("evaluate", description, _EXAMPLES)
    names = ("methods", "metrics", "controls", "split", "num_images", ("folder", "--out"), "write_maps", "fresh")
    parser.add_parameters("scores", evaluate, names, folder={"default": "evaluated"})
    second = {
        "metavar": "CKPT",
        "help": "A second checkpoint, scored on the same images; by how much its scores are higher is printed.",
    }
    parser.add_parameters("scores", compare, [("other", "--compare")], other={"type": str, "default": None, **second})
    read = {
        "metavar": "FOLDER",
        "help": "Score the maps in the .npy files of this folder, instead of those of a network.",
    }
    parser.add_parameters("scores", score_maps, [("maps", "--score_maps")], maps={"type": str, "default": None, **read})
    parser.add_parameters("network", load_network, NETWORK_OPTIONS)
    parser.add_parameters("network", evaluate, ["target_layer"])
    parser.add_parameters("settings", EvaluationSettings, PROTOCOL)
    rest = ["batch_size", "num_resamples", "num_panel_maps", "num_gallery_images"]
    parser.add_parameters("settings", evaluate, rest)
    parser.add_parameters("computation", evaluate, ["max_batch", "num_channels"])
    parser.add_parameters("computation", load_network, ["device", "seed"])
    return parser


def _found(parser: CommandParser, settings: Namespace) -> Evaluation | Comparison:
    protocol = EvaluationSettings(**parser.arguments(settings, EvaluationSettings, seed=settings.seed))
    how = parser.arguments(settings, evaluate, settings=protocol)
    of_network = parser.arguments(settings, load_network)
    config = _config_of_images(settings)
    network = _network(of_network, settings.checkpoint, config)
    data = load_data(config, network)
    if not settings.compare:
        return evaluate(network, data, **how)
    try:
        # The weights are of the first network; its name is that of the second, too, if the latter does not say its own.
        name = of_network["name"]
        if name is not None and not needs_name(settings.compare, config_beside(settings.compare) or config):
            name = None
        other = _network({**of_network, "name": name, "weights": None}, settings.compare, config)
        other_data = load_data(config, other)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"`other`: {error}") from error
    return compare(network, other, data, other_data=other_data, **how)


def _print_scores_of_maps(parser: CommandParser, settings: Namespace) -> None:
    """Score maps that are read from files, and print and write their table."""
    for name in _OF_A_NETWORK:
        if getattr(settings, name) != parser.get_default(name):
            argument = {"compare": "other", "network": "name"}.get(name, name)
            raise ValueError(f"`{argument}`: expected none beside `maps`, which runs no network")
    if not settings.config and not settings.checkpoint:
        raise ValueError("`config`: expected a configuration with a data module, which says what the images are")
    config = _config_of_images(settings)
    protocol = EvaluationSettings(**parser.arguments(settings, EvaluationSettings, seed=settings.seed))
    names = ("metrics", "split", "num_images", "batch_size", "num_resamples")
    how = {name: getattr(settings, name) for name in names}
    table = score_maps(settings.score_maps, load_data(config), settings=protocol, **how)
    written = table.write_csv(Path(settings.out) / "score_maps.csv")
    print(f"\n{table.title}: {settings.split} images of {path_from_here(config.absolute())}\n\n{table.table()}\n")
    print(path_from_here(written.absolute()))


def _renamed(message: str) -> str:
    return message.replace("`other`: `checkpoint`", "`other`")


def _config_of_images(settings: Namespace) -> Path:
    """The configuration that says what the images are."""
    if settings.config:
        return Path(settings.config)
    if not (settings.checkpoint or settings.network):
        raise ValueError("`checkpoint`: expected a checkpoint, or `name` with or without `weights`")
    wanted = "`config`: expected a configuration with a data module, which says what the images are"
    if not settings.checkpoint:
        raise ValueError(f"{wanted}, got none")
    config = config_beside(settings.checkpoint)
    if config is None:
        if exported_folder(Path(settings.checkpoint)) is not None:
            raise ValueError(f"{wanted}; the exported folder {settings.checkpoint} has none")
        checkpoint = checkpoint_in(Path(settings.checkpoint))
        checkpoint_content(checkpoint)  # says so if it is no checkpoint
        raise ValueError(f"{wanted}; there is no config.yaml in {checkpoint.absolute().parents[1]}")
    return config


def _network(of_network: dict[str, Any], checkpoint: str | None, config: Path) -> LoadedNetwork:
    """A network with its own preprocessing, which the configuration of the images may have for another one.

    Images are normalized as the checkpoint's own run did, as an exported folder says, or as the weights of a named
    network say.
    """
    has_own = not checkpoint or exported_folder(Path(checkpoint)) is not None
    own = None if has_own else config_beside(str(checkpoint)) or config
    return load_network(**{**of_network, "checkpoint": checkpoint, "config": own})


def _print(evaluation: Evaluation, settings: Namespace) -> None:
    assert evaluation.folder is not None
    config = path_from_here(_config_of_images(settings).absolute())
    count = len(evaluation.found.indices)
    print("\n" + folded(f"{evaluation.title}: {count} {settings.split} images of {config}") + "\n")
    if said := evaluation.summary():
        print(f"{folded(said)}\n")
    print(f"{evaluation.table()}\n\n{folded(evaluation.cost())}\n")
    names = ", ".join(str(path.relative_to(evaluation.folder)) for path in evaluation.written())
    print(folded(f"in {path_from_here(evaluation.folder)}: {names}", indent="  "))
