"""When a regularizer, a method or a metric misleads: one paragraph for each, from docs/misleads/."""

from __future__ import annotations

import re
from functools import cache

from docs.generator.families import Family, Kind
from docs.generator.links import ROOT, for_the_site


def misleads(family: Family) -> str:
    """The paragraph of one of them.

    Args:
        family: The regularizer, method or metric.

    Raises:
        ValueError: If there is none.
    """
    try:
        return paragraphs(family.kind)[family.key]
    except KeyError:
        raise ValueError(
            f"docs/misleads/{family.kind}.md has no section `## {family.key}`: say when {family.title} misleads"
        ) from None


@cache
def paragraphs(kind: Kind) -> dict[str, str]:
    """All paragraphs of a kind, by the name of the page.

    Args:
        kind: The part of the site.
    """
    file = f"docs/misleads/{kind}.md"
    text = for_the_site((ROOT / file).read_text(encoding="utf-8"), file, f"{kind}/index")
    sections = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(sections[::2], sections[1::2], strict=True)}
