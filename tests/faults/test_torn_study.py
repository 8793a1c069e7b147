"""Files of a study that are gone, empty, cut, flipped or something else: named, set aside, and made again."""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings

import pytest

from camtrain.ablation import Ablation, LocalExecutor, run_trial
from camtrain.ablation.ablate import earlier_plan
from camtrain.ablation.fitted import recorded
from camtrain.ablation.look_over import look_over
from camtrain.cli import main
from camtrain.files import DamagedFileError
from camtrain.messages import CamtrainWarning
from camtrain.report.map_sheets import map_sheets
from camtrain.report.points import points_of
from camtrain.report.removal_curves import removal_curves
from camtrain.study import Study, Trial
from tests.ablation.test_worker import Trains, finish
from tests.ablation.test_worker import study as trained  # noqa: F401  a fixture
from tests.faults.damage import DAMAGES, damage
from tests.report.studies import made_up, simple, with_pictures

NOTHING = (sys.executable, "-I", "-S", "-c", "")


def entered(study):
    """The study, whose entries know the files of their evaluations."""
    for trial, row in zip(study.trials, study.rows(), strict=True):
        study.write_row(trial, {key: value for key, value in row.items() if "/" in key})
    return study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rows = [simple(weight, seed, 0.9, 0.5 - weight / 4, 0.6) for weight in (0, 0.1) for seed in (0, 1)]
    return entered(with_pictures(made_up(tmp_path_factory.mktemp("made") / "study", rows)))


@pytest.fixture
def study(made, tmp_path):
    """A copy of its own."""
    shutil.copytree(made.folder, tmp_path / "study")
    return Study.opened(tmp_path / "study")


def drawn(study, name):
    """The figure that a report makes of a file of the evaluations."""
    if name == "curves.csv":
        return removal_curves(study, points_of(study))
    return map_sheets(study, points_of(study), study.folder / "figures").paths


def aside(path):
    return path.with_name(f"{path.name}.damaged")


@pytest.mark.parametrize("how", DAMAGES)
def test_the_file_of_the_study_is_made_again_from_its_copy(study, how):
    path = study.folder / "study.json"
    before, content = study.rows(), path.read_bytes()
    damage(path, how)
    with pytest.warns(
        CamtrainWarning, match=r"study\.json is (gone|damaged: .*; it is set aside as .*); it is made again"
    ):
        assert Study.opened(study.folder).rows() == before
    assert path.read_bytes() == content
    assert aside(path).exists() == (how != "gone")


@pytest.mark.parametrize("how", DAMAGES[1:])
def test_without_the_copy_the_study_is_planned_again(study, how):
    before = study.rows()
    for name in (".study.json", "study.json"):
        damage(study.folder / name, how)
    with pytest.warns(
        CamtrainWarning, match=r"study\.json is damaged: .*; it is made again, with the number of threads"
    ):
        assert earlier_plan(study.folder) is None
    study.write()
    assert Study.opened(study.folder).rows() == before


@pytest.mark.parametrize("how", DAMAGES)
def test_a_trial_without_its_configuration_keeps_its_result(study, how):
    before, path = study.rows(), study.folder_of(study.trials[0]) / "config.yaml"
    content = path.read_bytes()
    damage(path, how)
    with pytest.warns(
        CamtrainWarning, match=r"config\.yaml is (gone|damaged: .* as config\.yaml\.damaged); `camtrain "
    ):
        opened = Study.opened(study.folder)
    assert opened.rows() == before
    assert points_of(opened)[0].rows.keys() == {0, 1}, "the baseline is still the baseline"
    opened.write()
    assert not path.exists(), "what is not known is not written"
    study.write()
    assert path.read_bytes() == content


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_entry_blocks_no_other_and_is_made_again(study, how, capsys):
    before, first = study.rows(), study.trials[0]
    damage(study.folder_of(first) / "row.json", how)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert study.rows() == before[1:]
        assert len(study.write_results().read_text().splitlines()) == 4
    said = [str(each.message) for each in caught]
    if how == "gone":
        assert said == []
    else:
        assert len(said) == 1, "once"
        assert "row.json is damaged: " in said[0]
        assert (
            "set aside as row.json.damaged; the trial is not finished until `camtrain ablate` has scored it" in said[0]
        )
    outcomes = LocalExecutor(worker=NOTHING)(study, lambda outcome: None)
    assert [each.status for each in outcomes] == ["failed", *["was finished"] * 3], "only this trial is run"


