"""The pages of the documentation: every public name has one, and every link leads somewhere. No site is built."""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import camtrain
from camtrain.evaluation import METRICS
from camtrain.methods import CONTROLS, FURTHER_METHODS, METHODS

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # `docs` is no installed package
    sys.path.insert(0, str(ROOT))

from docs.generator import docstrings, links, misleading  # noqa: E402
from docs.generator.benchmark_page import benchmark_page  # noqa: E402
from docs.generator.families import families, families_of  # noqa: E402
from docs.generator.llms_txt import llms_txt  # noqa: E402
from docs.generator.public_names import names_on, packages, public_names  # noqa: E402
from docs.generator.used_in import experiments_with  # noqa: E402
from docs.generator.write_pages import FOLDERS, generated_pages, write_pages  # noqa: E402
from experiments.league.boards import BOARDS  # noqa: E402
from experiments.league.table import cells_of, compared_boards  # noqa: E402
from experiments.result_rows import read_rows  # noqa: E402

DOCS = ROOT / "docs"
WRITTEN = {f"{page}.md": (DOCS / f"{page}.md").read_text(encoding="utf-8") for page in links.written_by_hand()}
GALLERY = {path.relative_to(DOCS / "gallery").as_posix() for path in (DOCS / "gallery").rglob("*.py")}
LINK = re.compile(r"\]\(([^)\s]+)\)")
MADE = {*FOLDERS, "examples", "_build", "architecture", "benchmark", *links.PAGES_OF_ROOT.values()}
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated():
    return generated_pages()


@pytest.fixture(scope="module")
def pages(generated):
    written = {
        name: links.for_the_site(text, f"docs/{name}", name.removesuffix(".md")) for name, text in WRITTEN.items()
    }
    return written | {name: text for name, text in generated.items() if name.endswith(".md")}


def anchors_of(text):
    return re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)


def test_every_public_name_has_one_page(pages):
    anchors = [anchor for text in pages.values() for anchor in anchors_of(text)]
    assert len(anchors) == len(set(anchors))
    for public in public_names():
        assert public.anchor in anchors_of(pages[f"{public.page}.md"]), f"{public.package}.{public.name}"
        assert f"`{public.name}`" in pages[f"reference/{public.package}.md"]


def test_the_public_names_are_those_of_the_packages():
    names = {(public.package, public.name) for public in public_names()}
    assert {("camtrain", name) for name in camtrain.__all__} <= names
    assert {("camtrain.cams", "GradCAM"), ("camtrain.methods", "image_maps")} <= names
    for package in set(vars(camtrain)["_PACKAGES"]) - {"messages"}:
        for name in getattr(import_module(f"camtrain.{package}"), "__all__", ()):
            assert (f"camtrain.{package}", name) in names


def test_every_regularizer_method_and_metric_has_a_page(pages):
    registered = {name for family in families() for name in family.registered}
    assert {*METHODS, *FURTHER_METHODS, *CONTROLS, *METRICS} <= registered
    assert {"MapFaithfulness", "RightForRightReasons", "Sum"} <= registered
    for family in families():
        text = pages[f"{family.page}.md"]
        for heading in ("Cost", "When it misleads", "Experiments", "Arguments"):
            content = re.search(rf"^## {heading}\n\n(.+?)\n", text, re.MULTILINE)
            assert content is not None, f"{family.page}: {heading}"
        assert f"pictures/{family.page}.png" in text


def test_formulas_are_shown(pages):
    """A metric is defined by its line in the table, a regularizer and a map by their formula."""
    without = [family.page for family in families() if "## Formula" not in pages[f"{family.page}.md"]]
    assert set(without) <= {
        "regularizers/sum",
        "methods/attention_map",
        "methods/uniform_map",
        "methods/random_map",
        "methods/center_map",
        "methods/deep_lift",  # rules for each kind of layer, which are captum's
    }


def test_what_misleads_is_said_of_each_and_of_nothing_else():
    for kind in ("regularizers", "methods", "metrics"):
        assert set(misleading.paragraphs(kind)) == {family.key for family in families_of(kind)}
    with pytest.raises(KeyError):
        misleading.paragraphs("methods")["absent"]


def test_links_lead_to_pages(pages, generated):
    anchors = {anchor for text in pages.values() for anchor in anchors_of(text)}
    count = 0
    for name, text in pages.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for target in LINK.findall(PICTURE.sub("", prose)):
            count += 1
            assert is_there(target, name, pages, anchors), f"{name}: {target}"
        for target in PICTURE.findall(prose):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            drawn = {f"pictures/{family.page}.png" for family in families()} | generated.keys()
            assert path in drawn or (DOCS / path).is_file(), f"{name}: {target}"
    assert count > 500


