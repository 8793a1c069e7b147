"""A checkpoint that is something else is named by one line, whatever command reads it, and runs no code."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch

from camtrain import Classifier
from camtrain.cli import main
from camtrain.loading import load_network
from camtrain.networks import CIFARResNet
from camtrain.networks.checkpoint_file import CHECKSUM
from camtrain.networks.initial_weights import load_initial_weights
from camtrain.regularizers import InterpretableGradient, MapDistillation
from camtrain.runs.checkpoint_io import WholeCheckpointIO
from camtrain.runs.given_checkpoint import GivenCheckpoint
from tests.faults.checkpoints import CONFIG, KINDS, Code, made

pytestmark = [
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]

ADDRESSES = ["http://127.0.0.1:9/a.ckpt", "https://a.b/c", "s3://models/a.ckpt", "memory://a.ckpt", "registry:a"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run of one epoch in it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["fit", "--config", "small.yaml"])
    return folder


@pytest.fixture
def content(trained, tmp_path, monkeypatch):
    """The content of the run's last checkpoint; the working folder is a copy of the run's."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return torch.load(tmp_path / "runs/small/version_0/checkpoints/last.ckpt", weights_only=True)


@pytest.fixture
def refusal(capsys):
    """Runs `camtrain <words>`, which must end with status 2, and returns its one line."""

    def run(*words: str) -> str:
        before = sorted(Path.cwd().rglob("*"))
        with pytest.raises(SystemExit) as stop:
            main([*words])
        printed = capsys.readouterr().err
        assert stop.value.code in (1, 2)
        assert "Traceback" not in printed
        (line,) = [each for each in printed.splitlines() if "error:" in each]
        assert sorted(Path.cwd().rglob("*")) == before, "something was written"
        return line

    return run


_REBUILT = ("another network", "other classes")  # by all that read what the network is from the checkpoint
SOME = ("empty", "flipped", "code", "other classes", "nan")  # one of each place where a file is refused
_FAST = [("fit", kind) for kind in SOME] + [
    ("validate", "nan"),
    ("test", "cut"),
    ("predict", "folder"),
    ("predict", "nan"),
]
_ALL = [(command, kind) for command in ("fit", "validate", "test", "predict") for kind in KINDS]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_training_or_a_test(kind, training, content):
    """What the four commands do first."""
    path = made(kind, Path("given.ckpt"), content)
    module = Classifier(CIFARResNet(8, 10, width=4, stem_stride=2), 10, regularizer=InterpretableGradient())
    with pytest.raises((ValueError, FileNotFoundError), match=KINDS[kind][1]) as refused:
        GivenCheckpoint(path, training=training).check(module, None)
    assert re.search(r"`checkpoint`: .*given\.ckpt", str(refused.value))
    assert not path.with_suffix(".ran").exists()


@pytest.mark.parametrize(
    ("command", "kind"), [pytest.param(*each, marks=[] if each in _FAST else pytest.mark.slow) for each in _ALL]
)
def test_of_ckpt_path(command, kind, content, refusal):
    path = made(kind, Path("given.ckpt"), content)
    line = refusal(command, "--config", "small.yaml", "--ckpt_path", str(path))
    assert "--ckpt_path: " in line
    assert "given.ckpt" in line
    assert re.search(KINDS[kind][1], line)
    assert not path.with_suffix(".ran").exists()


# In the place of a file that cannot be read or is damaged, an earlier one is taken.
@pytest.mark.parametrize(
    "kind", ["nan", *(pytest.param(kind, marks=pytest.mark.slow) for kind in (*_REBUILT, "missing key", "infinite"))]
)
def test_of_a_run_that_is_gone_on_with(kind, content, refusal):
    made(kind, Path("runs/small/version_0/checkpoints/last.ckpt"), content)
    line = refusal("fit", "--config", "small.yaml", "--run.resume", "true", "--trainer.max_epochs", "2")
    assert re.search(rf"--run.resume: .*last\.ckpt.*{KINDS[kind][1]}", line)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in _REBUILT])
