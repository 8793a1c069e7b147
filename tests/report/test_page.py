"""The files of a report."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from PIL import Image

from camtrain.ablation import Ablation
from camtrain.cli import main
from camtrain.evaluation import EvaluationPlan
from camtrain.messages import folded
from camtrain.report import Rule, answer_of, answered, write_report
from camtrain.report.cost_bars import cost_bars
from camtrain.report.page import page
from camtrain.report.points import points_of
from camtrain.report.tables import score_table
from camtrain.study import Axis, Study
from tests.report.studies import WEIGHT, made_up, simple, unfinished, with_other_gallery, with_pictures

COST = {
    "train/seconds_per_step": 0.1,
    "train/peak_memory_mib": 100.0,
    "test/loss_classification": 0.3,
    "commit": "abc123",
}
FIGURES = ("score_curves", "pareto_plane", "removal_curves", "cost_bars")


def study_in(folder: Path) -> Study:
    rows = [
        simple(weight, seed, 0.9 - weight / 20, 0.5 - weight / 10 + seed / 100, 0.6, **COST)
        for weight in (0, 0.1, 1)
        for seed in (0, 1)
    ]
    return with_pictures(made_up(folder / "<study> & 'co'", rows))


@pytest.fixture
def study(tmp_path):
    return study_in(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of that study, for tests that only read it."""
    return write_report(study_in(tmp_path_factory.mktemp("written")), Rule())


def test_all_files_are_there(written):
    folder = written.page.parent
    for name in FIGURES:
        assert (folder / f"figures/{name}.png").stat().st_size > 1000
        assert (folder / f"figures/{name}.svg").read_text().startswith("<?xml")
    assert all(path.is_file() for path in written.pictures)
    assert "| λ = 0.1 | 2       | 89.5 ± 0.0    |" in (folder / "results.md").read_text()
    assert r"$\lambda$ = 0.1 & 2       & 89.5 $\pm$ 0.0" in (folder / "results.tex").read_text()


def test_the_page_asks_nothing_of_a_network(written):
    text = written.page.read_text()
    addresses = re.findall(r'(?:src|href|xlink:href)="([^"]*)"|url\(([^)]*)\)', text)
    assert addresses
    assert {next(filter(None, pair))[:5] for pair in addresses} <= {"data:", *(f"#{name[:4]}" for name in FIGURES)}
    assert "<script" not in text
    assert "<study>" not in text  # a name is escaped


def test_ids_are_unique(written):
    text = written.page.read_text()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)
    for name in set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)):
        assert name in ids


def test_a_report_is_the_same_when_it_is_made_again(written):
    first = written.page.read_text()
    assert write_report(Study.opened(written.page.parent), Rule()).page.read_text() == first


def test_the_same_image_stands_beside_its_maps(written):
    """A row for each image, a tile for the image and each point."""
    with Image.open(written.page.parent / "figures/maps_grad_cam.png") as sheet:
        width, height = sheet.size
    assert width == 8 + 4 * (192 + 8)
    assert height == 40 + 2 * (16 + 192 + 8)


@pytest.mark.usefixtures("no_figures")
def test_the_command_prints_the_answer(study, capsys, monkeypatch):
    main(["report", str(study.folder), "--margin", "10"])
    printed = capsys.readouterr().out
    assert "λ = 1 is best" in printed
    assert str(study.folder / "report.html") in printed
    with pytest.raises(SystemExit) as stop:
        main(["report", str(study.folder), "--score", "iou"])
    assert stop.value.code == 2
    assert "--score: the study has no 'iou'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_the_command_takes_both_margins_in_points(tmp_path, capsys):
    rows = [
        simple(weight, 0, 0.9, 0.5 - weight / 10, 0.6, **{"evaluated/map_leakage/grad_cam": 0.05 + 0.04 * weight})
        for weight in (0, 1)
    ]
    study = made_up(tmp_path, rows)
    main(["report", str(study.folder)])
    assert "Refused, since the maps leak over 3 points more" in " ".join(capsys.readouterr().out.split())
    main(["report", str(study.folder), "--leakage_margin", "5"])
    assert "Refused" not in capsys.readouterr().out
    assert Ablation.opened(study.folder).answer(leakage_margin=0.05).best.runs.label == "λ = 1"


