"""The pages of regularizers, methods and metrics, and the tables to choose from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from camtrain.evaluation import (
    METRICS,
    ComparisonNeed,
    Evaluator,
    GradientNeed,
    MapNeed,
    Need,
    ProbabilityNeed,
)
from camtrain.methods import CONTROLS, FURTHER_METHODS, is_differentiable
from camtrain.regularizers import InputGradientRegularizer, MapRegularizer
from docs.generator.docstrings import Docstring, Link, docstring_of, entries, formulas, inline, prose, section
from docs.generator.families import Family, Kind, families, families_of
from docs.generator.links import ROOT, for_the_site, link_from
from docs.generator.measured_costs import measured_cost, step_ratio
from docs.generator.misleading import misleads
from docs.generator.name_sections import name_section
from docs.generator.public_names import names_on
from docs.generator.signatures import signature
from docs.generator.used_in import experiments_with, question_of
from experiments.readme_tables import markdown_table

_PICTURES = {
    "regularizers": "What the penalty sees, and its value, computed by the class itself.",
    "methods": "Test images of DecoyDigits with the maps of a small network, made when this site was built.",
    "metrics": "Its score on test images of DecoyDigits, with 95 % intervals, for several maps of a small network; "
    "gray bars are controls, which know nothing of the network. Computed when this site was built.",
}
_SYMBOLS = (
    "↑ means that higher is better. Y is the probability of the explained class on the image, O its probability on "
    "image ⊙ map, and m the map, from 0 to 1."
)
_INTRODUCTIONS = {
    "regularizers": "A regularizer is L_R in L = L_C + λ · L_R. *Step / plain step* is the measured time of a training "
    "step with it ([regularizer_cost](../experiments/regularizer_cost.md)); the [benchmark](../benchmark.md) has what "
    "it gains.",
    "methods": "A method turns a network, an image and a class into a map. ✓ marks those that can be trained through, "
    "with `differentiable=True`. Controls are maps that know nothing of the network, to compare scores with.",
    "metrics": "A metric turns maps into a number. *Group* is a name that `metrics=` accepts, as are `fast` and `all`.",
}


def family_page(family: Family) -> str:
    """The page of a regularizer, a method or a metric.

    Args:
        family: What the page is about.
    """
    link = link_from(family.page)
    found = docstring_of(family.main)
    main = next((each for each in names_on(family.page) if each.value is family.main), None)
    parts = [
        *([f"({main.anchor})="] if main else []),
        f"# {family.title}",
        inline(found.summary, link),
        _names(family),
        f"![{family.title}](../pictures/{family.kind}/{family.key}.png)\n\n<small>{_PICTURES[family.kind]}</small>",
        *_formula(family, found, link),
        *([f"## In detail\n\n{prose(detail, link)}"] if (detail := _after_formula(found.body)) else []),
        f"## Cost\n\n{_cost(family, found, link)}",
        f"## When it misleads\n\n{misleads(family)}",
        f"## Experiments\n\n{_experiments(family)}",
        f"## Arguments\n\n```python\n{signature(family.main.__name__, family.main)}\n```",
        *_sections(found, link, "Args", "Attributes", "Raises"),
        *([f"## Source\n\n{section('Source', found.sections['Source'], link)}"] if "Source" in found.sections else []),
        *(
            [f"## Example\n\n{section('Example', found.sections['Example'], link)}"]
            if "Example" in found.sections
            else []
        ),
        *(name_section(each, link) for each in names_on(family.page) if each.value is not family.main),
    ]
    return "\n\n".join(parts) + "\n"


def overview_page(kind: Kind) -> str:
    """The table of all regularizers, methods or metrics.

    Args:
        kind: The part of the site.
    """
    headings, rows = _TABLES[kind]
    table = markdown_table(headings, [rows(family) for family in families_of(kind)])
    pages = "\n".join(family.key for family in families_of(kind))
    parts = [f"# {kind.capitalize()}", _INTRODUCTIONS[kind], table]
    if kind == "metrics":
        text = (ROOT / "camtrain" / "metrics" / "README.md").read_text(encoding="utf-8")
        body = for_the_site(text, "camtrain/metrics/README.md", "metrics/index").partition("\n")[2]
        parts.append(f"## Definitions\n{_one_level_down(body)}")
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```")
    return "\n\n".join(parts) + "\n"


def _one_level_down(text: str) -> str:
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)


def summary_line(family: Family) -> str:
    """The first sentence of the docstring, without Markdown.

    Args:
        family: What it is about.
    """
    return docstring_of(family.main).summary


def _names(family: Family) -> str:
    names = ", ".join(f"`{name}`" for name in family.registered)
    if family.kind == "regularizers":
        return f"In a configuration: `class_path: camtrain.regularizers.{family.main.__name__}`."
    where = "Class" if family.main.__module__.startswith("camtrain.controls") else "Public class"
    package = family.module.rpartition(".")[0]
    kind = "metrics" if family.kind == "metrics" else "methods"
    return f"Name for `{kind}=` and on the command line: {names}. {where}: `{package}.{family.main.__name__}`."


def _formula(family: Family, found: Docstring, link: Link) -> Iterator[str]:
    """The formula, if the class or a function of its module has one; a metric also has its line in the table."""
    lines = formulas(found.body)
    if not lines:
        for each in names_on(family.page):
            if each.kind == "function":
                lines += formulas(docstring_of(each.value).body)[:1]
    shown = [f"```text\n{line}\n```" for line in lines[:3]]
    if family.kind == "metrics":
        shown.insert(0, _definition(family))
    if shown:
        yield "## Formula\n\n" + "\n\n".join(shown)


def _after_formula(body: str) -> str:
    """The text without the formula that it begins with, which has a section of its own."""
    first, _, rest = body.partition("\n\n")
    return rest if formulas(first) else body


def _definition(family: Family) -> str:
    """The rows of a metric in the page of metrics: definition, direction, source."""
    readme = (ROOT / "camtrain" / "metrics" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if re.match(rf"\| \[.*\]\({family.key}\.py\)", line)]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    lines = [f"- {_without_links(name)}: {text} ({direction}; {source})" for name, text, direction, source in cells]
    return "\n".join(lines) + f"\n\n{_SYMBOLS}"


def _without_links(text: str) -> str:
    return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text)


def _cost(family: Family, found: Docstring, link: Link) -> str:
    parts = [section("Cost", found.sections["Cost"], link)] if "Cost" in found.sections else []
    if family.kind == "metrics":
        parts.append(_passes(family))
    measured = measured_cost(family)
    if measured:
        parts.append(measured)
    elif family.kind == "regularizers" and not parts:
        parts.append(_cost_of_its_kind(family))
    return "\n\n".join(parts) or "Next to nothing: it makes no pass through the network."


def _cost_of_its_kind(family: Family) -> str:
    """For a regularizer that was not measured: what one of its kind costs."""
    if issubclass(family.main, MapRegularizer):
        other, kind = "EnergyInside", "a map"
    elif issubclass(family.main, InputGradientRegularizer):
        other, kind = "GradientNorm", "the input gradient"
    else:
        return "The logits that it needs come from the training pass. It was not measured."
    found = next(each for each in families() if each.title == other)
    words = f"It was not measured by itself. Another penalty on {kind}, [{other}](../{found.page}.md), takes:"
    return f"{words}\n\n{measured_cost(found)}"


def _passes(family: Family) -> str:
    """What a metric needs beside the map, from the registry, and the passes of all metrics."""
    needs = {need.name: need for name in family.registered for need in METRICS[name].needs}
    lines = [f"- {_need(need)}" for need in needs.values()] or ["- Nothing beside the map."]
    slow = any(METRICS[name].slow for name in family.registered)
    words = "It is slow: `fast` leaves it out." if slow else "It is among the metrics that `fast` chooses."
    shared = " ".join(docstring_of(Evaluator).sections["Cost"].split())
    return (
        "It needs:\n\n"
        + "\n".join(lines)
        + f"\n\n{words} All metrics together: {inline(shared, link_from(family.page))}"
    )


def _need(need: Need) -> str:
    if isinstance(need, ProbabilityNeed):
        return (
            f"`{need.name}`: forward passes on images that the map changes, shared with other metrics that need them."
        )
    if isinstance(need, MapNeed):
        stages = " in each stage" if need.stages else ""
        return f"`{need.name}`: a further map of the same method, of {need.of}{stages}."
    if isinstance(need, ComparisonNeed):
        return f"`{need.name}`: the results of the other methods, without further passes."
    assert isinstance(need, GradientNeed)
    return f"`{need.name}`: {need.what} of each image, whatever the method: a forward and a backward pass."


def _experiments(family: Family) -> str:
    lines = [f"- [{question_of(name)}](../experiments/{name}.md)" for name in experiments_with(family)]
    return "\n".join(lines) or "No experiment has measured it yet."


def _sections(found: Docstring, link: Link, *names: str) -> Iterator[str]:
    for name in names:
        if name in found.sections:
            title = "" if name == "Args" else f"**{name}**\n\n"
            yield title + entries(found.sections[name], link)


def _link(family: Family) -> str:
    return f"[{family.title}]({family.key}.md)"


def _plain(family: Family) -> str:
    return inline(summary_line(family), link_from(f"{family.kind}/index"))


def _regularizer_row(family: Family) -> list[str]:
    needs = "✓" if family.main.needs_annotation else ""
    return [_link(family), _plain(family), needs, step_ratio(family.main.__name__)]


def _method_row(family: Family) -> list[str]:
    name = family.registered[0]
    if name in CONTROLS:
        return [_link(family), f"`{name}`", _plain(family), "control", ""]
    kind = "map at a layer" if ".cams." in family.module else "attribution at the input"
    if name in FURTHER_METHODS:
        kind += "; `all` leaves it out"
    trained = "✓" if is_differentiable(name) else ""
    return [_link(family), f"`{name}`", _plain(family), kind, trained]


def _metric_row(family: Family) -> list[str]:
    spec = METRICS[family.registered[0]]
    arrow = "↑" if spec.higher_is_better else "↓"
    truth = {"annotation": "boxes or masks"}.get(spec.truth or "", spec.truth or "")
    return [
        _link(family),
        ", ".join(f"`{name}`" for name in family.registered),
        _plain(family),
        arrow,
        spec.group,
        truth,
    ]


_TABLES = {
    "regularizers": (["regularizer", "in short", "needs boxes or masks", "step / plain step"], _regularizer_row),
    "methods": (["method", "name", "in short", "kind", "✓"], _method_row),
    "metrics": (["metric", "names", "in short", "", "group", "needs"], _metric_row),
}
