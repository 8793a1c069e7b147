"""The harness that looks for faults: what it makes, and that it tells one outcome from another."""

from __future__ import annotations

import random
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.reliability import hostile, table
from experiments.reliability.bad_inputs import classified
from experiments.reliability.children import Call, Ended, last_line, plain, run_child, run_children
from experiments.reliability.damage import DAMAGES
from experiments.reliability.gradients_of_processes import drawn_for_each_image
from experiments.reliability.hostile_files import active_elements, formulas
from experiments.reliability.kills import SIGNALS
from experiments.reliability.parts import Part, Row, chosen, kept, part_settings, run_part, summary
from experiments.reliability.processes import Marked
from experiments.reliability.results import missing_rows, results_of_run
from experiments.reliability.torn_files import Expected, TornFile, is_named, same
from experiments.reliability.torn_files import classified as classified_torn
from experiments.reliability.world_faults import _torn
from experiments.reliability.wrong_calls import WrongCall, targets, wrong_calls
from experiments.reliability.wrong_commands import checkpoints, wrong_commands
from experiments.reliability.wrong_values import integers, near_miss, numbers, one_of, wrong

# A child only writes, sleeps or raises: none of the threads of this process is needed in it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PART = Part("part", "a figure", "a goal", ("good",), None, 2)


def row(case, outcome, kind="kind"):
    return Row(case, kind, "why", outcome, "what was said", "1 GB", "0.1")


# Children


def test_a_child_says_how_it_ended(tmp_path):
    assert run_child(Call(lambda: {"a": 1}, tmp_path / "a")).value == {"a": 1}
    assert run_child(Call(lambda: sys.exit(3), tmp_path / "a")).status == 3
    raised = run_child(Call(lambda: int("x"), tmp_path / "a"))
    assert (raised.how, raised.error, raised.on_purpose) == ("raised", "ValueError", False)
    assert raised.printed_a_traceback

    def refuse():
        raise ValueError("`x`: expected a number")

    assert run_child(Call(refuse, tmp_path / "a")).on_purpose
    killed = run_child(Call(lambda: signal.raise_signal(signal.SIGKILL), tmp_path / "a"))
    assert (killed.how, killed.status) == ("killed", signal.SIGKILL)


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    started = time.monotonic()
    assert run_child(Call(lambda: time.sleep(60), tmp_path / "a", seconds=0.3)).how == "hung"
    assert time.monotonic() - started < 10


def test_children_end_with_the_harness(tmp_path):
    """Also where it is killed, and cannot end them itself."""
    inner = Call(lambda: time.sleep(60), tmp_path / "b")
    outer = Call(lambda: run_child(inner), tmp_path / "a", seconds=2.0)
    assert run_child(outer).how == "hung"
    end = time.monotonic() + 20
    while left := [path for path in Path("/proc").glob("[0-9]*/cwd") if _leads_to(path, tmp_path / "b")]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def _leads_to(link, folder):
    try:
        return link.readlink() == folder
    except OSError:  # the process is gone, or somebody else's
        return False


