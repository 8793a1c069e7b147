"""Files of a run that are gone, empty, cut or flipped: each is named, kept, and replaced by what is left."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from camtrain.messages import CamtrainWarning
from camtrain.networks.checkpoint_file import CHECKSUM, checksum_of
from camtrain.runs.resumed_run import resumed_run
from tests.faults.conftest import table

HOWS = ("gone", "empty", "cut", "flipped")


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()  # it may be the same file as another one
    if how == "flipped":
        for place in range(len(data) // 10, len(data), len(data) // 10):
            data[place] ^= 0x55
    if how != "gone":
        path.write_bytes({"empty": b"", "cut": bytes(data[: len(data) // 2]), "flipped": bytes(data)}[how])


@pytest.fixture
def parts(two_runs, tmp_path, monkeypatch) -> Path:
    """A copy of the run that was killed."""
    shutil.copytree(two_runs, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("runs/parts/version_0")


def resumed_with(said: list[str]):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = resumed_run(Path("runs/parts"))
    messages = [str(each.message) for each in caught]
    assert len(messages) == bool(said), messages
    for word in said:
        assert word in messages[0]
    return run


def test_a_whole_run_is_resumed_in_silence(parts):
    run = resumed_with([])
    assert (run.checkpoint, run.steps, run.version) == (parts / "checkpoints/last.ckpt", 4, 0)
    assert run.rows is not None
    assert run.config["seed_everything"] == 0


@pytest.mark.parametrize("how", HOWS)
def test_without_the_last_checkpoint_the_one_before_it_is_taken(parts, how):
    last = parts / "checkpoints/last.ckpt"
    damage(last, how)
    run = resumed_with(
        [str(last), "gone" if how == "gone" else "kept as last.ckpt.damaged", "from previous.ckpt, after"]
    )
    assert (run.checkpoint.name, run.steps) == ("previous.ckpt", 2)
    assert last.with_name("last.ckpt.damaged").exists() == (how != "gone")
    assert not last.exists()


@pytest.mark.parametrize("how", HOWS)
def test_without_both_the_newest_of_the_others_is_taken(parts, how):
    for name in ("last.ckpt", "previous.ckpt"):
        damage(parts / "checkpoints" / name, how)
    # Where nothing is left but the best checkpoint of the first epoch, a kill may have come before the last one.
    said = ["last.ckpt is damaged", "previous.ckpt is damaged", "the run goes on from epoch_000.ckpt"]
    run = resumed_with([] if how == "gone" else said)
    assert run.steps == torch.load(run.checkpoint, weights_only=True)["global_step"]


def test_without_any_a_new_run_begins(parts):
    names = [path.name for path in (parts / "checkpoints").iterdir()]
    for name in names:
        damage(parts / "checkpoints" / name, "empty")
    assert resumed_with([*names, "no checkpoint in", "can be gone on from"]) is None
    assert all((parts / "checkpoints" / f"{name}.damaged").exists() for name in names)
    assert resumed_with([]) is None


def test_a_last_checkpoint_of_weights_alone_is_kept_and_said(parts):
    last = parts / "checkpoints/last.ckpt"
    torch.save(torch.load(last, weights_only=True)["state_dict"], last)
    run = resumed_with(["it has no 'state_dict', without which a training cannot go on) and kept as last.ckpt.damaged"])
    assert run.checkpoint.name == "previous.ckpt"
    assert last.with_name("last.ckpt.damaged").exists()


def test_weights_alone_and_other_files_are_not_gone_on_from(parts):
    for name in ("last.ckpt", "previous.ckpt"):
        damage(parts / "checkpoints" / name, "gone")
    for path in (parts / "checkpoints").iterdir():
        weights = {"global_step": 3, "state_dict": torch.load(path, weights_only=True)["state_dict"]}
        torch.save({**weights, CHECKSUM: checksum_of(weights)}, path)
    torch.save([1, 2], parts / "checkpoints/list.ckpt")
    (parts / "checkpoints/version_x").mkdir()
    assert resumed_with(["last.ckpt is gone", "list.ckpt is damaged"]) is None


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_configuration_is_that_of_the_checkpoint(parts, how):
    path = parts / "config.yaml"
    expected = yaml.safe_load(path.read_text())
    damage(path, how)
    run = resumed_with(
        [str(path), "gone" if how == "gone" else "kept as config.yaml.damaged", "as the checkpoint has it"]
    )
    assert all(run.config[key] == expected[key] for key in ("seed_everything", "model", "data"))


def test_another_setting_in_the_configuration_is_noticed(parts):
    path = parts / "config.yaml"
    path.write_text(path.read_text().replace("depth: 8", "depth: 9"))
    run = resumed_with(["it is not the configuration of the checkpoint", "config.yaml.damaged"])
    assert run.config["model"]["network"]["init_args"]["depth"] == 8


def test_parts_of_checkpoints_that_killed_processes_left_are_removed(parts):
    mine, dead = (parts / "checkpoints" / f".{pid}.last.ckpt" for pid in (1, 2**22 + 1))
    for path in (mine, dead):
        path.write_bytes(b"half")
    resumed_with([])
    assert mine.exists(), "its process is alive"
    assert not dead.exists()
    damage(parts / "checkpoints/last.ckpt", "empty")
    damage(parts / "checkpoints/previous.ckpt", "empty")
    resumed_with(["goes on from epoch_000.ckpt"])
    assert mine.exists(), "it is no checkpoint yet"


def test_a_run_whose_files_are_all_damaged_ends_as_the_whole_one(parts, fit_here, capfd):
    """But for the best checkpoint, all that is lost can be made again."""
    for name, how in (("checkpoints/last.ckpt", "cut"), ("config.yaml", "empty"), ("metrics.csv", "flipped")):
        damage(parts / name, how)
    best = next((parts / "checkpoints").glob("epoch_*.ckpt"))
    damage(best, "flipped")
    assert fit_here("--run.name", "parts", "--run.resume", "true") == 0
    said = capfd.readouterr().err
    for name in ("last.ckpt", "config.yaml", "metrics.csv"):
        assert len([line for line in said.splitlines() if "warning: " in line and f"{name}.damaged" in line]) == 1
    assert "Traceback" not in said
    whole = Path("runs/whole/version_0")
    # Another epoch is the best one of those that are left.
    assert trained(parts) == trained(whole)
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (parts, whole)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    scores = [json.loads((run / "scores.json").read_text()) for run in (parts, whole)]
    assert scores[0]["val/accuracy"] == scores[1]["val/accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["parts", "whole"])
@pytest.mark.parametrize("name", ["last.ckpt", "best", "previous.ckpt", "config.yaml", "metrics.csv", "scores.json"])
@pytest.mark.parametrize("how", HOWS)
def test_any_damaged_file_is_named_and_the_run_ends(parts, fit_here, capfd, run, name, how):
    """Of a run that goes on, and of one that only has its test left."""
    folder = parts.parents[1] / run / "version_0"
    best = next((folder / "checkpoints").glob("epoch_*.ckpt"))
    path = {"best": best}.get(name, folder / ("checkpoints" if name.endswith(".ckpt") else "") / name)
    if not path.exists():
        pytest.skip("a run that was killed has no scores")
    damage(path, how)
    assert fit_here("--run.name", run, "--run.resume", "true") == 0
    said = capfd.readouterr().err
    assert "Traceback" not in said
    if how != "gone" and name != "previous.ckpt":  # which nobody reads as long as the last one is good
        assert f"{path.name}.damaged" in said
        assert path.with_name(f"{path.name}.damaged").exists()
    weights = [
        torch.load(f"runs/{each}/version_0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for each in ("parts", "whole")
    ]
    assert run == "whole" or all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    if run == "parts":
        compared = trained if name == "best" else table
        assert compared(folder) == compared(Path("runs/whole/version_0"))


def trained(run: Path) -> list[dict[str, str]]:
    return [row for row in table(run) if not row["test/accuracy"]]


def test_a_lost_best_checkpoint_is_forgotten(tmp_path):
    from camtrain.callbacks.lost_checkpoints import _lost, _without

    names = {"a.ckpt": 0.5, "b.ckpt": 0.9, "c.ckpt": 0.7}
    for name in ("a.ckpt", "c.ckpt"):
        torch.save({"state_dict": {}}, tmp_path / name)
    (tmp_path / "b.ckpt").write_bytes(b"torn")
    scores = {str(tmp_path / name): torch.tensor(score) for name, score in names.items()}
    best, worst = str(tmp_path / "b.ckpt"), str(tmp_path / "a.ckpt")
    state = {
        "monitor": "val/accuracy",
        "dirpath": str(tmp_path),
        "best_k_models": scores,
        "best_model_path": best,
        "best_model_score": scores[best],
        "kth_best_model_path": worst,
        "kth_value": scores[worst],
    }
    said = r"b\.ckpt, the best checkpoint of val/accuracy, is damaged .*b\.ckpt\.damaged"
    with pytest.warns(CamtrainWarning, match=said):
        lost = _lost(state)
    assert lost == [best]
    left = _without(state, lost, "max")
    assert Path(left["best_model_path"]).name == "c.ckpt"
    assert left["best_model_score"] == torch.tensor(0.7)
    assert Path(left["kth_best_model_path"]).name == "a.ckpt"
    none = _without({**state, "best_k_models": {best: scores[best]}}, lost, "max")
    assert (none["best_model_path"], none["best_model_score"], none["kth_value"]) == ("", None, -torch.inf)
