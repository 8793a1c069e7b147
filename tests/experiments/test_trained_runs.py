from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from experiments import results_table, trained_runs
from experiments.trained_runs import newest_version, runs_by_seed, scores_of, settings_of, trained_network


def make_run(folder, version, accuracy, *, seed=0):
    of_version = folder / f"version_{version}"
    of_version.mkdir(parents=True)
    (of_version / "scores.json").write_text(json.dumps({"test/accuracy": accuracy, "test/loss_regularizer": None}))
    (of_version / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{regularizer_weight: 0.1}}\n")


def test_the_newest_version_with_scores_counts(tmp_path):
    run = tmp_path / "plain_seed0"
    assert scores_of(run) is None
    make_run(run, 2, 0.2)
    make_run(run, 10, 0.9)
    (run / "version_11").mkdir()  # was stopped
    assert scores_of(run) == {"test/accuracy": 0.9, "test/loss_regularizer": None}
    assert newest_version(run, "scores.json") == run / "version_10" / "scores.json"


def test_runs_by_seed(tmp_path):
    for name in ("plain_seed10", "plain_seed2", "plain_60_seed0", "plain_seed0.log", "plain_seed1_old"):
        (tmp_path / name).mkdir()
    assert runs_by_seed(tmp_path, "plain") == {2: tmp_path / "plain_seed2", 10: tmp_path / "plain_seed10"}


def test_settings_are_in_the_order_of_the_script(tmp_path):
    script = tmp_path / "run.sh"
    script.write_text('settings=(\n    "b_1|x --y 1"\n    "a|"\n)\necho "c|d"\n')
    assert settings_of(script) == ["b_1", "a"]


def test_without_a_checkpoint_the_program_ends(tmp_path):
    with pytest.raises(SystemExit, match=r"no checkpoint in .*plain"):
        trained_network(tmp_path / "plain")


def test_the_network_is_that_of_the_newest_version(tmp_path, monkeypatch):
    for version in (9, 10):
        (tmp_path / f"version_{version}" / "checkpoints").mkdir(parents=True)
        (tmp_path / f"version_{version}" / "checkpoints" / "last.ckpt").touch()
    # A folder stands for the checkpoint that was scored.
    monkeypatch.setattr(trained_runs, "load_network", lambda path, device: SimpleNamespace(network=path))
    assert trained_network(tmp_path) == tmp_path / "version_10"
    assert trained_network(tmp_path, last=True) == tmp_path / "version_10" / "checkpoints" / "last.ckpt"


def test_rows_of_runs_that_are_not_here_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiment"
    folder.mkdir()
    readme = folder / "README.md"
    readme.write_text("<!-- results of experiments/experiment -->\n<!-- end -->\n")
    make_run(tmp_path / "runs" / "a_seed0", 0, 0.5, seed=0)
    make_run(tmp_path / "runs" / "a_seed1", 0, 0.7, seed=1)
    results_table.main(folder, ["λ = 0=runs/a_seed*"])
    assert "| λ = 0 | 2 | 60.0 ± 14.1 | – |" in readme.read_text()
    before = (folder / "results.csv").read_text()
    for path in sorted((tmp_path / "runs").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    results_table.main(folder, ["λ = 0=runs/a_seed*"])
    assert (folder / "results.csv").read_text() == before
    make_run(tmp_path / "runs" / "a_seed1", 0, 0.9, seed=1)
    results_table.main(folder, ["λ = 0=runs/a_seed*"])
    assert "| λ = 0 | 2 | 70.0 ± 28.3 | – |" in readme.read_text()
    make_run(tmp_path / "runs" / "c_seed0", 0, 0.1, seed=0)
    results_table.main(folder, ["λ = 2=runs/c_seed*"])
    assert "| λ = 2 | 1 | 10.0 | – |" in readme.read_text()
    assert "| λ = 0 | 2 | 70.0 ± 28.3 | – |" in readme.read_text()  # not named, and kept
    with pytest.raises(SystemExit, match="no run with scores matches runs/b"):
        results_table.main(folder, ["λ = 1=runs/b_seed*"])