def test_children_work_in_their_folders_and_their_output_is_theirs(tmp_path, capfd):
    def body():
        print("said")
        Path("written").touch()

    ended = dict(run_children([(name, Call(body, tmp_path / name)) for name in "ab"], jobs=2))
    assert [ended[name].said for name in "ab"] == ["said\n", "said\n"]
    assert sorted(path.name for path in tmp_path.rglob("written")) == ["written", "written"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert capfd.readouterr().out == ""


def test_the_peak_is_the_childs_own(tmp_path):
    small = run_child(Call(lambda: None, tmp_path / "a")).peak
    large = run_child(Call(lambda: bytearray(200_000_000) and None, tmp_path / "a")).peak
    assert 150_000_000 < large - small < 260_000_000


def test_a_limit_of_a_file_is_an_error(tmp_path):
    ended = run_child(Call(lambda: Path("x").write_bytes(bytes(5000)) and None, tmp_path / "a", file_size=1000))
    assert (ended.how, ended.error) == ("raised", "OSError")


def test_texts_are_the_same_on_every_machine(tmp_path):
    assert plain(f"{tmp_path}/a.csv at 0x7f00aabbcc\n\x1b[31mred\x1b[0m", tmp_path) == "CASE/a.csv at 0x… red"
    assert last_line("a\n\nb\n`camtrain fit --help` explains the options\n") == "b"
    assert last_line("a\n\nb\n`camtrain report --help` explains all options\n") == "b"


# Rows


def test_every_kind_has_its_share_of_a_choice():
    items = [f"a{k}" for k in range(30)] + [f"b{k}" for k in range(10)]
    found = chosen(items, 8, 0, lambda item: item[0])
    assert [sum(item[0] == kind for item in found) for kind in "ab"] == [6, 2]
    assert chosen(items, 4, 0, lambda item: item[0]) == found[:4]
    assert chosen(items, 8, 1, lambda item: item[0]) != found
    assert sorted(chosen(items, None, 0, lambda item: item[0])) == sorted(items)


def test_a_part_resumes(tmp_path, capsys):
    settings = part_settings(PART, None, ["--results", str(tmp_path)])
    run_part(PART, settings, [row("a", "good"), row("b", "bad")], 2)
    assert "2 cases: 1 good, 1 bad; goal: a goal" in capsys.readouterr().out
    assert kept(PART, settings, ["a", "b", "c"], str) == ["c"]
    assert part_settings(PART, None, ["--small"]).size == 2
    assert summary(PART.rows(tmp_path)) == "2 cases: 1 good, 1 bad"


def test_the_tables_count_and_list_what_misses(tmp_path):
    texts = table.readme_texts(tmp_path)
    assert "not measured" in texts["numbers of experiments/reliability"]
    assert texts["misses of experiments/reliability"] == "None."
    table.PARTS[1].rows(tmp_path).add(row("fit: --x = 1", "message", "fit"), row("fit: --x = 2", "silent", "fit"))
    texts = table.readme_texts(tmp_path)
    assert "| 2: 1 message, 1 silent | no, 1 miss |" in texts["numbers of experiments/reliability"]
    assert "| bad_inputs | fit: --x = 2 | silent | what was said |" in texts["misses of experiments/reliability"]


# Wrong inputs


def test_wrong_values_are_drawn_from_a_seed():
    once, again = ([each.shown for each in integers(1)(random.Random(7))] for _ in range(2))
    assert once == again
    assert once[0] == "0"
    assert {"nan", "inf", "''"} <= set(once)
    assert "100" not in [each.shown for each in numbers(0, 100)(random.Random(0))]
    names = ["cosine", "mae"]
    assert not set(names) & {each.make() for each in one_of(names)(random.Random(0)) if isinstance(each.make(), str)}


@pytest.mark.parametrize("name", ["cosine", "v1", "cam"])
def test_a_near_miss_is_another_name(name):
    for seed in range(50):
        assert near_miss(name, random.Random(seed)) != name


def test_there_are_enough_bad_inputs_and_they_depend_on_the_seed(tmp_path):
    of_commands, of_functions = wrong_commands(0), wrong_calls(0, tmp_path)
    assert len({case.name for case in of_commands}) > 600
    assert len({case.name for case in of_functions}) > 600
    assert [case.name for case in wrong_calls(0, tmp_path)] == [case.name for case in of_functions]
    assert [case.name for case in wrong_calls(1, tmp_path)] != [case.name for case in of_functions]
    commands = {case.target for case in of_commands}
    assert commands == {"fit", "validate", "test", "predict", "resume", "explain", "evaluate", "ablate", "report"}
    functions = {case.target for case in of_functions}
    assert {
        "Objective",
        "Classifier",
        "MapL1",
        "GradCAM",
        "SmoothGrad",
        "localization_iou",
        "explain",
        "evaluate",
        "ablate",
        "load_network",
    } <= functions


@pytest.mark.parametrize(
    "name", ["Objective", "Classifier", "MapFaithfulness", "GradCAM", "SmoothGrad", "adcc", "evaluate"]
)
def test_right_arguments_are_accepted(name, tmp_path):
    """What is said of wrong arguments means nothing if the others are wrong too."""
    target = next(target for target in targets(tmp_path) if target.name == name)
    target.call(**target.right())


CALL = WrongCall("f", "weight", wrong(-1, "negative"), lambda: None)
OURS = "/x/camtrain/objective/objective.py"


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended("returned"), "silent"),
        (Ended("returned", warnings=("`weight`: is ignored",)), "message"),
        (Ended("returned", warnings=("`weights`: is ignored",)), "silent"),
        (Ended("raised", error="ValueError", message="`weight`: expected", raised_in=OURS, on_purpose=True), "message"),
        (Ended("raised", error="ValueError", message="expected a number", raised_in=OURS, on_purpose=True), "vague"),
        (Ended("raised", error="TypeError", message="'<' not supported", raised_in=OURS), "traceback"),
        (
            Ended("raised", error="RuntimeError", message="size mismatch", raised_in="/torch/x.py", on_purpose=True),
            "traceback",
        ),
        (Ended("hung"), "hang"),
        (Ended("killed", status=11), "traceback"),
    ],
)
def test_outcomes_of_calls(ended, outcome):
    assert classified(CALL, ended)[0] == outcome


