"""The help of `camtrain fit` at 80 columns: short, whole, and of one class."""

from __future__ import annotations

import re

import pytest
from jsonargparse import ArgumentParser
from pytorch_lightning import Callback, LightningDataModule
from torch import nn

import camtrain.callbacks
import camtrain.data
import camtrain.gradients
import camtrain.networks
import camtrain.regularizers
from camtrain import Classifier
from camtrain.regularizers import Regularizer
from camtrain.runs import ConfigResolver, TrainingCLI

NETWORK = "{class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8}}"
CONFIG = f"model: {{network: {NETWORK}}}\ndata: {{class_path: camtrain.data.DecoyDigits}}\n"
CLASSES = {
    kind
    for package in (camtrain.callbacks, camtrain.data, camtrain.gradients, camtrain.networks, camtrain.regularizers)
    for kind in map(package.__dict__.get, package.__all__)
    if isinstance(kind, type) and issubclass(kind, (Callback, LightningDataModule, Regularizer, nn.Module))
} | {Classifier, camtrain.gradients.DoubleBackprop, camtrain.gradients.FrozenGates}
"""What a configuration can name."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(CONFIG)
    return ConfigResolver(path).parser


@pytest.fixture
def shown(parser, capsys, monkeypatch):
    """What `camtrain <words>` prints, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(*words: str) -> str:
        with pytest.raises(SystemExit) as stop:
            parser.parse_args([*words])
        assert stop.value.code == 0
        printed = capsys.readouterr().out
        # What is longer is the first line of a docstring, as the title of a class's options.
        assert not [line for line in printed.splitlines() if len(line) > 80 and not line.endswith(":")]
        return printed

    return show


def test_what_people_set(shown):
    printed = shown("fit", "--help")
    assert printed.startswith("usage: camtrain fit --config CONFIG [--KEY VALUE ...]\n\nTrain a classifier")
    options = re.findall(r"^  (?:-., )?--([\w.]+)", printed, flags=re.MULTILINE)
    assert len([each for each in options if each.startswith("trainer.")]) == 10
    assert {"config", "data", "model.network", "model.regularizer_weight", "run.resume", "help_all"} <= {*options}
    assert not [each for each in options if each.endswith(".help")]
    assert "One of CIFAR10, CIFAR100, COCO" in " ".join(printed.split())
    assert "MapBCE, MapL1, MapOutside" in " ".join(printed.split())
    assert "(type: " not in printed
    assert "-->" not in printed
    assert "camtrain fit --model.regularizer.help EnergyInside\n" in printed
    assert printed.endswith("  camtrain fit --help_all\n")
    assert shown("fit", "--help") == printed  # nothing of the parser has changed


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
@pytest.mark.parametrize(
    ("words", "names", "printed"),
    [
        (["test", "--help"], ["test"], "Score a checkpoint on the test images."),
        (["--unknown", "fit"], ["fit", "validate", "test", "predict"], ""),
    ],
)
def test_parsers_are_made_of_the_subcommand_that_is_asked_for(words, names, printed, monkeypatch, capsys):
    """Each takes a quarter of a second or more."""
    made, prepare = [], TrainingCLI._prepare_subcommand_parser

    def recorded(cli, trainer_class, subcommand, **options):
        made.append(subcommand)
        return prepare(cli, trainer_class, subcommand, **options)

    monkeypatch.setattr(TrainingCLI, "_prepare_subcommand_parser", recorded)
    with pytest.raises(SystemExit):
        TrainingCLI(words)
    assert made == names
    assert printed in capsys.readouterr().out


def test_all_options(shown, parser):
    printed = " ".join(shown("fit", "--help_all").split())
    fit = parser._subcommands_action._name_parser_map["fit"]
    missing = [each.dest for each in fit._actions if each.option_strings and each.option_strings[0] not in printed]
    assert missing == []
    assert len(printed) < 70_000


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("model.regularizer", "EnergyInside", "1 - Σ_object A⁺ / Σ A⁺"),
        ("data", "VOC", "init_args: {root: data, download: true, masks: true}"),
        ("data", "COCO", 'annotations: "{set}/_annotations.coco.json"}'),
        ("data", "CUB", "`train_test_split.txt`, `images`, and, for masks, `segmentations`"),
        ("data", "Waterbirds", "class_column: breed, group_column: camera}"),
        ("data", "ImageFolderData", "Boxes are read from a CSV file whose first line is `path,x0,y0,x1,y1`."),
    ],
)
def test_a_class(shown, option, name, words):
    printed = shown("fit", f"--{option}.help", name)
    assert printed.startswith(f"usage: --{option} {name} [--{option}.OPTION VALUE ...]\n\ncamtrain.")
    assert words in " ".join(printed.split())
    assert len(printed.splitlines()) < 280  # three or four screens
    assert f"\n  --{option}." in printed


@pytest.mark.parametrize("kind", sorted(CLASSES, key=lambda kind: kind.__name__))
def test_every_option_of_every_class_is_described(kind):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    options = [each for each in parser._actions if each.option_strings and not each.dest.endswith(".help")]
    undescribed = [each.dest for each in options if not each.help and each.dest != "it"]
    assert undescribed == []