def test_links_also_lead_somewhere_in_the_repository():
    """Whoever reads a page there, and has built no site, finds what it links to."""
    files = [*(DOCS / name for name in WRITTEN), *(DOCS / "misleads").glob("*.md")]
    for path in files:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = [target for target in LINK.findall(prose) if not re.match(r"https?://", target)]
        assert all((path.parent / target).exists() for target in targets), f"{path}: {targets}"
        # What a build has made is there on this machine alone.
        inside = [posixpath.relpath((path.parent / target).resolve(), DOCS) for target in targets]
        assert not {each.split("/")[0].removesuffix(".md") for each in inside} & MADE, f"{path}: {inside}"
    assert len(files) > 20


def test_no_link_is_lost_on_the_way_to_the_site():
    """A link to a file without a page, whose words are no public name, becomes the path of the file."""
    for name, text in WRITTEN.items():
        shown = links.for_the_site(text, f"docs/{name}", name.removesuffix(".md"))
        assert len(LINK.findall(shown)) == len(LINK.findall(text)), name


def is_there(target, name, pages, anchors):
    if re.match(r"https?://", target):
        return True
    if target.startswith("#"):
        return target[1:] in anchors
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0]))
    if path == "examples/index.rst":
        return True
    if path.startswith("examples/"):
        return path.removeprefix("examples/").removesuffix(".rst") + ".py" in GALLERY
    return path in pages


@pytest.mark.parametrize(
    ("target", "found"),
    [("start.md", True), ("absent.md", False), ("#absent", False), ("examples/maps/absent.rst", False)],
)
def test_a_broken_link_is_found(pages, target, found):
    assert is_there(target, "index.md", pages, set()) is found


def test_every_page_is_in_a_table_of_contents(pages):
    listed = {"index.md"}
    for name, text in pages.items():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), line))
                    assert f"{path}.md" in pages or path == "examples/index", f"{name}: {line}"
                    listed.add(f"{path}.md")
    assert set(pages) <= listed