USAGE = "usage: camtrain fit [--model.regularizer_weight W] [--data.x X]\n"


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended("exited", 0), "silent"),
        (
            Ended("exited", 0, said="camtrain fit: warning: regularizer_weight is ignored\nregularizer_weight 1\n"),
            "message",
        ),
        (Ended("exited", 0, said="camtrain fit: warning: it is ignored\nregularizer_weight 1\n"), "silent"),
        (Ended("exited", 2, said=f"{USAGE}error: `regularizer_weight`: expected a number\n"), "message"),
        (Ended("exited", 2, said=f"{USAGE}error: expected a number\n"), "vague"),
        (Ended("exited", 2, said="Traceback (most recent call last):\nerror: regularizer_weight\n"), "traceback"),
        (
            Ended("raised", error="ValueError", message="`regularizer_weight`", on_purpose=True, raised_in=OURS),
            "traceback",
        ),
    ],
)
def test_outcomes_of_commands(ended, outcome):
    case = next(case for case in wrong_commands(0) if case.argument == "--model.regularizer_weight")
    assert classified(case, ended)[0] == outcome


# Damaged files


@pytest.mark.parametrize("damage", DAMAGES)
def test_damages(damage, tmp_path):
    path = tmp_path / "file"
    content = bytes(range(200))
    path.write_bytes(content)
    DAMAGES[damage](path, random.Random(0))
    after = path.read_bytes() if path.exists() else None
    expected = {
        "gone": after is None,
        "empty": after == b"",
        "cut": after is not None and 0 < len(after) < 200 and content.startswith(after),
        "flipped": after is not None
        and len(after) == 200
        and sum((a ^ b).bit_count() for a, b in zip(after, content, strict=True)) == 1,
    }
    assert expected[damage]


def test_outcomes_of_torn_files(tmp_path):
    case = TornFile("evaluate", Path("runs/small/last.ckpt"), "runs/small/last.ckpt", "cut")
    wanted = Expected({"images.csv": "1"}, "scores of last.ckpt\n")
    (tmp_path / "evaluated").mkdir()
    table_ = tmp_path / "evaluated/images.csv"
    table_.write_text("1")
    same_words = Ended("returned", said="scores of last.ckpt\n")
    assert classified_torn(case, same_words, tmp_path, wanted)[0] == "equal"
    table_.write_text("2")
    assert classified_torn(case, same_words, tmp_path, wanted) == ("silent", "differs: images.csv")
    more = Ended("returned", said="scores of last.ckpt\nlast.ckpt is damaged\n")
    assert classified_torn(case, more, tmp_path, wanted)[0] == "stated"
    assert (
        classified_torn(case, Ended("exited", 2, said="error: cannot read last.ckpt\n"), tmp_path, wanted)[0]
        == "stated"
    )
    assert classified_torn(case, Ended("exited", 2, said="error: EOF\n"), tmp_path, wanted)[0] == "vague"
    assert classified_torn(case, Ended("raised", error="EOFError"), tmp_path, wanted)[0] == "traceback"
    gone = TornFile("evaluate", Path("runs/small/last.ckpt"), "", "gone")
    assert is_named(gone, Ended("exited", 2, said="error: no checkpoint in runs/small\n"), tmp_path, wanted)


