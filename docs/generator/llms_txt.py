"""`llms.txt`: what the site has, in a form that language models read (llmstxt.org)."""

from __future__ import annotations

import re

from docs.generator.families import Kind, families_of
from docs.generator.family_pages import summary_line
from docs.generator.links import ROOT

_HEAD = """# camtrain

> Trains PyTorch image classifiers whose class activation maps and input gradients are penalized, L = L_C + λ · L_R,
> and scores maps with intervals, beyond control maps. Any `nn.Module` from (N, C, H, W) to (N, K) logits; Lightning
> and the command line are optional.

Names to import: `camtrain.Objective`, `camtrain.Classifier`, `camtrain.image_maps`, `camtrain.evaluate`,
`camtrain.explain`, `camtrain.ablate`, `camtrain.load_network`; classes in `camtrain.regularizers`, `camtrain.cams`,
`camtrain.attributions`, `camtrain.metrics`.
"""
_PARTS: dict[str, tuple[str, ...]] = {
    "Begin": ("start", "choose", "migration", "troubleshooting"),
    "How do I": (),
    "Measured": ("benchmark", "reading_the_report", "limits"),
}


def llms_txt() -> str:
    """The text, with a link to each page that is written by hand, and to each regularizer, method and metric."""
    how_to = sorted(path.stem for path in (ROOT / "docs" / "how_to").glob("*.md") if path.stem != "index")
    parts = dict(_PARTS) | {"How do I": tuple(f"how_to/{name}" for name in how_to)}
    texts = [_HEAD]
    for title, pages in parts.items():
        texts.append(f"## {title}\n\n" + "\n".join(f"- [{_title(page)}]({page}.html)" for page in pages))
    kinds: tuple[Kind, ...] = ("regularizers", "methods", "metrics")
    for kind in kinds:
        lines = [f"- [{each.title}]({each.page}.html): {summary_line(each)}" for each in families_of(kind)]
        texts.append(f"## {kind.capitalize()}\n\n" + "\n".join(lines))
    texts.append("## Reference\n\n- [API reference](reference/index.html): public names")
    return "\n\n".join(texts) + "\n"


def _title(page: str) -> str:
    """The heading of a page; that of a generated one is its name."""
    path = ROOT / "docs" / f"{page}.md"
    found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if path.is_file() else None
    return found[1] if found else page.capitalize()