def test_a_study_without_maps_or_costs_has_a_report(tmp_path):
    rows = [({"trainer.max_epochs": epochs}, 0, {"val/accuracy": 0.1 * epochs}) for epochs in (1, 2)]
    written = write_report(made_up(tmp_path, rows), Rule())
    assert written.answer.startswith("No maps were scored")
    assert str(written) == f"{written.points}\n\n{folded(written.answer)}\n\n{written.page}"
    assert "max_epochs = 2" in written.table


def test_a_study_without_accuracy_and_scores_has_a_report(tmp_path):
    rows = [({"trainer.max_epochs": epochs}, 0, {"train/loss": 1.0}) for epochs in (1, 2)]
    written = write_report(made_up(tmp_path, rows, evaluation=None), Rule())
    assert "score_curves" not in {path.stem for path in written.pictures}


def test_a_study_without_its_baseline_has_a_report(study):
    """The report has no gain, no ratio of costs and no plane, rather than those against another point."""
    written = write_report(unfinished(study, 0, 1), Rule())
    (first,) = [line for line in written.table.splitlines() if line.startswith("λ = 0.1")]
    assert re.split(r"  +", first) == ["λ = 0.1", "2", "89.5 ± 0.0", "0.300 ± 0.000", *4 * ["–"]]
    assert {path.stem for path in written.pictures} == {"score_curves", "removal_curves", "maps_grad_cam"}


MAPS = {split: EvaluationPlan(metrics="average_drop,insertion_auc", split=split) for split in ("test", "val")}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("evaluation", "tested", "accuracy", "warns"),
    [
        (MAPS["test"], True, "51.0", True),
        (MAPS["test"], False, "61.0", True),  # the maps are of test images
        (MAPS["val"], True, "61.0", False),
        (None, True, "51.0", True),
        (None, False, "61.0", False),
    ],
)
def test_the_page_warns_where_test_images_were_looked_at(tmp_path, evaluation, tested, accuracy, warns):
    rows = []
    for weight in (0, 1):
        point, seed, scores = simple(weight, 0, 0.5 + weight / 100, 0.5, 0.6, **{"val/accuracy": 0.6 + weight / 100})
        left = {key: value for key, value in scores.items() if evaluation or not key.startswith("evaluated/")}
        rows.append((point, seed, {key: value for key, value in left.items() if tested or key != "test/accuracy"}))
    written = write_report(made_up(tmp_path, rows, evaluation=evaluation), Rule())
    assert re.search(r"λ = 1 +1 +([\d.]+)", written.table)[1] == accuracy
    assert ("Points were compared on the test images" in written.page.read_text()) == warns


@pytest.mark.usefixtures("no_figures")
def test_the_report_shows_which_images_chose(tmp_path):
    scores = {"val/accuracy": 0.8, "validated/insertion_auc/grad_cam": 0.5, "validated/map_leakage/grad_cam": 0.1}
    better = {"val/accuracy": 0.79, "validated/insertion_auc/grad_cam": 0.6, "validated/map_leakage/grad_cam": 0.11}
    rows = [simple(0, 0, 0.9, None, 0.6, **scores), simple(1, 0, 0.9, None, 0.64, **better)]
    study = made_up(tmp_path, rows)
    written = write_report(study, Rule())
    text = written.page.read_text()
    assert "The point is chosen by validation images" in text
    assert "Points were compared on the test images" not in text + str(written)
    table = (tmp_path / "results.md").read_text().partition("The choice: all points on validation images")[2]
    (row,) = [line for line in table.splitlines() if "λ = 1" in line][:1]
    assert [cell.strip(" *") for cell in row.split("|")[1:-1]] == ["λ = 1", "79.0", "−1.00", "+10.00", "+1.00"]
    (study.folder_of(study.trials[1]) / "row.json").unlink()
    study.write_row(study.trials[1], rows[1][2] | {"validated/insertion_auc/grad_cam": None})
    written = write_report(study, Rule())
    assert "since not every point has these scores on validation images" in str(written).replace("\n", " ")
    assert "since not every point has these scores on validation images" in written.page.read_text()
    for trial, (_, _, scores) in zip(study.trials, rows, strict=True):
        (study.folder_of(trial) / "row.json").unlink()
        study.write_row(trial, {key: value for key, value in scores.items() if not key.startswith("validated/")})
    said = str(write_report(study, Rule())).replace("\n", " ")
    assert "since there are no validation images, or they are the test images" in said