def test_pages_are_written_once_and_old_ones_go(generated, tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").write_text("old")
    write_pages(generated, tmp_path)
    page = tmp_path / "methods" / "grad_cam.md"
    assert page.read_text(encoding="utf-8") == generated["methods/grad_cam.md"]
    assert not (tmp_path / "methods" / "gone.md").exists()
    before = page.stat().st_mtime_ns
    write_pages(generated, tmp_path)
    assert page.stat().st_mtime_ns == before


def test_a_docstring_becomes_markdown():
    text = (
        "Does a_b.\n\nSee `Other`.\n\n    y = x_i * 2\n\n- one\n- two\n\nArgs:\n    a: First,\n        and more.\n\n"
        "Raises:\n    ValueError: If `a` is wrong.\n\nExample:\n    >>> 1\n    1\n"
    )
    found = docstrings.parsed(text)
    assert found.summary == "Does a_b."
    assert docstrings.prose(found.body, lambda code: f"#{code.lower()}") == (
        "See [`Other`](#other).\n\n```text\ny = x_i * 2\n```\n\n- one\n- two"
    )
    assert docstrings.section("Args", found.sections["Args"], links.no_link) == "- **`a`**: First, and more."
    assert docstrings.section("Example", found.sections["Example"], links.no_link) == "```pycon\n>>> 1\n1\n```"
    assert docstrings.inline("x_i * [0, 1]", links.no_link) == r"x\_i \* \[0, 1\]"


def test_links_of_a_readme_lead_to_pages():
    text = "[a](../decoy/) ![b](c.png) [`d.py`](d.py) [e](https://e.org) [f](../../camtrain/cams/grad_cam.py)"
    assert links.for_the_site(text, "experiments/league/README.md", "experiments/league") == (
        "[a](decoy.md) ![b](../../experiments/league/c.png) `experiments/league/d.py` [e](https://e.org) "
        "[f](../methods/grad_cam.md)"
    )


def test_links_of_a_page_written_by_hand_lead_to_pages():
    text = (
        "[a](own_loop.md) [b](../limits.md) [c](../gallery/maps/targets.py) [d](../../camtrain/callbacks/)\n"
        "[`Classifier`](../../camtrain/classifier.py) [`Module`](../../camtrain/classifier.py)\n"
        '```python\nMETHODS["f"](network)\n```\n'
    )
    assert links.for_the_site(text, "docs/how_to/scores.md", "how_to/scores") == (
        "[a](own_loop.md) [b](../limits.md) [c](../examples/maps/targets.rst) [d](../reference/camtrain.callbacks.md)\n"
        "[`Classifier`](#class-camtrain-classifier) `Module` (`camtrain/classifier.py`)\n"
        '```python\nMETHODS["f"](network)\n```\n'
    )


def test_experiments_are_found_by_their_results():
    by_key = {family.page: experiments_with(family) for family in families()}
    assert {"league", "quickstart"} <= set(by_key["regularizers/map_faithfulness"])
    assert "decoy" in by_key["regularizers/right_for_right_reasons"]
    assert "cam_cost" in by_key["methods/ablation_cam"]
    assert "attention_pets" in by_key["metrics/pointing_game"]


def test_the_benchmark_has_a_row_for_each_result():
    text = benchmark_page()
    results = [path for path in (ROOT / "experiments" / "league").glob("*/*.csv") if path.stem != "plain"]
    # A board without scores of test images is one on which λ is being chosen.
    boards = {path.parent.name for path in results if any(row["split"] == "test" for row in read_rows(path))}
    assert {"resnet20", "mobilenet_v2"} <= boards
    assert {name for name in BOARDS if f"BOARDS={name} " in text} == boards
    _, of_all, first, *_ = text.split("\n## ")
    assert of_all.startswith("All boards\n")
    # Numbers stand in one line with their intervals, by spaces that do not break.
    for title, cells in cells_of(compared_boards()).items():
        row = next(line for line in of_all.replace("\xa0", " ").splitlines() if line.startswith(f"| {title} |"))
        assert all(f"| {cell} |" in row for cell in cells.values())
    assert re.search(r"\| plain training \| – \| \d+ \| 25 \|", first)
    assert re.search(r"\| MapFaithfulness \| 0\.5 \| 6 \| 25 \|", first)


def test_the_names_of_a_page_are_those_of_its_module():
    assert {public.name for public in names_on("methods/layer_cam")} == {"LayerCAM", "layer_cam", "layer_cam_pyramid"}
    assert next(iter(packages())) == "camtrain"


PYTHON = [
    (name, code) for name, text in WRITTEN.items() for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=[name for name, _ in PYTHON])
def test_listings_import_and_call_what_is_there(name, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("camtrain"):
            assert all(hasattr(import_module(node.module), alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "camtrain":
            assert hasattr(camtrain, node.attr), node.attr


def test_configurations_name_what_is_there():
    found = 0
    for text in WRITTEN.values():
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
            yaml.safe_load(block)
            for path in re.findall(r"class_path: (camtrain\.[\w.]+)", block):
                module, _, name = path.rpartition(".")
                assert hasattr(import_module(module), name), path
                found += 1
    assert found >= 2


def blocks(text, language):
    """The blocks between fences that are of a language; commands have none."""
    fenced = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for of, block in fenced if of == language]


COMMANDS = [
    (name, line.split("  #")[0].split())
    for name, text in WRITTEN.items()
    for block in blocks(text, "")
    for line in block.splitlines()
    if line.startswith("camtrain ")
]
OWN = [words for _, words in COMMANDS if words[1] in ("ablate", "evaluate", "explain", "export")]
TRAININGS = [(name, words) for name, words in COMMANDS if words[1] == "fit"]


def test_blocks_are_told_from_what_is_between_them():
    assert blocks("```yaml\na: 1\n```\n\nor\n\n```\ncamtrain fit\n```\n", "") == ["camtrain fit\n"]


@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_commands_have_these_options(words):
    module = import_module(f"camtrain.cli.{words[1]}")
    module.__dict__[f"{words[1]}_parser"]().parsed(words[2:])


@pytest.mark.slow
@pytest.mark.parametrize(("page", "words"), TRAININGS, ids=[" ".join(words) for _, words in TRAININGS])
def test_commands_of_trainings_have_these_options(page, words, capsys, monkeypatch, tmp_path):
    """A configuration that is not in the repository is the one that the page shows."""
    from camtrain.cli import main

    monkeypatch.chdir(ROOT)
    for place, word in enumerate(words):
        if word.endswith(".yaml") and not Path(word).is_file():
            (shown,) = blocks(WRITTEN[page], "yaml")
            (tmp_path / word).write_text(shown, encoding="utf-8")
            words = [*words[:place], str(tmp_path / word), *words[place + 1 :]]
    with pytest.raises(SystemExit) as end:
        main([*words[1:], "--print_config"])
    assert not end.value.code
    assert "model:" in capsys.readouterr().out


def test_the_list_for_language_models():
    text = llms_txt()
    for target in re.findall(r"\]\(([\w/]+)\.html\)", text):
        assert f"{target}.md" in WRITTEN or target.split("/")[0] in FOLDERS or target == "benchmark"
    assert "MapFaithfulness" in text
    assert "how_to/own_loop.html" in text


def test_the_citation_has_the_version_of_the_package():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["version"] == version("camtrain")
    assert found["license"] == "Apache-2.0"
    assert f"## {found['version']}" in WRITTEN["changelog.md"]


def test_the_workflow_runs_targets_of_the_makefile():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"make test", "make docs"} <= set(steps)
    for step in steps:
        assert f"\n{step.removeprefix('make ')}: " in makefile
