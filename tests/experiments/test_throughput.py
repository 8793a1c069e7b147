from __future__ import annotations

import argparse
import sys

import pytest

from experiments.result_rows import read_rows
from experiments.throughput import throughput

SETTINGS = argparse.Namespace(images=250, batch_size=100, device="cpu", threads=2)


def test_ratios_are_those_of_each_round():
    """A round takes 200 images, since the last batch is not full."""
    rounds = [
        {"bare": [1.0, 2.0], "training": [2.0, 2.5]},
        {"bare": [4.0, 2.0], "training": [5.0, 2.5]},
        {"bare": [2.0, 2.0], "training": [2.0, 2.5]},
    ]
    row = throughput.row_of("in memory", rounds, SETTINGS)
    assert (row.images_per_second, row.bare_images_per_second) == ("100", "100")
    assert (row.ratio, row.ratio_low, row.ratio_high) == ("0.800", "0.650", "0.900")
    assert {row.processor_ratio, row.processor_ratio_low, row.processor_ratio_high} == {"0.800"}
    assert "80.0 (65.0 to 90.0)" in throughput.table([row])


@pytest.mark.slow
def test_both_loops_are_measured(tmp_path, monkeypatch):
    words = ["--quick", "--ways", "in memory", "--results", str(tmp_path / "results.csv")]
    monkeypatch.setattr(sys, "argv", ["throughput", *words])
    throughput.main()
    (row,) = read_rows(tmp_path / "results.csv")
    assert row["rounds"] == "2"
    assert float(row["ratio"]) > 0