def test_a_key_of_one_value_is_no_part_of_the_curves(tmp_path):
    """λ may be in the grid without varying."""
    distance = "model.regularizer.distance"
    rows = [({distance: name}, 0, simple(0, 0, 0.9, 0.5, 0.6)[2]) for name in ("cosine", "mae")]
    study = made_up(tmp_path, rows, more_axes=(Axis(WEIGHT, (0.1,)),))
    write_report(study, Rule())
    text = (tmp_path / "figures/score_curves.svg").read_text()
    assert ">cosine<" in text
    assert ">distance<" in text


def test_costs_are_ratios_to_the_baseline_with_their_spread(study):
    """0.1 and 0.3 s a step over a baseline of 0.2 s: 1.00 ± 0.71."""
    for trial in study.trials:
        row = study.row(trial)
        row["train/seconds_per_step"] = 0.2 if row[WEIGHT] == 0 else (0.1, 0.3)[trial.seed]
        study.write_row(trial, row)
    points = points_of(study)
    (time, _) = cost_bars(answered(points, Rule()).compared).axes
    assert [bar.get_width() for bar in time.patches] == pytest.approx([1, 1, 1])
    bars = [container for container in time.containers if isinstance(container, ErrorbarContainer)]
    ends = [bar.lines[2][0].get_segments()[0] for bar in bars]
    assert [right[0] - left[0] for left, right in ends] == pytest.approx([0, 2 * 0.5**0.5, 2 * 0.5**0.5])


@pytest.mark.usefixtures("no_figures")
def test_time_is_the_processors_if_all_runs_have_it(study):
    """By the clock λ = 0.1 and 1 look as fast as the baseline, which ran on a busy machine."""
    for trial in study.trials:
        row = study.row(trial)
        row["train/processor_seconds_per_step"] = 0.1 if row[WEIGHT] == 0 else 0.36
        study.write_row(trial, row)
    written = write_report(study, Rule())
    assert "processor time per step" in written.table
    assert re.search(r"λ = 0 .* 1 \(0\.1 s\) ", written.table)
    assert re.search(r"λ = 1 .* 3\.60 × ", written.table)
    assert "Time: of the processor" in written.page.read_text()
    scores = {key: value for key, value in study.row(study.trials[0]).items() if "processor" not in key}
    study.write_row(study.trials[0], scores)  # of an earlier version
    written = write_report(study, Rule())
    assert re.search(r"λ = 1 .* 1\.00 × ", written.table)
    assert "Time: by the clock" in written.page.read_text()