def test_results_are_compared_to_the_last_bit():
    assert same({"a": [torch.zeros(2)]}, {"a": [torch.zeros(2)]})
    assert not same({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 1e-30])})
    assert not same(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not same({"a": 1}, {"a": 1, "b": 2})


def test_a_row_that_is_missing_or_there_twice_is_found(tmp_path):
    def run(*rows):
        (tmp_path / "metrics.csv").write_text("epoch,train/loss,train/seconds_per_step\n" + "".join(rows))
        return results_of_run(tmp_path)

    whole = run("0,1.0,0.1\n", "1,0.5,0.1\n")
    assert missing_rows(whole, run("0,1.0,0.2\n", "1,0.5,0.3\n")) == 0  # times differ
    assert missing_rows(whole, run("1,0.5,0.1\n")) == 1
    assert missing_rows(whole, run("0,1.0,0.1\n", "1,0.4,0.1\n")) == 1
    assert not same(whole, run("0,1.0,0.1\n", "1,0.5,0.1\n", "1,0.5,0.1\n"))


@pytest.mark.parametrize(("shown", "make"), [(shown, make) for shown, _, make in checkpoints()])
def test_bad_checkpoints_are_bad(shown, make, tmp_path):
    path = tmp_path / "a.ckpt"
    good = {
        "state_dict": {
            "network.fc.weight": torch.rand(10, 8),
            "network.fc.bias": torch.rand(10),
            "network.layer1.weight": torch.rand(4),
        },
        "optimizer_states": [],
        "loops": {},
    }
    torch.save(good, path)
    before = path.read_bytes()
    make(path)
    assert path.is_dir() or path.read_bytes() != before
    if shown in ("a flipped byte", "with NaN", "of another network"):  # these can be read
        assert "state_dict" in torch.load(path, weights_only=True)
    if shown == "a flipped byte":
        weight = torch.load(path, weights_only=True)["state_dict"]["network.fc.weight"]
        assert (weight != good["state_dict"]["network.fc.weight"]).sum() == 1


# Hostile files


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", hostile.WAYS)
def test_hostile_pickles_would_run_code(way, tmp_path):
    """A file that does no harm tells nothing about who reads it."""
    canary = tmp_path / "canary"
    path = tmp_path / "a.ckpt"
    torch.save({"x": hostile.RunsCode(canary, way)}, path)
    torch.load(path, weights_only=False)
    end = time.monotonic() + 10
    while not canary.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert canary.exists()


def test_an_npz_can_have_members_of_any_name(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(hostile.npz_of({"cam/x/../../../escaped": np.zeros(2)}))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["cam/x/../../../escaped.npy"]
    with np.load(path) as arrays:
        assert arrays["cam/x/../../../escaped"].shape == (2,)


def test_bombs_are_small_on_the_disk(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    path.write_bytes(hostile.png_bomb(4000, 3000))
    assert path.stat().st_size < 100_000
    with Image.open(path) as image:
        assert image.size == (4000, 3000)
        assert image.convert("L").getextrema() == (0, 0)
    packed = hostile.npz_bomb({"a": np.zeros(2)}, "b", 0)
    (tmp_path / "a.npz").write_bytes(packed)
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays) == {"a", "b"}


@pytest.mark.parametrize(
    "name", [name for name in hostile.HOSTILE_NAMES.values() if "<" in name and "<!--" not in name]
)
def test_active_elements_are_found_unless_they_are_escaped(name):
    import html

    assert active_elements(f"<title></title><p title='\"{name}\"'>{name}</p>")
    assert active_elements(f'<p title="{html.escape(name)}">{html.escape(name)}</p>') == []


def test_formulas_are_found_and_numbers_are_none(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,value\n=1+1,-0.5\n@SUM(1),+1e-5\n'=1+1,0\n-a,1\n")
    assert formulas(path) == ["cell '=1+1'", "cell '@SUM(1)'", "cell '-a'"]


# The world


def test_torn_pictures_are_found(tmp_path):
    (tmp_path / "a.png").write_bytes(hostile.png_bomb(8, 8))
    (tmp_path / "b.png").write_bytes(hostile.png_bomb(80, 80)[:60])
    (tmp_path / "c.csv").touch()
    assert _torn(tmp_path) == ["b.png is cut", "c.csv is empty"]


def test_what_a_process_leaves_behind_is_found_and_ended(tmp_path, monkeypatch):
    """`camtrain --version` stands for a training; what it starts is started by `sitecustomize`."""
    program = "import subprocess, sys, os\nif not os.environ.get('CHILD'):\n    os.environ['CHILD'] = '1'\n"
    program += "    subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
    (tmp_path / "sitecustomize.py").write_text(program)
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": f"{tmp_path}:{root}"}
    with Marked(("--version",), tmp_path, tmp_path / "said.txt", environment) as process:
        assert process.wait(60) == 0
        assert process.said().startswith("camtrain")
        assert len(process.relatives()) == 1
        assert process.gone_after(0.2) is None
    assert process.relatives() == []


def test_signals_take_turns():
    assert [each.name for each in SIGNALS] == ["SIGKILL", "SIGTERM", "SIGINT"]


def test_random_numbers_belong_to_images():
    with drawn_for_each_image(0, 6):
        whole, pairs = torch.rand(6, 2, 4), torch.rand(2, 6)
    with drawn_for_each_image(3, 3):
        part, of_pairs = torch.rand(3, 2, 4), torch.rand(2, 3)
    torch.testing.assert_close(part, whole[3:])
    torch.testing.assert_close(of_pairs, pairs[:, 3:])
    assert whole.unique().numel() > 40
