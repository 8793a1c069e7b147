from __future__ import annotations

from dataclasses import dataclass

import pytest

from experiments.result_rows import ResultRows, read_rows, write_rows


@dataclass(frozen=True)
class Case:
    network: str
    threads: str


@dataclass(frozen=True)
class Row(Case):
    seconds: str


def rows_in(path, **options):
    return ResultRows(path, Row, Case, **options)


def test_a_stopped_run_resumes(tmp_path):
    path = tmp_path / "new" / "results.csv"
    rows = rows_in(path)
    assert Case("vgg", "1") not in rows
    rows.add(Row("vgg", "1", "0.5"))
    assert Case("vgg", "1") in rows
    assert path.read_text() == "network,threads,seconds\nvgg,1,0.5\n"
    resumed = rows_in(path)
    assert Case("vgg", "1") in resumed
    assert Case("vgg", "2") not in resumed
    resumed.add(Row("vgg", "2", 'two, "about"'))
    assert list(rows_in(path)) == [Row("vgg", "1", "0.5"), Row("vgg", "2", 'two, "about"')]


def test_nothing_is_written_twice(tmp_path):
    path = tmp_path / "results.csv"
    rows_in(path).add(Row("vgg", "1", "0.5"))
    rows = rows_in(path)
    rows.add(Row("vgg", "1", "0.7"), Row("vgg", "2", "0.9"), Row("vgg", "2", "0.9"))
    assert path.read_text() == "network,threads,seconds\nvgg,1,0.5\nvgg,2,0.9\n"
    assert len(rows) == 2


def test_fresh_forgets(tmp_path):
    path = tmp_path / "results.csv"
    rows_in(path).add(Row("vgg", "1", "0.5"))
    assert len(rows_in(path, fresh=True)) == 0
    assert not path.exists()


def test_a_row_that_was_cut_off_is_measured_again(tmp_path, capsys):
    path = tmp_path / "results.csv"
    # 0.5 of 0.53: nothing but the missing end of the line tells.
    path.write_text("network,threads,seconds\nvgg,1,0.4\nvgg,2,0.5")
    rows = rows_in(path)
    assert "cut off" in capsys.readouterr().out
    assert list(rows) == [Row("vgg", "1", "0.4")]
    rows.add(Row("vgg", "2", "0.53"))
    assert path.read_text() == "network,threads,seconds\nvgg,1,0.4\nvgg,2,0.53\n"


def test_a_heading_that_was_cut_off(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("network,thr")
    rows = rows_in(path)
    rows.add(Row("vgg", "1", "0.4"))
    assert path.read_text() == "network,threads,seconds\nvgg,1,0.4\n"


def test_other_columns(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("network,seconds\nvgg,0.5\n")
    with pytest.raises(ValueError, match=r"expected the columns \['network', 'threads', 'seconds'\].*got \['network'"):
        rows_in(path)


def test_rows_are_written_by_name_or_in_order(tmp_path):
    path = tmp_path / "results.csv"
    write_rows(path, ["λ", "seed"], [{"seed": 1, "λ": 0.1}, {"λ": 1}, [2, "a,b"]])
    assert path.read_bytes().decode() == 'λ,seed\n0.1,1\n1,\n2,"a,b"\n'
    assert read_rows(path, ["λ", "seed"])[2] == {"λ": "2", "seed": "a,b"}
    assert read_rows(tmp_path / "none.csv", ["λ"]) == []