@pytest.mark.parametrize("name", ["curves.csv", "gallery.npz"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_evaluation_is_named_and_its_trial_scored_again(made, study, name, how):
    """The report goes without it, and with those of the others."""
    first, before = study.trials[0], study.rows()
    path = study.evaluation_of(first) / name
    damage(path, how)
    with pytest.warns(CamtrainWarning, match=rf"{name} is (gone|damaged: .* as {name}.damaged); `camtrain ablate`"):
        assert drawn(study, name)
    assert study.rows() == before
    with pytest.warns(CamtrainWarning, match=rf"{name} is gone; the trial is scored again"):
        look_over(study)
    outcomes = LocalExecutor(worker=NOTHING)(study, lambda outcome: None)
    assert [each.status for each in outcomes] == ["failed", *["was finished"] * 3], "this worker scores nothing"
    shutil.copy(made.folder / path.relative_to(study.folder), path)
    assert run_trial(study, first, worker=NOTHING).status == "was finished"


@pytest.mark.parametrize("name", ["curves.csv", "gallery.npz"])
@pytest.mark.parametrize("how", DAMAGES[1:])
def test_what_an_earlier_version_wrote_has_no_checksums(study, name, how):
    for trial in study.trials:
        path = study.folder_of(trial) / "row.json"
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({key: entry[key] for key in entry if key not in ("sha256", "files")}))
    path = study.evaluation_of(study.trials[0]) / name
    damage(path, how)
    if (name, how) == ("curves.csv", "flipped"):  # a digit that is another digit; nothing can tell
        return
    with pytest.warns(CamtrainWarning, match=rf"{name} is damaged: "):
        assert drawn(study, name)


@pytest.mark.parametrize("how", DAMAGES)
def test_the_record_of_a_training_is_made_again(trained, how):  # noqa: F811
    trial, train = trained.trials[0], Trains()
    finish(trained, trial, train)
    before = trained.row(trial)
    (trained.folder_of(trial) / "row.json").unlink()
    path = trained.folder_of(trial) / "fitted.json"
    content = path.read_bytes()
    damage(path, how)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look_over(trained)
    assert how == "gone" or "fitted.json is damaged: " in str(caught[0].message)
    finish(trained, trial, train)
    assert [run.resume for run in train.calls] == [True, True]
    assert (trained.row(trial), path.read_bytes()) == (before, content)


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "", 7, None])
@pytest.mark.parametrize("key", ["run", "checkpoint"])
def test_the_record_of_a_training_names_nothing_elsewhere(trained, key, name):  # noqa: F811
    trial = trained.trials[0]
    finish(trained, trial, Trains())
    path = trained.folder_of(trial) / "fitted.json"
    found = {**json.loads(path.read_text()), key: name}
    found.pop("sha256")
    path.write_text(json.dumps(found))
    with pytest.raises(
        DamagedFileError, match=r"fitted\.json is damaged: expected the names of a run and a checkpoint"
    ):
        recorded(trained, trial)


@pytest.mark.parametrize("how", DAMAGES)
def test_what_was_handed_over_is_handed_over_anew(study, how):
    trial = study.trials[0]
    study.hand_over(trial)
    path = study.folder_of(trial) / "plan.json"
    content = path.read_bytes()
    damage(path, how)
    (study.folder_of(trial) / "row.json").unlink()
    run_trial(study, trial, worker=NOTHING)
    assert path.read_bytes() == content
    assert Study.taken_over(study.folder, trial.name)[1] == trial


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"row": []}, "expected dict as 'row'"),
        ({"keys": [["a"]]}, "expected texts as 'keys'"),
        ({"keys": "ab"}, "expected list as 'keys'"),
        ({"files": {"../x": "0"}}, "expected names of files"),
        ({"files": {"x": 1}}, "expected names of files"),
        ({"test": "yes"}, "expected bool as 'test'"),
        ({"hash": 1}, "expected str as 'hash'"),
    ],
)
def test_an_entry_of_another_form_is_damaged(study, entry, what):
    path = study.folder_of(study.trials[0]) / "row.json"
    found = {**json.loads(path.read_text()), **entry}
    found.pop("sha256")
    path.write_text(json.dumps(found))
    with pytest.warns(CamtrainWarning, match=rf"row\.json is damaged: {what}"):
        assert len(study.rows()) == 3


