"""Wrong words and configuration files: one line that names what is wrong, and one that says where help is."""

from __future__ import annotations

from pathlib import Path

import pytest

from camtrain.cli import main
from camtrain.runs import ConfigResolver
from camtrain.runs.training_parser import WrongArgumentsError

CONFIG = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 2}}
  regularizer: {class_path: camtrain.regularizers.InterpretableGradient}
data: {class_path: camtrain.data.DecoyDigits}
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(CONFIG)
    return ConfigResolver(path).parser, str(path)


@pytest.fixture
def refused(parser, capsys, monkeypatch, tmp_path):
    """Parses `fit <words>`, which must fail, and returns the line that it prints."""
    monkeypatch.chdir(tmp_path)

    def parse(*words: str, config: bool = True) -> str:
        capsys.readouterr()
        with pytest.raises(WrongArgumentsError) as stop:
            parser[0].parse_args(["fit", *(["--config", parser[1]] if config else []), *words])
        assert stop.value.code == 2
        error, hint = capsys.readouterr().err.splitlines()
        assert hint == "`camtrain fit --help` explains the options"
        program, colon, said = error.partition(": error: ")
        assert (program, colon) == ("camtrain fit", ": error: ")
        assert len(said) < 300
        return said

    return parse


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.regularizer EnergyInsid", "no class is called 'EnergyInsid'; did you mean 'EnergyInside'?"),
        ("--model.regulariser MapL1", "--model.regulariser: no such option; did you mean '--model.regularizer'"),
        ("--regularizer_weight 1", "no such option; did you mean '--model.regularizer_weight'?"),
        ("--max_epoch 1", "no such option; did you mean '--trainer.max_epochs'"),
        ("--model.network.dept 8", "--model.network.dept: CIFARResNet has no such option; did you mean 'depth'?"),
        ("--model.network.depth many", "--model.network.depth: expected an integer, got 'many'"),
        ("--model.regularizer.distance cosin", "distance: expected cosine, mae, mse or histogram_intersection, got 'c"),
        ("--model.classification_loss binary_cros", "got 'binary_cros'; did you mean 'binary_cross_entropy'?"),
        ("--model.classification_loss hinge", "expected cross_entropy, binary_cross_entropy or focal, or a class"),
        ("--model.classification_loss FocalLoss --model.classification_loss.gama 1", "did you mean 'gamma'"),
        ("--model.optimizer SDG", "--model.optimizer: no class is called 'SDG'; did you mean 'SGD'"),
        ("--model.optimizer SGD --model.optimizer.lrr 3", "--model.optimizer.lrr: SGD has no such option"),
        ("--model.regularizer Sum", "--model.regularizer: Sum needs terms, which is not given"),
        ("--model.lr_scheduler ReduceLROnPlateau", "several classes are called ReduceLROnPlateau"),
        ("--model.engine camtrain.gradients.FrozenGate", "no class 'FrozenGate'; did you mean 'FrozenGates'?"),
        ("--model.regularizer nowhere.Thing", "no module is called 'nowhere'"),
        ("--data camtrain.regularizers.MapL1", "--data: camtrain.regularizers.MapL1 is no LightningDataModule"),
        ("--data.batchsize 3", "--data.batchsize: DecoyDigits has no such option; did you mean 'batch_size'"),
        ("--trainer.max_epochs many", "--trainer.max_epochs: expected an integer or null, got 'many'"),
        ("--trainer.max_epochs 1e400", "--trainer.max_epochs: expected an integer or null, got '1e400'"),
        ("--trainer.max_epochs", "--trainer.max_epochs: expected a value, and none is given"),
        ("--trainer.precision 17", "--trainer.precision: expected 64, 32, 16, "),
        ("--trainer.callbacks+=EarlyStoping", "no class is called 'EarlyStoping'; did you mean 'EarlyStopping'"),
        ("--trainer.bogus -1", "--trainer.bogus: no such option"),
        ("--run.wandb ofline", "--run.wandb: expected offline, online or disabled, got 'ofline'; did you mean 'off"),
        ("--trainer.max_steps ${trainer.nix}", "--trainer.max_steps: there is no key trainer.nix, which ${...} names"),
        ("--trainer.max_steps ${oc.env:CAMTRAIN_NIX}", "max_steps: the environment variable CAMTRAIN_NIX is not set"),
        ("--run.folder=", "--run.folder: expected a value, got an empty word"),
        ("--model.stem ", "--model.stem: expected a value, "),
        ("extra", "extra: expected an option, which begins with --"),
    ],
)
def test_wrong_words(refused, words, message):
    said = refused(*words.split(" "))
    assert message in said
    assert ".help'" not in said


