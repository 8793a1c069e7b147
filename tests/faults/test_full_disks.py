"""A disk that is full, or a folder that takes no file: one line says which, nothing is half written, and work goes on.

A limit on the size of files stands in for a full disk: the system refuses the bytes beyond it, in the middle of a file.
Permissions do not stop an administrator, so a file stands in the place of a folder that takes nothing.
"""

from __future__ import annotations

import errno
import resource
import signal
import sys
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain import CamtrainWarning
from camtrain.ablation import LocalExecutor
from camtrain.ablation.ablate import run_study
from camtrain.cli import main
from camtrain.evaluation import Evaluator, evaluate
from camtrain.files import CannotWriteError, whole_file, write_whole
from camtrain.networks import CIFARResNet
from camtrain.report import write_report
from camtrain.study import Study, StudyPlan, Trial
from tests.report.studies import made_up, simple, with_pictures

FREE = r"\(.+ [MG]B free\)"
FULL = f"File too large {FREE}"


@contextmanager
def full_disk(bytes_of_a_file):
    """No file may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_of_a_file, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN  # Python's choice: an error instead of the end


@pytest.fixture
def command(capfd):
    """Runs `camtrain <words>` on a full disk; the exit status, and what it said on stderr."""

    def run(*words, size=None):
        status = 0
        try:
            if size is None:
                main(list(words))
            else:
                said = StringIO()  # pytest's own file for it would be on the full disk, too
                try:
                    with full_disk(size), redirect_stderr(said):
                        main(list(words))
                finally:
                    sys.stderr.write(said.getvalue())
        except SystemExit as stop:
            status = stop.code
        return status, capfd.readouterr().err

    return run


def files(folder="."):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def whole(folder):
    """All files of a folder, none of which is empty, half a picture or a temporary one."""
    found = files(folder)
    for path in found:
        assert path.stat().st_size > 0, path
        assert not path.name.startswith(".") or path.name in (".lock", ".study.json"), path
        if path.suffix == ".png":
            Image.open(path).load()
    return found


@pytest.mark.parametrize("writer", ["text", "torch", "numpy", "picture"])
def test_a_file_that_does_not_fit_names_its_folder_and_the_free_space(writer):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    writers = {
        "text": lambda path: path.write_text("x" * 5000),
        "torch": lambda path: torch.save({"a": torch.rand(5000)}, path),
        "numpy": lambda path: np.savez(path, noise=noise),
        "picture": lambda path: Image.fromarray(noise).save(path, format="png"),
    }
    path = Path("results/a.npz")
    path.parent.mkdir()
    path.write_text("before")
    why = "it could not be written to its end" if writer == "torch" else "File too large"

    def write():
        with whole_file(path) as unfinished:
            writers[writer](unfinished)

    with full_disk(1000), pytest.raises(CannotWriteError, match=f"^cannot write a.npz to results: {why} {FREE}$") as no:
        write()
    assert no.value.errno == (None if writer == "torch" else errno.EFBIG)
    assert [each.name for each in files("results")] == ["a.npz"]
    assert path.read_text() == "before"


def test_a_folder_that_cannot_be_made_is_named():
    Path("file").touch()
    with pytest.raises(CannotWriteError, match=rf"^cannot write a.txt to file/below: Not a directory {FREE}$"):
        write_whole(Path("file/below/a.txt"), "a")


def test_another_file_that_cannot_be_read_is_not_blamed_on_the_disk():
    with pytest.raises(FileNotFoundError, match="absent"), whole_file(Path("a.png")):
        Path("somewhere/absent.png").read_bytes()
    with pytest.raises(RuntimeError, match="shapes"), whole_file(Path("a.png")):
        raise RuntimeError("shapes differ")
    assert files() == []


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, width=4)


BATCHES = [(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(n)), torch.arange(4)) for n in range(3)]
QUICK = {"metrics": "average_drop", "batch_size": 4, "num_resamples": 20, "progress": False}


def test_an_evaluation_goes_on_from_its_last_whole_batch(network, monkeypatch):
    once = evaluate(network, BATCHES, **QUICK)
    save, evaluator, scored = torch.save, Evaluator.__call__, []

    def full_after_two(found, path):
        with full_disk(1000 if found["indices"][0] == 8 else resource.RLIM_INFINITY):
            save(found, path)

    def counted(self, batch):
        scored.append(len(batch))
        return evaluator(self, batch)

    monkeypatch.setattr(Evaluator, "__call__", counted)
    monkeypatch.setattr(torch, "save", full_after_two)
    with pytest.raises(CannotWriteError, match=f"batch_00002.pt to out/rows: .* {FREE}; called again .* goes on from"):
        evaluate(network, BATCHES, folder="out", **QUICK)
    assert sorted(path.name for path in whole("out")) == ["batch_00000.pt", "batch_00001.pt", "settings.json"]
    scored.clear()
    monkeypatch.setattr(torch, "save", save)
    again = evaluate(network, BATCHES, folder="out", **QUICK)
    assert scored == [4]
    assert [each.interval for each in again] == [each.interval for each in once]


def test_tables_and_pictures_that_do_not_fit_are_made_by_the_next_call(network):
    evaluate(network, BATCHES, folder="out", **QUICK)
    kept = set(files("out/rows"))
    for path in set(files("out")) - kept:
        path.unlink()
    with full_disk(3000), pytest.raises(CannotWriteError, match=f"cannot write .* to out.*: {FULL}"):
        evaluate(network, BATCHES, folder="out", **QUICK)
    assert kept <= set(whole("out"))
    evaluate(network, BATCHES, folder="out", **QUICK)
    assert {path.name for path in whole("out")} >= {"scores.csv", "scores.json", "images.csv", "average_drop.png"}


def photographs(count):
    Path("photos").mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"photos/{number}.png")


def test_explain_says_where_and_leaves_no_half_pictures(command):
    photographs(2)
    words = ["explain", "--images", "photos", "--network", "resnet18", "--out", "out"]
    status, said = command(*words, size=2000)
    assert status != 0
    assert "cannot write 0.grad_cam.png to out: File too large (" in said
    assert "B free)" in said
    assert "Traceback" not in said
    assert whole("out") == []


def test_a_command_whose_folder_is_a_file_says_so(command):
    photographs(1)
    Path("out").touch()
    status, said = command("explain", "--images", "photos", "--network", "resnet18", "--out", "out")
    assert status != 0
    assert "error: --out: expected a folder, got the file out" in said
    assert "Traceback" not in said


def study_of_two():
    return with_pictures(made_up(Path("study"), [simple(0, 0, 0.9, 0.5, 0.3), simple(1, 0, 0.8, 0.4, 0.35)]))


def test_a_report_that_does_not_fit_leaves_no_half_figures(command):
    study_of_two()
    status, said = command("report", "study", size=9000)
    assert status != 0
    assert "to study/figures: File too large (" in said
    assert "Traceback" not in said
    whole("study/figures")
    assert not Path("study/report.html").exists()
    assert command("report", "study")[0] == 0
    assert {path.name for path in whole("study")} >= {"report.html", "results.csv", "maps_grad_cam.png"}


def test_a_report_keeps_the_one_before():
    study = study_of_two()
    write_report(study)
    before = {path: path.read_bytes() for path in whole("study")}
    with full_disk(9000), pytest.raises(CannotWriteError, match=FULL):
        write_report(study)
    whole("study")
    for name in ("report.html", "figures/maps_grad_cam.png", "figures/pareto_plane.png"):
        assert Path("study", name).read_bytes() == before[Path("study", name)]


def test_a_study_on_a_full_disk_says_how_its_trials_ended():
    trials = [Trial({"number": number}, 0, {"number": number}) for number in (1, 2)]
    study = Study(Path("study"), StudyPlan("study", "c.yaml", (), (0,)), trials)
    study.write()
    writes = "from camtrain.files import write_whole; from pathlib import Path; write_whole(Path('x'), 'x' * 9000)"
    worker = [sys.executable, "-c", writes]
    with (
        full_disk(4000),
        pytest.warns(CamtrainWarning, match="failed: .*Error: cannot write x to .: .* free"),
    ):
        ablation = run_study(study, LocalExecutor(worker=worker), progress=False)
    assert [outcome.status for outcome in ablation.outcomes] == ["failed", "failed"]


def test_a_trial_whose_folder_takes_no_files_stops_no_other():
    trials = [Trial({"number": number}, 0, {"number": number}) for number in (1, 2)]
    study = Study(Path("study"), StudyPlan("study", "c.yaml", (), (0,)), trials)
    study.write()
    first = study.folder_of(trials[0])
    (first / ".lock").mkdir()
    outcomes = LocalExecutor(worker=[sys.executable, "-c", ""])(study, lambda _: None)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "cannot write .lock to study/trials/" in outcomes[0].message
    assert outcomes[1].message == "the worker ended without an error, and no result"
