"""Runs that begin at the same time have folders of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from camtrain.runs import RunSettings, fit
from camtrain.runs.claimed_folder import claimed_version
from camtrain.runs.metrics_table import MetricsTable


def test_those_who_come_together_have_one_each(tmp_path):
    together = Barrier(8)

    def claim(_):
        together.wait()
        return claimed_version(tmp_path / "runs/plain", 0)

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(8)))
    assert sorted(number for number, _ in claimed) == list(range(8))
    made = [folder for _, folders in claimed for folder in folders]
    assert len(made) == len(set(made)) == 8 + 2, "each folder has one process that made it"


def test_a_folder_above_that_is_removed_meanwhile_is_made_again(tmp_path, monkeypatch):
    runs, mkdir = tmp_path / "plain", Path.mkdir

    def slow(folder, *arguments, **options):
        if folder.name == "version_0" and not (tmp_path / "removed").exists():
            (tmp_path / "removed").touch()
            runs.rmdir()
        mkdir(folder, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", slow)
    assert claimed_version(runs, 0) == (0, [runs / "version_0", runs])


def test_what_is_in_the_way_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for name in ("file", "nowhere"):
        with pytest.raises(OSError, match=name):
            claimed_version(tmp_path / name, 0)


@pytest.fixture
def at_once(monkeypatch):
    """Lets all runs find the same number, as those do that look before any has its folder."""
    monkeypatch.setattr(MetricsTable, "_get_next_version", lambda _table: 0)


def test_the_table_of_a_new_run_takes_no_folder_of_another(tmp_path, at_once):
    tables = [MetricsTable(str(tmp_path / "runs"), "plain") for _ in range(2)]
    assert {table.log_dir for table in tables} == {str(tmp_path / "runs/plain/version_0")}
    for table in tables:
        table.log_metrics({"a": 1.0}, 0)
    assert [table.version for table in tables] == [0, 1]
    assert tables[1].made == [tmp_path / "runs/plain/version_1"]


def test_a_run_that_fails_removes_nothing_of_the_one_that_was_faster(tmp_path, monkeypatch, at_once):
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parents[2] / "configs/quickstart.yaml"
    other = Path("runs/quickstart/version_0")
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("model: {}")

    def fails(*_arguments, **_options):
        raise RuntimeError("no")

    monkeypatch.setattr("camtrain.callbacks.DataSummary.setup", fails)
    with pytest.raises(RuntimeError, match="no"):
        fit(config, RunSettings(wandb="disabled"))
    assert (other / "config.yaml").read_text() == "model: {}"
    assert [each.name for each in Path("runs/quickstart").iterdir()] == ["version_0"]