@pytest.mark.parametrize("option", ["--trainer.max_epoch=3", "--conf=x.yaml", "--model.regularizer_w=1", "--dat=x"])
def test_nothing_can_be_abbreviated(refused, option):
    assert f"{option.partition('=')[0]}: no such option" in refused(option)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a configuration, a mapping such as `model: {...}`, got an empty file"),
        (b"- 1\n- 2\n", "expected a configuration, a mapping such as `model: {...}`, got a list"),
        (b"hello\n", "expected a configuration, a mapping such as `model: {...}`, got text"),
        (b"\xbd\xff\x00", "got a file that is no UTF-8 text"),
        (b"model: [\n", "did not find expected node content"),
        (b'model: "\0"', "control characters are not allowed"),
        (b"[" * 20_000, "nest"),
        (b"model: {stem: small}\nmodel: {stem: small}\n", "expected each key once, got `model` in lines 1 and 2"),
        (b"model:\n  stem: small\n  stem: imagenet\n", "expected each key once, got `model.stem` in lines 2 and 3"),
        (b"model: {regulariser: null}\n", "model.regulariser: no such key; did you mean 'model.regularizer'"),
        (b"trainer: {max_epochs: many}\n", "trainer.max_epochs: expected an integer or null, got 'many'"),
        (
            b"model: {network: [&a [x, x, x, x, x, x, x, x, x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a], "
            b"&c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b], [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]]}\n",
            "expected at most 10000 values, got 12349 with its aliases written out",
        ),
        (b"model: &a {network: *a}\n", "an alias stands for what it is a part of"),
    ],
)
def test_configuration_files(refused, content, message):
    Path("bad.yaml").write_bytes(content)
    said = refused("--config", "bad.yaml", config=False)
    assert message in said
    assert "bad.yaml" in said


def test_files_that_are_none(refused):
    Path("folder.yaml").mkdir()
    assert "--config: path is not a file" in refused("--config", "folder.yaml", config=False)
    assert "--config: file does not exist" in refused("--config", "absent.yaml", config=False)
    assert "--config: expected a value, got an empty word" in refused("--config", "", config=False)


def test_a_checkpoint_that_was_taken_for_a_configuration(refused):
    checkpoint = Path("runs/small/version_0/checkpoints/last.ckpt")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK\3\4\xff")
    said = refused("--config", str(checkpoint), config=False)
    got = "expected a configuration in YAML, got a checkpoint, which `camtrain fit` takes as --ckpt_path"
    assert said == f"{checkpoint}: {got}"
    Path("runs/small/version_0/config.yaml").touch()
    said = refused("--config", str(checkpoint), config=False)
    assert said.endswith("; the configuration of its run is runs/small/version_0/config.yaml")


def test_what_no_command_can_do_without(refused):
    missing = "--model.network, --data: expected, and not given; --config FILE is a configuration that has them"
    assert refused(config=False) == missing


def test_a_key_twice_in_a_part_of_a_configuration(refused):
    """A file that is included, and a value in the words."""
    twice = "class_path: camtrain.regularizers.InterpretableGradient\ninit_args:\n  distance: mae\n  distance: mse\n"
    Path("part.yaml").write_text(twice)
    message = "part.yaml: expected each key once, got `init_args.distance` in lines 3 and 4"
    assert message in refused("--model.regularizer", "part.yaml")
    Path("trainer.yaml").write_text("max_epochs: 1\nmax_epochs: 2\n")
    assert "expected each key once, got `max_epochs` in lines 1 and 2" in refused("--trainer", "trainer.yaml")
    assert "or has a key twice" in refused("--model.regularizer", "{class_path: Sum, class_path: MapL1}")


def test_a_study_reads_its_configuration_as_strictly(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(f"{CONFIG}\ntrainer:\n  max_epochs: 1\n  max_epochs: 2\n")
    with pytest.raises(ValueError, match=r"`config`: .*twice.yaml: expected each key once, got `trainer.max_e"):
        ConfigResolver(path)


def test_numbers_of_a_point_are_those_of_a_trainer(parser):
    with pytest.raises(ValueError, match="accumulate_grad_batches"):
        ConfigResolver(parser[1]).resolved({"trainer.accumulate_grad_batches": -1}, 0, check=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.accumulate_grad_batches", "-1"], "`trainer.accumulate_grad_batches`: expected a positive integer"),
        (["--run.name", "../../outside"], "`run.name`: expected a name"),
        (["--run.folder", "small.yaml/runs"], "`run.folder`: expected a folder, got the file small.yaml"),
        (["--model.network", "torch.nn.ReLU"], "`network`: expected one with parameters to train, got ReLU"),
        (
            ["--ckpt_path", "small.yaml"],
            "--ckpt_path: expected a checkpoint, got the configuration small.yaml; pass it",
        ),
        (["--seed_everything", "-1"], "--seed_everything: expected an integer in [0, 2^32), got -1"),
        (["--model.optimizer", "SGD", "--model.optimizer.lr", "-1"], "Invalid learning rate: -1.0"),
        (["--checkpoint.monitor", "val/loss"], "`checkpoint.mode`: expected min for `checkpoint.monitor` val/loss"),
        (["--trainer.devices", "0"], "not a valid input using cpu accelerator"),
        (["--model.network.depth", "9"], "`depth`: expected 6n + 2 (8, 14, 20, ...), got 9"),
    ],
)
def test_a_start_that_is_refused_leaves_nothing(capsys, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["camtrain"])
    Path("small.yaml").write_text(f"{CONFIG}trainer: {{accelerator: cpu, max_epochs: 1}}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "small.yaml", *words])
    assert stop.value.code == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("camtrain fit: error: ")
    assert message in error
    assert hint == "`camtrain fit --help` explains the options"
    assert [path.name for path in tmp_path.rglob("*")] == ["small.yaml"]