@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--config", "small.yaml", "--checkpoint", "given.ckpt"],
        ["evaluate", "--checkpoint", "runs/small", "--compare", "given.ckpt"],
        ["explain", "--images", "a.png", "--checkpoint", "given.ckpt"],
    ],
    ids=["evaluate", "compare", "explain"],
)
def test_of_checkpoint(kind, words, content, refusal):
    made(kind, Path("given.ckpt"), content)
    line = refusal(*words)
    assert "--compare: " in line if "--compare" in words else "--checkpoint: " in line
    assert "given.ckpt" in line
    assert re.search(KINDS[kind][1], line)
    assert not Path("given.ran").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_in_python(kind, content, monkeypatch):
    path = made(kind, Path("given.ckpt"), content)
    readers = {
        "initial_weights": lambda: load_initial_weights(CIFARResNet(8, 10, width=4, stem_stride=2), path),
        "checkpoint": lambda: MapDistillation(CIFARResNet(8, 10, width=4, stem_stride=2), str(path)),
    }
    if kind not in _REBUILT:
        readers["`checkpoint`"] = lambda: load_network(path)
    for argument, read in readers.items():
        if (argument, kind) == ("checkpoint", "state dict"):
            continue  # a teacher may be a bare state dict
        with pytest.raises((ValueError, FileNotFoundError), match=argument) as refused:
            read()
        assert "given.ckpt" in str(refused.value)
    assert not Path("given.ran").exists()


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_is_downloaded(address, refusal, content, monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", None)
    monkeypatch.setattr("fsspec.open", None)
    said = f"expected a path on this machine, got {address}; download it first"
    if address == ADDRESSES[0]:
        for command in ("fit", "predict"):
            assert said in refusal(command, "--config", "small.yaml", "--ckpt_path", address)
    assert f"--checkpoint: {said}" in refusal("explain", "--images", "a.png", "--checkpoint", address)
    assert f"--checkpoint: {said}" in refusal("evaluate", "--checkpoint", address)
    assert f"--compare: {said}" in refusal("evaluate", "--checkpoint", "runs/small", "--compare", address)
    network = CIFARResNet(8, 10)
    for read in (
        lambda: load_network(address),
        lambda: load_network(Path(address)),
        lambda: Classifier.load_from_checkpoint(address),
        lambda: load_initial_weights(network, address),
        lambda: MapDistillation(network, address),
    ):
        with pytest.raises(ValueError, match="expected a path on this machine, got"):
            read()


@pytest.mark.parametrize("given", [["--weights_only", "false", "--ckpt_path", "code.ckpt"], ["--ckpt_path", "best"]])
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_no_option_makes_code_run(given, command, content, refusal):
    torch.save({"state_dict": Code(Path("code.ran"))}, "code.ckpt")
    assert re.search(
        "--weights_only: expected true|--ckpt_path: expected the path",
        refusal(command, "--config", "small.yaml", *given),
    )
    assert not Path("code.ran").exists()


def test_lightning_reads_no_code(content):
    """Where it finds the file itself: `last`, `hpc`, and the best checkpoint that `fit` tests."""
    torch.save({"state_dict": Code(Path("code.ran"))}, "code.ckpt")
    with pytest.raises(ValueError, match="objects of Python"):
        WholeCheckpointIO().load_checkpoint("code.ckpt", weights_only=False)
    assert not Path("code.ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("word", "name"), [("hpc", "hpc_ckpt_1.ckpt"), ("last", "fixed/last.ckpt")])
def test_a_file_that_lightning_finds_runs_no_code_either(word, name, content, capsys):
    Path("fixed").mkdir()
    torch.save({"state_dict": Code(Path("code.ran"))}, name)
    words = ["--trainer.default_root_dir", ".", "--checkpoint.dirpath", "fixed", "--checkpoint.save_last", "true"]
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "small.yaml", "--ckpt_path", word, *words])
    assert re.search(f"error: --ckpt_path: cannot load .*{name}", capsys.readouterr().err)
    assert not Path("code.ran").exists()


@pytest.mark.slow
def test_a_name_that_looks_like_an_address_is_a_file(content, capsys):
    """Lightning would ask a server for `http.ckpt`."""
    for name in ("http.ckpt", "registry"):
        torch.save(content, name)
        main(["validate", "--config", "small.yaml", "--ckpt_path", name])
        Classifier.load_from_checkpoint(name)


def test_a_run_s_folder_is_its_best_checkpoint(content):
    best = Path("runs/small/version_0/checkpoints/epoch_000.ckpt").absolute()
    assert GivenCheckpoint("runs/small", training=False).path == best
    with pytest.raises(
        ValueError, match=r"expected the file to go on from, got the folder runs/small; pass .*last\.ckpt"
    ):
        GivenCheckpoint("runs/small", training=True)


def test_weights_alone_are_enough_for_all_but_a_training(content):
    alone = {key: content[key] for key in ("state_dict", "hyper_parameters", "pytorch-lightning_version")}
    torch.save(alone, "weights.ckpt")
    with pytest.raises(ValueError, match=r"a training cannot go on from .*; pass it as --model\.initial_weights"):
        GivenCheckpoint("weights.ckpt", training=True)
    GivenCheckpoint("weights.ckpt", training=False)


@pytest.mark.parametrize("place", ["best_model_path", "kth_best_model_path", "best_k_models"])
@pytest.mark.parametrize("path", ["http://127.0.0.1:9/a.ckpt", "{here}/checkpoints/../../../../outside.ckpt"])
def test_a_checkpoint_does_not_say_which_files_are_read_and_deleted(place, path, content):
    """Lightning deletes what is no longer among the best, whatever the checkpoint calls it."""
    path = path.format(here=Path("runs/small/version_0").absolute())
    for state in content["callbacks"].values():
        if place in state:
            state[place] = {path: torch.tensor(0.0)} if place == "best_k_models" else path
    content.pop(CHECKSUM, None)
    torch.save(content, "given.ckpt")
    with pytest.raises(ValueError, match=r"given\.ckpt names a file that is not"):
        GivenCheckpoint("given.ckpt", training=True)
    GivenCheckpoint("given.ckpt", training=False)


def test_a_run_may_be_in_a_folder_above(content, monkeypatch):
    Path("below").mkdir()
    monkeypatch.chdir("below")
    for state in content["callbacks"].values():
        if "dirpath" in state:
            best = "../runs/small/version_0/checkpoints/epoch_000.ckpt"
            state |= {"dirpath": "../runs/small/version_0/checkpoints", "best_model_path": best}
            state |= {"kth_best_model_path": best, "best_k_models": {best: torch.tensor(0.0)}, "last_model_path": ""}
    content.pop(CHECKSUM, None)
    torch.save(content, "given.ckpt")
    GivenCheckpoint("given.ckpt", training=True)


@pytest.mark.slow
def test_damaged_states_are_one_line(content, capsys):
    """What only Lightning and the callbacks can check."""
    broken = {**content, "optimizer_states": [{"state": {}, "param_groups": []}]}
    broken.pop(CHECKSUM, None)
    torch.save(broken, "given.ckpt")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "small.yaml", "--ckpt_path", "given.ckpt", "--trainer.max_epochs", "2"])
    assert stop.value.code == 1
    assert re.search(
        r"error: --ckpt_path: cannot load .*given\.ckpt: loaded state dict has a different number",
        capsys.readouterr().err,
    )
