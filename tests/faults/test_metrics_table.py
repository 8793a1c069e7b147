"""No row of `metrics.csv` is lost: not at a kill, not with the file."""

from __future__ import annotations

import json
import os
import struct
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from wandb.proto.wandb_internal_pb2 import Record

from camtrain.messages import CamtrainWarning
from camtrain.runs.metrics_table import MetricsTable, continued_rows, rows_of, table_text
from camtrain.runs.wandb_history import log_missing_rows, wandb_rows
from tests.faults.conftest import Killed, fit_killed, table
from tests.offline_run import OfflineRun

ROWS = [
    {"epoch": 0, "step": 1, "val/accuracy": 0.5},
    {"epoch": 0, "step": 1, "train/loss": 1.25, "train/note, quoted": 3.0},
    {"epoch": 1, "step": 3, "val/accuracy": 0.75},
    {"epoch": 1, "step": 3, "train/loss": 1.0, "train/note, quoted": 3.0},
]


def written(folder: Path, rows=ROWS, version=None) -> MetricsTable:
    logger = MetricsTable(str(folder), "run", version)
    for row in rows:
        logger.log_metrics({key: value for key, value in row.items() if key != "step"}, row["step"])
        logger.save()
    return logger


def test_the_file_is_complete_after_each_row(tmp_path):
    logger = MetricsTable(str(tmp_path), "run")
    for number, row in enumerate(ROWS, 1):
        logger.log_metrics({key: torch.tensor(value) for key, value in row.items() if key != "step"}, row["step"])
        logger.save()
        assert logger.path.read_bytes().decode() == table_text(ROWS[:number])
    assert [path.name for path in logger.path.parent.iterdir()] == ["metrics.csv"]


def test_a_kill_while_a_column_is_added_leaves_the_rows_before_it(tmp_path, monkeypatch):
    logger = written(tmp_path, ROWS[:1])

    def kill(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", kill)
    logger.log_metrics({"new": 1.0}, 2)
    with pytest.raises(KeyboardInterrupt):
        logger.save()
    assert logger.path.read_bytes().decode() == table_text(ROWS[:1])


def test_a_file_that_is_damaged_during_the_run_does_not_end_it(tmp_path):
    logger = written(tmp_path, ROWS[:2])
    damage(logger.path, "empty")
    logger.log_metrics({"new": 1.0}, 2)
    with pytest.warns(CamtrainWarning, match=r"it is empty\. It is kept as metrics\.csv\.damaged, and written again"):
        logger.save()
    assert rows_of(logger.path.read_text()) == [{"new": "1.0", "step": "2"}]


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(data[: len(data) * 2 // 3])
        case "flipped":
            path.write_bytes(data.replace(b"0.75", b"0.7u"))
        case "flipped digit":
            path.write_bytes(data.replace(b"0.75", b"0.85"))
        case "binary":
            path.write_bytes(b"\xff\x00\x01" + data)
        case "header":
            path.write_bytes(data.replace(b"step", b"steq", 1))
        case "not there yet":
            path.write_bytes(table_text(ROWS[:3]).encode())


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "flipped", "flipped digit", "binary", "header"])
def test_a_lost_file_is_written_again_from_the_checkpoint(tmp_path, how):
    path = written(tmp_path).path
    damage(path, how)
    with pytest.warns(CamtrainWarning) as caught:
        rows = continued_rows(path, ROWS, 4)
    assert rows == ROWS
    (message,) = (str(each.message) for each in caught)
    assert str(path) in message
    assert "written again from the checkpoint" in message
    assert path.with_name("metrics.csv.damaged").exists() == (how != "gone")
    MetricsTable(str(tmp_path), "run", 0, rows)
    assert path.read_bytes().decode() == table_text(ROWS)


@pytest.mark.parametrize("kept", [3, 4])
def test_a_whole_file_is_continued_in_silence(tmp_path, kept):
    """Also one without the row that was to come after the checkpoint, or with those of steps that are done again."""
    path = written(tmp_path).path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert continued_rows(path, ROWS[:kept], 3) == ROWS[:kept]
        damage(path, "not there yet")
        assert continued_rows(path, ROWS, 4) == ROWS
        assert continued_rows(tmp_path / "none.csv", [], 0) == []


@pytest.mark.parametrize(
    ("how", "left", "said"),
    [
        ("gone", 0, "rows up to step 4 are lost"),
        ("empty", 0, "it is empty"),
        ("cut", 1, "line 3 is incomplete or"),
        ("binary", 4, "can't decode"),
        ("flipped", 3, "line 4 is incomplete or has no number where one is expected"),
    ],
)
def test_without_the_checkpoints_rows_it_is_said_what_is_lost(tmp_path, how, left, said):
    """As in runs of earlier versions."""
    path = written(tmp_path).path
    damage(path, how)
    with pytest.warns(CamtrainWarning, match=said):
        rows = continued_rows(path, None, 4)
    assert len(rows) == left


def test_without_the_checkpoints_rows_those_of_its_steps_go_on(tmp_path):
    path = written(tmp_path).path
    assert [row["step"] for row in continued_rows(path, None, 3)] == ["1", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("a,b\n1,2\n", "not a header with a column `step`"),
        ("step,step\n1,1\n", "not a header with a column `step`"),
        ("step,a\n1\n", "line 2 is incomplete"),
        ("step\nx\n", "line 2 is incomplete or has no number"),
        ('step\n"1\n', "unexpected end of data"),
        ("step\n1\0\n", "line 2 is incomplete or has no number"),
        ("step,a\n1,0.25\n2,0.", "its last line is incomplete"),
    ],
)
def test_what_is_no_table_says_why(text, message):
    with pytest.raises(ValueError, match=message):
        rows_of(text)


