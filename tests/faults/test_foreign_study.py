"""A study that somebody else made: a report of it runs nothing, writes nothing elsewhere, and shows text as text."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest

from camtrain.callbacks import PredictionWriter
from camtrain.cli import main
from camtrain.evaluation import read_gallery
from camtrain.files import DamagedFileError, file_name, spreadsheet_cell, word_of_cell
from camtrain.messages import CamtrainWarning
from camtrain.report import write_report
from camtrain.report.map_sheets import map_sheets
from camtrain.report.points import points_of
from camtrain.study import Study, Trial
from tests.report.studies import WEIGHT, made_up, simple, with_other_gallery, with_pictures

ELSEWHERE = [
    "../../../escaped",
    "/tmp/camtrain_escaped",
    "a\0b",
    "x" * 5000,
    "..",
    ".",
    "",
    "CON",
    "a/../../b",
    "é" * 300,
]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg></td><script>1</script>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; ]]> <!-- -->",
    'a" id="x" href="#y',
    "\x1b[2J\x00\ud800\N{RIGHT-TO-LEFT OVERRIDE}",
]


@pytest.fixture
def study(tmp_path):
    rows = [simple(weight, 0, 0.9, 0.5 - weight / 4, 0.6) for weight in (0, 0.1)]
    return with_pictures(made_up(tmp_path / "inside/study", rows))


def everything_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def edited(path, change):
    """A JSON file as somebody else writes it: without a checksum."""
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    change(content)
    path.write_text(json.dumps(content))


# ---------------------------------------------------------------------------------------- names that become paths


def test_two_names_have_two_file_names_that_stay_where_they_are():
    names = [*ELSEWHERE, *HOSTILE, "Cat", "cat", "CAT", "grad_cam", "layer_cam"]
    made = [file_name(name) for name in names]
    assert len({name.casefold() for name in made}) == len(names)
    for name in made:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0")
        assert 0 < len(name.encode()) <= 100
    assert made[-2:] == ["grad_cam", "layer_cam"]


def test_members_of_a_gallery_are_written_to_the_folder_of_figures(study, tmp_path):
    names = ["x/../../../escaped", "/tmp/camtrain_escaped", "x" * 5000, "Grad_CAM", "..", HOSTILE[2]]

    def change(arrays):
        return {**arrays, **{f"cam/{name}": arrays["cam/grad_cam"] for name in names}}

    with_other_gallery(study, 0, change)
    before = everything_in(tmp_path)
    report = write_report(study)
    new = everything_in(tmp_path) - before - {"inside/study/figures"}
    assert {path for path in new if not path.startswith("inside/study/figures")} == {
        f"inside/study/{name}" for name in ("report.html", "results.md", "results.tex")
    }
    sheets = [path for path in report.pictures if path.name.startswith("maps_")]
    assert len(sheets) == len(names) + 1
    assert all(path.parent == study.folder / "figures" and path.is_file() for path in sheets)
    assert not os.path.exists("/tmp/camtrain_escaped.png")


@pytest.mark.parametrize("name", ELSEWHERE[:-1])
def test_a_trial_is_no_path(study, name):
    edited(study.folder / ".study.json", lambda content: content["trials"][0].update(name=name))
    (study.folder / "study.json").unlink()
    if file_name(name) == name or name == "CON":
        with pytest.warns(CamtrainWarning):
            Study.opened(study.folder)
        return
    with pytest.raises(ValueError, match=r"\.study\.json is damaged: expected the name of a trial's folder"):
        Study.opened(study.folder)


@pytest.mark.parametrize("known", ["../../../../etc", "*", "0" * 17, 7, None, ["0" * 16]])
def test_the_hash_of_a_trial_is_no_pattern(study, known):
    edited(study.folder / "study.json", lambda content: content["trials"][0].update(hash=known))
    if known is None:
        return
    with pytest.warns(CamtrainWarning, match=r"study\.json is damaged: expected the hash of"):
        assert len(Study.opened(study.folder).rows()) == 2


def test_names_of_trials_fit_every_file_system():
    for value in (*ELSEWHERE, *HOSTILE):
        for key in ("a.b", "../..", "é" * 300):
            name = Trial({key: value}, 0, {}).name
            assert len(name.encode(errors="replace")) <= 255
            assert not set(name) & set("/\\\0")


@pytest.mark.parametrize("place", ["figures", "trials"])
def test_a_link_out_of_the_study_is_not_followed(study, tmp_path, place, capsys):
    """An archive can hold one."""
    outside = tmp_path / "outside"
    (study.folder / place).rename(outside) if place == "trials" else outside.mkdir()
    (study.folder / place).symlink_to(outside)
    before = everything_in(outside)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(study.folder)])
    assert stop.value.code == 2
    assert "is a link that leads out of" in capsys.readouterr().err
    assert everything_in(outside) == before


def test_a_file_that_is_a_link_is_replaced_and_not_written_to(study, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (study.folder / "figures").mkdir()
    names = (
        "report.html",
        "results.md",
        "figures/score_curves.png",
        "figures/score_curves.svg",
        "figures/maps_grad_cam.png",
    )
    for name in names:
        (study.folder / name).symlink_to(precious)
    write_report(study)
    assert precious.read_text() == "mine"
    assert not any((study.folder / name).is_symlink() for name in names)


# ------------------------------------------------------------------------------------------- arrays that are too much


def archive(path, header, data=b""):
    """A gallery whose `pictures` has a header of one's own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        text = io.BytesIO()
        np.lib.format.write_array_header_1_0(text, header)
        members.writestr("pictures.npy", text.getvalue() + data)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"descr": "|u1", "fortran_order": False, "shape": (10**12,)}, b""),
        ({"descr": "|u1", "fortran_order": False, "shape": (10**7,)}, bytes(10**7)),
        ({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"cos\nsystem\n(S'true'\ntR."),
        ({"descr": "|u1", "fortran_order": False, "shape": (1, 1, 200_000, 3)}, bytes(600_000)),
    ],
    ids=["a header that lies", "zeros", "a pickle", "a thin picture"],
)
def test_a_gallery_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, header, data):
    monkeypatch.setattr("camtrain.evaluation.gallery._LARGEST", 2**20)
    archive(tmp_path / "gallery.npz", header, data)
    with pytest.raises(DamagedFileError, match=r"gallery\.npz is damaged"):
        read_gallery(tmp_path / "gallery.npz")