@pytest.mark.parametrize(
    "evaluation", [{"metrics": ["of_the_future"]}, {"settings": {"new": 1}}, ["--limit", "x"], 7, "text"]
)
def test_an_entry_of_another_version_is_of_another_evaluation(study, evaluation):
    path = study.folder_of(study.trials[0]) / "row.json"
    found = {**json.loads(path.read_text()), "evaluation": evaluation}
    found.pop("sha256")
    path.write_text(json.dumps(found))
    assert len(study.rows()) == 3
    assert path.exists()


def test_numbers_that_no_float_holds_and_metrics_that_nobody_knows_are_left_out(study, capsys):
    path = study.folder_of(study.trials[0]) / "row.json"
    found = json.loads(path.read_text())
    found["row"] |= {"test/accuracy": 10**400, "evaluated/average_drop/new": 0.5, "evaluated/new/grad_cam": 1, "x": [1]}
    found.pop("sha256")
    path.write_text(json.dumps(found))
    answer = Ablation(study).answer()
    # A method that has no name here may be one that the user has given.
    assert {score.column for score in answer.scores} == {
        *(f"evaluated/{name}/grad_cam" for name in ("average_drop", "insertion_auc")),
        "evaluated/average_drop/new",
    }


def test_a_study_of_a_later_version_is_left_as_it_is(study, capsys):
    from camtrain.files import write_sealed

    content = json.loads((study.folder / "study.json").read_text())
    content.pop("sha256")
    content["plan"]["evaluation"]["metrics"] = ["of_the_future"]
    write_sealed(study.folder / "study.json", content)
    before = (study.folder / "study.json").read_bytes()
    with pytest.raises(SystemExit):
        main(["report", str(study.folder)])
    assert "study.json is of no version of camtrain that is known here: " in capsys.readouterr().err
    assert (study.folder / "study.json").read_bytes() == before


def test_a_study_on_a_disk_that_cannot_be_written_is_read(study, monkeypatch):
    """Nothing can be set aside there."""
    path = study.folder_of(study.trials[0]) / "row.json"
    damage(path, "cut")

    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refused)
    with pytest.warns(
        CamtrainWarning, match=r"row\.json is damaged: .*; it cannot be set aside \(Read-only file system\)"
    ):
        assert len(study.rows()) == 3
    assert path.exists()


def test_a_lost_configuration_is_not_run(study):
    path = study.folder_of(study.trials[0]) / "config.yaml"
    path.unlink()
    with pytest.warns(CamtrainWarning, match="is gone"):
        opened = Study.opened(study.folder)
    opened.hand_over(opened.trials[0])
    with pytest.raises(FileNotFoundError):
        Study.taken_over(opened.folder, opened.folder_of(opened.trials[0]).name)
    path.write_text("model: {}")
    with pytest.raises(
        DamagedFileError, match=r"config\.yaml is damaged: it is not the configuration that was planned"
    ):
        Study.taken_over(opened.folder, opened.folder_of(opened.trials[0]).name)
    assert Trial({}, 0, {}).hash != opened.trials[0].hash


def test_a_trial_without_its_entry_is_said_to_be_left_out(study):
    lost = study.folder_of(study.trials[1])
    (lost / "row.json").unlink()
    message = f"left out for lack of a row.json: {lost.name} (1 of 4 trials); `camtrain ablate`"
    with pytest.warns(CamtrainWarning, match=re.escape(message)):
        assert len(Ablation.opened(study.folder).rows) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody needs to be told where nothing is finished, and callers say so
        for trial in study.trials:
            (study.folder_of(trial) / "row.json").unlink(missing_ok=True)
        assert not Ablation.opened(study.folder).rows