def test_rows_that_wandb_lost_are_logged_again(tmp_path):
    logger = written(tmp_path)
    folder = logger.path.parent / "wandb/offline-run-20260101_000000-abc"
    folder.mkdir(parents=True)
    # The second row, and of the third one the beginning.
    found = [wandb_record(row) for row in ROWS[1:3]]
    (folder / "run-abc.wandb").write_bytes(b":W&B\0\0\0" + found[0] + found[1][:-3])

    class Logger:
        version = "abc"
        rows: ClassVar = []

        def log_metrics(self, values, step):
            self.rows.append({**values, "step": step})

    log_missing_rows(Logger(), logger)
    assert Logger.rows == [ROWS[0], *ROWS[2:]]


def wandb_record(row) -> bytes:
    record = Record()
    for key, value in {**row, "trainer/global_step": row["step"], "_runtime": 1}.items():
        if key != "step":
            item = record.history.item.add()
            item.nested_key.append(key)
            item.value_json = json.dumps(value)
    data = record.SerializeToString()
    return struct.pack("<IHB", 0, len(data), 1) + data


@pytest.mark.slow
def test_a_kill_right_after_a_checkpoint_loses_no_row(quick, monkeypatch, two_runs):
    """Neither in the table nor in W&B, whose files have lost the first epochs."""
    with pytest.raises(Killed):
        fit_killed(monkeypatch, "--run.name", "parts", "--run.wandb", "offline")
    parts, whole = Path("runs/parts/version_0"), two_runs / "runs/whole/version_0"
    assert len(table(parts)) == len([row for row in table(whole) if int(row["step"]) < 4]) - 1, "of the second epoch"
    (first,) = parts.glob("wandb/offline-run-*/*.wandb")
    first.write_bytes(first.read_bytes()[:2000])
    assert not any("val/accuracy" in row for row in wandb_rows(first))
    assert quick("--run.name", "parts", "--run.wandb", "offline", "--run.resume", "true") == 0
    assert table(parts) == table(whole)
    assert (parts / "metrics.csv").read_text().splitlines()[0] == (whole / "metrics.csv").read_text().splitlines()[0]
    OfflineRun(max(parts.glob("wandb/offline-run-*")))  # waits until W&B's own process has written all
    logged = [row for path in parts.glob("wandb/offline-run-*/*.wandb") for row in wandb_rows(path)]
    for key in ("val/accuracy", "train/loss", "test/accuracy"):
        expected = [(int(row["epoch"]), float(row[key])) for row in table(whole) if row[key]]
        assert sorted((row["epoch"], row[key]) for row in logged if key in row) == sorted(expected)
