"""What a study's folder keeps, whatever is asked of it next."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from camtrain.evaluation import EvaluationPlan
from camtrain.messages import CamtrainWarning
from camtrain.study import Axis, Study, StudyPlan, Trial

WEIGHT, DISTANCE = "model.regularizer_weight", "model.regularizer.distance"


def trial(point, weight, distance="cosine"):
    return Trial(point, 0, {"model": {"regularizer_weight": weight, "regularizer": {"distance": distance}}})


def narrow(folder):
    plan = StudyPlan("study", "c.yaml", (Axis(WEIGHT, (0, 0.1)),), (0,))
    return Study(folder, plan, [trial({WEIGHT: weight}, weight) for weight in (0, 0.1)])


def wide(folder):
    """With a second key, of which one value is what the narrow one had."""
    axes = (Axis(WEIGHT, (0, 0.1)), Axis(DISTANCE, ("cosine", "mae")))
    trials = [trial({WEIGHT: w, DISTANCE: d}, w, d) for w in (0, 0.1) for d in ("cosine", "mae")]
    return Study(folder, StudyPlan("study", "c.yaml", axes, (0,)), trials)


def test_a_wider_grid_has_the_runs_that_are_finished(tmp_path):
    study = narrow(tmp_path)
    study.write()
    for each, accuracy in zip(study.trials, (0.8, 0.9), strict=True):
        study.write_row(each, {"test/accuracy": accuracy})
    wider = wide(tmp_path)
    wider.write()
    for opened in (wider, Study.opened(tmp_path)):
        assert [(row[WEIGHT], row[DISTANCE], row["test/accuracy"]) for row in opened.rows()] == [
            (0, "cosine", 0.8), (0.1, "cosine", 0.9),
        ]  # fmt: skip
        assert [opened.folder_of(each).name for each in opened.trials[::2]] == [each.name for each in study.trials]
        assert opened.others() == []
    header, first, *_ = wider.write_results().read_text().splitlines()
    assert header.startswith(f"trial,hash,seed,{WEIGHT},{DISTANCE},")
    assert first.endswith(",0,0,cosine,0.8")
    # And back: the key that no longer differs is no column.
    again = narrow(tmp_path)
    again.write()
    assert [sorted(row) for row in again.rows()] == [sorted(("trial", "hash", "seed", WEIGHT, "test/accuracy"))] * 2
    assert len(list(tmp_path.glob("trials/*"))) == 4


def test_a_name_alone_is_not_the_same_run(tmp_path):
    study = narrow(tmp_path)
    study.write()
    first = study.trials[0]
    impostor = study.folder / "trials" / f"other-{first.hash[:8]}"
    impostor.mkdir()
    (impostor / "config.yaml").write_text("model: {regularizer_weight: 7}")
    shutil.rmtree(study.folder_of(first))
    assert narrow(tmp_path).folder_of(first).name == first.name


def test_rows_of_a_first_version_are_not_mixed_with_others(tmp_path):
    """Their validation was that of the last epoch."""
    study = narrow(tmp_path)
    study.write()
    first = study.trials[0]
    row = {"trial": first.name, "hash": first.hash, "seed": 0, WEIGHT: 0, "test/accuracy": 0.8}
    (study.folder_of(first) / "row.json").write_text(json.dumps({"hash": first.hash, "evaluation": [], "row": row}))
    assert study.rows() == []


def test_a_test_that_is_now_asked_for_is_not_there_yet(tmp_path):
    study = narrow(tmp_path)
    study.write()
    study.plan = replace(study.plan, test=False)
    study.write_row(study.trials[0], {"val/accuracy": 0.8})
    assert len(study.rows()) == 1
    study.plan = replace(study.plan, test=True)
    assert study.rows() == []
    study.write_row(study.trials[0], {"test/accuracy": 0.8})
    study.plan = replace(study.plan, test=False)
    assert len(study.rows()) == 1, "more than is asked for is enough"


def test_scores_of_validation_images_are_in_the_table_if_they_are_planned(tmp_path):
    study = narrow(tmp_path)
    scores = {"test/accuracy": 0.8, "validated/average_drop/grad_cam": 0.3}
    plain, chosen = study.plan, replace(study.plan, validation=EvaluationPlan(metrics="average_drop", split="val"))
    study.write_row(study.trials[0], {"test/accuracy": 0.8})
    study.plan = chosen
    assert study.rows() == [], "it has none, and is scored again"
    study.write()
    assert Study.opened(tmp_path).plan.validation == chosen.validation
    study.write_row(study.trials[0], scores)
    assert study.rows()[0]["validated/average_drop/grad_cam"] == 0.3
    study.plan = plain
    assert len(study.rows()) == 1, "more than is planned is enough"
    assert "validated/average_drop/grad_cam" not in study.rows()[0], "and what is not planned chooses nothing"


def test_a_study_of_an_earlier_version_has_no_scores_of_validation_images(tmp_path):
    study = narrow(tmp_path)
    study.write()
    study.write_row(study.trials[0], {"test/accuracy": 0.8})
    for path, names in ((tmp_path / "study.json", ["plan"]), (study.folder_of(study.trials[0]) / "row.json", [])):
        content = json.loads(path.read_text())
        del content["sha256"]
        place = content
        for name in names:
            place = place[name]
        del place["validation"]
        path.write_text(json.dumps(content))
    opened = Study.opened(tmp_path)
    assert opened.plan.validation is None
    assert [row["test/accuracy"] for row in opened.rows()] == [0.8]


def test_what_was_asked_stands_though_a_trial_is_gone(tmp_path):
    study = narrow(tmp_path)
    study.write()
    shutil.rmtree(study.folder_of(study.trials[0]))
    assert Study.plan_in(tmp_path) == study.plan
    with pytest.warns(CamtrainWarning, match=r"config\.yaml is gone; `camtrain ablate` with the words of the study"):
        opened = Study.opened(tmp_path)
    assert opened.trials[1:] == study.trials[1:]
    assert opened.trials[0].hash == study.trials[0].hash, "a baseline that is lost is not replaced by another point"
    assert opened.folder_of(opened.trials[0]) == study.folder_of(study.trials[0])
    with pytest.raises(FileNotFoundError, match="holds no study"):
        Study.plan_in(tmp_path / "trials")
