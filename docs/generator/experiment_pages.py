"""The READMEs of the experiments as pages."""

from __future__ import annotations

from docs.generator.links import ROOT, experiment_names, for_the_site


def experiment_page(name: str) -> str:
    """The README of an experiment, with the folder that it is in.

    Args:
        name: The folder.
    """
    file = f"experiments/{name}/README.md"
    text = for_the_site((ROOT / file).read_text(encoding="utf-8"), file, f"experiments/{name}")
    return f"{text.rstrip()}\n\n---\n\nConfigurations, code and results: `experiments/{name}/` of the repository.\n"


def experiments_index() -> str:
    """The index of all experiments."""
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8").partition("\nModules that several")[0]
    pages = "\n".join(experiment_names())
    shown = for_the_site(text, "experiments/README.md", "experiments/index").rstrip()
    return f"{shown}\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