def wrong(name, value):
    return lambda arrays: {**arrays, name: value(arrays[name])}


@pytest.mark.parametrize(
    "change",
    [
        wrong("predictions", lambda array: -1 - array),
        wrong("predictions", lambda array: array.astype(float)),
        wrong("labels", lambda array: array[:1]),
        wrong("pictures", lambda array: array.astype(float)),
        wrong("pictures", lambda array: array[..., :2]),
        wrong("pictures", lambda array: np.zeros((2, 1, 2000, 3), dtype=np.uint8)),
        wrong("cam/grad_cam", lambda array: array[:, :0]),
        wrong("cam/grad_cam", lambda array: array[0]),
        wrong("indices", lambda array: array[:0]),
        lambda arrays: {**arrays, "class_names": np.array([1, 2, 3])},
        lambda arrays: {name: array for name, array in arrays.items() if name != "labels"},
    ],
)
def test_a_gallery_of_other_arrays_is_set_aside(study, change):
    with_other_gallery(study, 1, change)
    with pytest.warns(CamtrainWarning, match=r"gallery\.npz is damaged: .* set aside as gallery\.npz\.damaged"):
        sheets = map_sheets(study, points_of(study), study.folder / "figures")
    assert set(sheets.paths) == {"grad_cam"}, "of the other point"


def test_yaml_that_grows_is_refused(study):
    """Ten lines that stand for ten thousand million words."""
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))
    path = study.folder_of(study.trials[0]) / "config.yaml"
    path.write_text(bomb)
    with pytest.warns(CamtrainWarning, match=r"config\.yaml is damaged: it cannot be read as YAML: an alias"):
        assert len(Study.opened(study.folder).rows()) == 2


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 100_000, "{}", "[]", "null", "7", '"text"', "", '{"plan": {}, "trials": []}']
)
def test_a_study_that_is_none_gets_one_line(study, text, capsys):
    for name in ("study.json", ".study.json"):
        (study.folder / name).write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(study.folder)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "study.json is damaged: " in said
    assert "set aside as study.json.damaged" in said
    assert "`camtrain ablate` with the words of the study makes it again" in said
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------------------- text stays text