def test_no_finished_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path)])
    assert stop.value.code == 2
    assert "holds no study" in capsys.readouterr().err


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=3000"
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package chromium)")
def test_chromium_opens_the_page(written, tmp_path):
    """No error on the console, no request to a network, every figure with a size."""
    log = tmp_path / "net.json"
    # The page has no script; this copy has one that measures the figures once all is loaded.
    measure = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify([...document.querySelectorAll("
        "'figure svg, figure img')].map(each => [each.tagName, each.getBoundingClientRect().width, "
        "each.naturalWidth ?? 1])) })</script></body>"
    )
    copy = tmp_path / "copy.html"
    copy.write_text(written.page.read_text().replace("</body>", measure))
    words = [CHROMIUM, *_QUIET.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"]
    run = subprocess.run([*words, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in run.stderr
    title = re.search(r"<title>(\[.*?\])</title>", run.stdout)
    assert title, run.stdout[:300] + run.stderr[-300:]
    shown = json.loads(title[1])
    # Each figure also has a narrow form, which is not shown here; an image has a photograph and three maps.
    assert sum(tag == "svg" and width > 0 for tag, width, _ in shown) == len(FIGURES)
    pictures = [(width, natural) for tag, width, natural in shown if tag == "IMG"]
    assert len(pictures) == 2 * 4
    assert all(width > 100 and natural > 0 for width, natural in pictures)
    assert _requested(log) == []


WIDTHS = (390, 768, 1300)
# In a frame of its own a page is as wide as the frame; a window of Chromium has at least 500 pixels.
_MEASURE = """<script>addEventListener('load', () => {
const wide = [...document.querySelectorAll('body *')].filter(each => {
  const style = getComputedStyle(each);
  return style.overflowX !== 'visible' && style.clipPath === 'none' && each.scrollWidth > each.clientWidth + 1;
}).map(each => each.tagName);
const out = [...document.querySelectorAll('body *')].filter(each =>
  !each.closest('thead') && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.tagName);
const seen = each => each.getBoundingClientRect().width > 0;
const letters = kind => [...document.querySelectorAll(kind)].filter(seen);
parent.postMessage({
  width: innerWidth, scrolls: document.documentElement.scrollWidth, wide, out,
  captions: Math.min(...letters('figcaption, .soft, h4').map(each => parseFloat(getComputedStyle(each).fontSize))),
  drawn: Math.min(...letters('svg text').map(each => each.getBoundingClientRect().height)),
  figures: letters('figure svg').length, pictures: letters('figure img').length,
  columns: document.querySelectorAll('table')[0].tHead.rows[0].cells.length,
  cells: [...document.querySelectorAll('table')[0].rows[1].cells].filter(each =>
    getComputedStyle(each).display === 'table-cell').length,
}, '*') })</script></body>"""
_COLLECT = """<!DOCTYPE html><body><script>const found = [];
addEventListener('message', event => {{ found.push(event.data); document.title = JSON.stringify(found) }})</script>
{frames}</body>"""


def measured(report: Path, folder: Path) -> dict[int, dict[str, Any]]:
    """What a page looks like in Chromium at each of `WIDTHS`."""
    copy, frames = folder / "measured.html", folder / "frames.html"
    copy.write_text(report.read_text().replace("</body>", _MEASURE))
    loaded = "".join(
        f'<iframe src="{copy.as_uri()}" style="width:{width}px; height:900px; border:0"></iframe>' for width in WIDTHS
    )
    frames.write_text(_COLLECT.format(frames=loaded))
    words = [CHROMIUM, *_QUIET.split(), "--window-size=1400,900", f"--user-data-dir={folder / 'profile'}"]
    run = subprocess.run([*words, "--dump-dom", frames.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\[.*?\])</title>", run.stdout)
    assert title, run.stdout[:300] + run.stderr[-300:]
    found = {each["width"]: each for each in json.loads(html.unescape(title[1]))}
    assert set(found) == set(WIDTHS)
    return found


def large_study(folder: Path) -> Study:
    """Nine points with long names, two methods, controls, leakage, costs and galleries: every column is there."""
    rows = []
    for weight in (0, 0.0075, 1):
        for distance in ("cosine", "histogram_intersection_of_gradients", "mae"):
            scores = dict(COST)
            for method in ("grad_cam", "smooth_grad_cam_plus_plus"):
                for metric in ("average_drop", "insertion_auc", "map_leakage"):
                    scores[f"evaluated/{metric}/{method}"] = 0.5 + weight / 100
                    scores[f"evaluated/{metric}/shuffled_{method}"] = 0.4
            for seed in (0, 1):
                point = {WEIGHT: weight, "model.regularizer.distance": distance}
                varied = {key: each + seed / 100 if isinstance(each, float) else each for key, each in scores.items()}
                rows.append((point, seed, {"test/accuracy": 0.9, "test/loss_regularizer": 0.2, **varied}))
    study = with_pictures(made_up(folder, rows), ("grad_cam", "smooth_grad_cam_plus_plus"))
    names = {"names": np.array(["a photograph with quite a long name of its own.jpg", "b.jpg"])}
    names["class_names"] = np.array(["american_staffordshire_terrier_or_something_alike"] * 3)
    for place in range(len(study.trials)):
        with_other_gallery(study, place, lambda arrays: {**arrays, **names})
    return study


@pytest.fixture(scope="module")
def large_report(tmp_path_factory):
    return write_report(large_study(tmp_path_factory.mktemp("large") / "study"), Rule())


@pytest.fixture(scope="module")
def large_text(tmp_path_factory, without_figures):
    """The same without figures, for tests of what is printed."""
    with without_figures():
        return write_report(large_study(tmp_path_factory.mktemp("large") / "study"), Rule())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package chromium)")
def test_nothing_is_wider_than_a_telephone_a_tablet_or_a_screen(large_report, tmp_path):
    found = measured(large_report.page, tmp_path)
    for width, each in found.items():
        assert each["scrolls"] <= width
        assert (each["wide"], each["out"]) == ([], []), f"at {width} pixels"
        assert each["captions"] >= 14
        assert each["drawn"] >= 9, f"letters of figures at {width} pixels"
        assert (each["figures"], each["pictures"]) == (len(FIGURES), 2 * 2 * 10)
    assert found[1300]["cells"] == found[1300]["columns"] == 11
    assert found[390]["cells"] == 0, "a card for each row"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package chromium)")
def test_a_click_shows_a_picture_as_large_as_the_window(large_report, tmp_path):
    """A click checks the box of its picture; no script is needed."""
    text = large_report.page.read_text()
    assert "<script" not in text
    assert text.count('type="checkbox"') == len(FIGURES) + 2 * 2 * 10
    click = (
        "<script>addEventListener('load', () => { const picture = document.querySelectorAll('figure img')[1];"
        "const widths = [picture.offsetWidth]; for (const _ of [1, 2]) { picture.click(); "
        "widths.push(picture.offsetWidth) }; document.title = JSON.stringify(widths) })</script></body>"
    )
    copy = tmp_path / "clicked.html"
    copy.write_text(text.replace("</body>", click))
    words = [CHROMIUM, *_QUIET.split(), "--window-size=1300,900", f"--user-data-dir={tmp_path / 'profile'}"]
    run = subprocess.run([*words, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    (title,) = re.findall(r"<title>(\[.*?\])</title>", run.stdout)
    before, large, after = json.loads(title)
    assert before == after < 300
    assert large > 700


def page_of(study) -> str:
    """The page without figures."""
    answer = answer_of(study)
    return page(study, points_of(study), answer, [], [answer.table])


def test_the_title_says_what_was_compared(tmp_path):
    """The folder of a study is often called study."""
    study = made_up(tmp_path / "study", [simple(weight, 0, 0.9, 0.5, 0.6) for weight in (0, 1)])
    assert "<title>c: λ compared</title>" in page_of(study)
    two = ({WEIGHT: 0.1, "model.regularizer.distance": "mae"}, 0, {"val/accuracy": 0.5})
    assert "<title>c: λ and distance compared</title>" in page_of(made_up(tmp_path / "other", [two]))


def test_costs_have_units(study):
    answer = answer_of(study)
    table = answer.table.plain()
    assert re.search(r"λ = 0 .* 1 \(0\.1 s\) +1 \(100 MiB\)", table)
    assert re.search(r"λ = 1 .* 1\.00 × \(0\.1 s\) +1\.00 × \(100 MiB\)", table)
    time, memory = cost_bars(answer.compared).axes
    assert [text.get_text() for text in (*time.texts, *memory.texts)] == [
        *3 * ["1.00 × (0.1 s)"], *3 * ["1.00 × (100 MiB)"]
    ]  # fmt: skip
    time, _ = cost_bars(answer.compared, is_narrow=True).axes
    assert next(tick.get_text() for tick in time.get_yticklabels()) == "λ = 0: 1.00 × (0.1 s)"


def test_scores_are_one_table_of_scores_and_points(study):
    table = score_table(points_of(study), 2)
    assert (table.headings, table.best_column) == (["score", "λ = 0", "λ = 0.1", "λ = 1"], 3)
    assert table.rows == [
        ["drop ↓, Grad-CAM", "50.5 ± 0.7", "49.5 ± 0.7", "40.5 ± 0.7"],
        ["insertion ↑, Grad-CAM", "60.0 ± 0.0", "60.0 ± 0.0", "60.0 ± 0.0"],
    ]
    one, other = table.parts(2)
    assert (one.headings, other.headings) == (["score", "λ = 0", "λ = 0.1"], ["score", "λ = 1"])
    assert (one.best_column, other.best_column) == (None, 1)
    assert other.rows[0] == ["drop ↓, Grad-CAM", "40.5 ± 0.7"]


@pytest.mark.parametrize("width", [60, 80, 300])
def test_what_is_printed_fits_the_terminal(large_text, monkeypatch, width):
    """The path of the page is not broken."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = str(large_text).splitlines()
    assert max(len(line) for line in lines if line != str(large_text.page)) <= width
    for word in ("accuracy", "interval", "leakage", "peak", "100 MiB", "histogram"):
        assert any(word in line for line in lines)
    assert (max(map(len, lines)) > 120) == (width == 300)


def _requested(log: Path) -> list[str]:
    """Addresses of a network that a page asked for, in Chromium's own log."""
    found = re.findall(r'"url":"((?:https?|wss?)://[^"]+)"', log.read_text())
    # Chromium makes requests of its own, whatever the page.
    return [address for address in found if not re.search(r"google|gstatic|chromium", address)]