class Tags(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words = set(), set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_no_name_of_a_study_becomes_an_element(tmp_path):
    values = [*HOSTILE, "plain"]
    rows = [({"data.root": value, WEIGHT: 0.1}, 0, simple(0, 0, 0.5, 0.4, 0.3, commit=value)[2]) for value in values]
    study = with_pictures(made_up(tmp_path / HOSTILE[1].replace("/", ""), rows))
    names = np.array([HOSTILE[0], HOSTILE[3], HOSTILE[8]])
    with_other_gallery(
        study, 0, lambda arrays: {**arrays, "class_names": names, f"cam/{HOSTILE[1]}": arrays["cam/grad_cam"]}
    )
    edited(
        study.folder / "study.json",
        lambda content: content["plan"].update(name=HOSTILE[2], config=HOSTILE[0], command=["rm", "-rf", "~"]),
    )
    for trial in study.trials:
        edited(study.folder_of(trial) / "row.json", lambda content: content["row"].update(device=HOSTILE[1]))
        (study.evaluation_of(trial) / "curves.csv").unlink()
    opened = Study.opened(study.folder)
    report = write_report(opened)
    page = report.page.read_text(encoding="utf-8")
    plain = with_pictures(made_up(tmp_path / "plain", [({"data.root": "a", WEIGHT: 0.1}, 0, rows[-1][2])]))
    allowed = Tags(write_report(plain).page.read_text())
    found = Tags(page)
    assert found.tags <= allowed.tags | {"figcaption", "img"}
    assert not found.tags & {"script", "iframe", "object", "embed", "a", "form", "foreignobject"}
    assert not {name for name in found.attributes if name.startswith("on")}
    words = "".join(found.words)
    for value in HOSTILE[:-1]:
        assert value in words
    assert "rm -rf" not in words
    assert "{{ 7 * 7 }}" in words
    assert "\x1b" not in page + str(report)
    for name in ("results.md",):
        assert "<script" not in (study.folder / name).read_text()
    for svg in (study.folder / "figures").glob("*.svg"):
        found = Tags(svg.read_text(encoding="utf-8"))
        assert not found.tags & {"script", "img"}
        assert "onload" not in found.attributes
    texts = "".join(Tags((study.folder / "figures/score_curves.svg").read_text(encoding="utf-8")).words)
    assert HOSTILE[0] in texts
    assert HOSTILE[7] in html.unescape(page), "also what looks like an id"


# ----------------------------------------------------------------------------------------------------- spreadsheets

WORDS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''-x",
    "cat",
    "-0.5",
    "+3e-4",
    "'quoted'",
    "",
    "1,2",
    'a"b',
]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_in_a_cell_is_no_formula_and_is_read_back(word):
    cell = spreadsheet_cell(word)
    assert word_of_cell(cell) == word
    if word in ("-0.5", "+3e-4"):
        assert float(cell) == float(word)
    else:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_results_have_words_as_text_and_numbers_as_numbers(tmp_path):
    rows = [
        ({"data.root": word, "=key": -1.5}, 0, {"test/accuracy": -0.25, "commit": "=now()", "-score": 1})
        for word in WORDS
        if word
    ]
    study = made_up(tmp_path, rows)
    with study.write_results().open(newline="", encoding="utf-8") as file:
        header, *found = csv.reader(file)
    assert [word_of_cell(name) for name in header] == [
        "trial",
        "hash",
        "seed",
        "data.root",
        "=key",
        "-score",
        "commit",
        "test/accuracy",
    ]
    for (point, _, _), row in zip(rows, found, strict=True):
        cells = dict(zip(map(word_of_cell, header), row, strict=True))
        assert word_of_cell(cells["data.root"]) == point["data.root"]
        assert (float(cells["test/accuracy"]), float(cells["=key"]), cells["commit"]) == (-0.25, -1.5, "'=now()")
    for cell in (*header, *(cell for row in found for cell in row)):
        assert not cell.startswith(("=", "+", "@")) or cell == "+3e-4"


def test_predictions_have_names_of_classes_as_text(tmp_path, monkeypatch):
    import torch

    class Data:
        class_names = ("=1+1", "-cat")

    class Trainer:
        fast_dev_run, world_size, global_rank, datamodule, predict_dataloaders = False, 1, 0, Data(), None

    monkeypatch.setattr("camtrain.callbacks.prediction_writer.run_folder", lambda trainer: tmp_path)
    PredictionWriter().write_on_epoch_end(Trainer(), None, [torch.tensor([[0.9, 0.1], [0.2, 0.8]])], [[[0, 1]]][0:1])
    with (tmp_path / "predictions.csv").open() as file:
        assert [row["predicted_class"] for row in csv.DictReader(file)] == ["'=1+1", "'-cat"]
