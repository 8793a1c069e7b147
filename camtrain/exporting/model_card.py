"""The README of an exported network: what it is, how it was trained, how well it looks where it should."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]
from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.evaluation import METRICS
from camtrain.exporting.library import Library
from camtrain.exporting.onnx_file import IMAGES, LOGITS, MAP, ONNX
from camtrain.exporting.run_facts import MapScore, RunFacts
from camtrain.loading.exported_folder import CONFIG, WEIGHTS
from camtrain.loading.preprocessing_steps import CENTER_CROP, PIXEL_FORMAT, RESIZE
from camtrain.messages import percent, printable
from camtrain.methods import method_title
from camtrain.pixel_format import in_words

_LEAKAGE = "map_leakage"
_MOST_NAMES = 50
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_SCORES = {
    "accuracy": "accuracy",
    "accuracy_top5": "top-5 accuracy",
    "accuracy_worst_group": "worst-group accuracy",
    "mean_average_precision": "mean average precision",
    "f1": "F1",
}


@dataclass(frozen=True)
class Card:
    """What a model card is made of.

    Attributes:
        title: The title.
        network: What the network is: its name, or that of its class.
        library: The library that loads it.
        num_logits: The number of logits, 1 for a network of two classes that answers yes or no.
        class_names: The names of all classes; `None` where they are not known.
        several_labels: Whether images may show several classes.
        preprocessing: How photographs are prepared, as `described_preprocessing` writes it.
        facts: What is known of its training and its scores.
        code: Python that builds the network without camtrain; `None` if there is none.
        needs_name: Whether camtrain needs the user's own code to build it.
        picture: The name of the file with a picture of maps; `None` if there is none.
        training: The name of the file with the configuration; `None` if there is none.
        onnx_map: The method of the map in the ONNX file; `None` without a map.
        has_onnx: Whether there is an ONNX file.
    """

    title: str
    network: str
    library: Library
    num_logits: int
    class_names: Sequence[str] | None
    several_labels: bool
    preprocessing: Mapping[str, Any]
    facts: RunFacts
    code: str | None
    needs_name: bool
    picture: str | None
    training: str | None
    onnx_map: str | None
    has_onnx: bool

    def text(self) -> str:
        """The card, in Markdown with the header that the hub of Hugging Face reads."""
        parts = [self._about(), self._use(), *self._onnx(), self._scores(), *self._maps(), self._trained()]
        return f"---\n{self._header()}---\n\n" + "\n\n".join(parts) + "\n"

    def _header(self) -> str:
        tags = ["image-classification", "interpretability", "class-activation-maps", "camtrain"]
        content = {"library_name": self.library, "pipeline_tag": tags[0], "tags": tags, "metrics": ["accuracy"]}
        return str(yaml.safe_dump(content, sort_keys=False))

    def _about(self) -> str:
        facts = self.facts
        trained = "It was trained plainly, without a penalty on what it looks at."
        if facts.regularizer:
            weight = "at its default" if facts.weight is None else f"= {facts.weight:g}"
            trained = f"It was trained with the penalty `{in_code(facts.regularizer)}` on what it looks at, λ {weight}."
        kind = "Several of them may be in an image: probabilities are sigmoids of the logits." * self.several_labels
        count = f"{self.num_logits} logit{'s' * (self.num_logits != 1)}"
        lines = [
            f"# {in_markdown(self.title)}",
            "",
            f"An image classifier, `{in_code(self.network)}`, of {count}. {trained} {kind}".rstrip(),
            "",
            f"Files: `{WEIGHTS}` holds the weights, and no code; `{CONFIG}` says what the network is, how photographs "
            "are prepared and what classes are called.",
        ]
        if found := self.preprocessing.get(PIXEL_FORMAT):
            limits = found["value_range"]
            scaled = f", of which {limits[0]:g} becomes 0 and {limits[1]:g} becomes 1" if limits else ""
            lines += ["", f"Image files have {in_words(found['channels'], found['pixel_type'])}{scaled}."]
        if self.class_names:
            shown = ", ".join(in_markdown(name) for name in self.class_names[:_MOST_NAMES])
            more = f" and {len(self.class_names) - _MOST_NAMES} more" if len(self.class_names) > _MOST_NAMES else ""
            of_two = self.num_logits < len(self.class_names)
            order = "" if of_two else ", in the order of the logits"
            second = " The sigmoid of the logit is the probability of the second." * of_two
            lines += ["", f"Classes{order}: {shown}{more}.{second}"]
        return "\n".join(lines)

    def _use(self) -> str:
        name = ', name="my_code.my_network"' if self.needs_name else ""
        image = "image.tif" if PIXEL_FORMAT in self.preprocessing else "photograph.jpg"
        own = " `name` is a function of yours that makes the network, which the folder does not describe." * bool(name)
        parts = [
            "## Use\n\nIn the folder of these files, with camtrain, which also shows what the network looks at:"
            f'{own}\n\n```python\nimport camtrain\n\nnetwork = camtrain.load_network("."{name})\n'
            f'camtrain.explain(network, "{image}", methods="grad_cam").save("explained")\n```'
        ]
        if self.code is not None:
            parts.append(f"Without camtrain:\n\n```python\n{self._plain_code()}```")
        return "\n\n".join(parts)

    def _plain_code(self) -> str:
        """Python without camtrain, from the folder to the logits of a photograph."""
        loads = "" if self.library == "timm" else f'network.load_state_dict(load_file("{WEIGHTS}"))\n'
        imports = "" if self.library == "timm" else "from safetensors.torch import load_file\n"
        assert self.code is not None
        return (
            f"import torch\nfrom PIL import Image\n{imports}from torchvision.transforms import v2\n"
            f"\n{self.code}{loads}network.eval()\n\nprepare = v2.Compose(\n    [\n        v2.ToImage(),\n"
            + "".join(f"        {_code_of(step)},\n" for step in self.preprocessing["steps"])
            + "        v2.ToDtype(torch.float32, scale=True),\n"
            f"        v2.Normalize({list(self.preprocessing['mean'])}, {list(self.preprocessing['std'])}),\n"
            "    ]\n)\nwith torch.no_grad():\n"
            '    logits = network(prepare(Image.open("photograph.jpg").convert("RGB")).unsqueeze(0))\n'
        )

    def _onnx(self) -> list[str]:
        if not self.has_onnx:
            return []
        second = ""
        if self.onnx_map is not None:
            second = (
                f" The second output, `{MAP}`, is the {method_title(self.onnx_map)} of the predicted class, (N, H, W) "
                "in [0, 1], at the size of the images."
            )
        shape = f"(N, {len(self.preprocessing['mean'])}, H, W)"
        return [
            f"## ONNX\n\n`{ONNX}` takes `{IMAGES}`, {shape}, prepared as above, for any N, and puts out "
            f"`{LOGITS}`, (N, {self.num_logits}).{second}"
        ]

    def _scores(self) -> str:
        facts = self.facts
        lines = ["## Scores", ""]
        if facts.accuracies:
            found = "; ".join(f"{_SCORES[name]} {percent(value)}" for name, value in facts.accuracies.items())
            lines += [f"On test images: {found}.", ""]
        if not facts.scores:
            command = "`camtrain evaluate --checkpoint CKPT --controls shuffled`"
            lines.append(f"Its maps have not been scored, and leakage has not been measured; {command} does both.")
            return "\n".join(lines)
        methods = list(dict.fromkeys(each.method for each in facts.scores))
        cells = {(each.method, each.metric): _shown(each) for each in facts.scores}
        rows = [
            [_titled(metric), *(cells.get((method, metric), "–") for method in methods)]
            for metric in dict.fromkeys(each.metric for each in facts.scores)
        ]
        headings = ["score of the maps, %", *(in_markdown(method_title(method)) for method in methods)]
        lines += [str(tabulate(rows, headings, "github", disable_numparse=True)), ""]
        on = f"on {in_markdown(facts.images)}, " if facts.images else ""
        lines.append(
            f"Measured {on}with 95 % intervals from resampled images. A network that is robust to hidden pixels scores "
            "well with any map: compare a method with its shuffled one, another image's map, where there is one."
        )
        leaks = [each for each in facts.scores if each.metric == _LEAKAGE]
        said = "; ".join(f"{in_markdown(method_title(each.method))} {_shown(each)} %" for each in leaks)
        what = "Leakage is how much of the class the network reads from the shape of the map, over other content"
        lines += ["", f"{what}: {said}." if leaks else f"{what}; it has not been measured."]
        return "\n".join(lines)

    def _maps(self) -> list[str]:
        return [f"## Maps\n\n![maps of a few images]({self.picture})"] if self.picture else []

    def _trained(self) -> str:
        data = (self.facts.training or {}).get("data")
        named = data.get("class_path") if isinstance(data, dict) else None
        lines = ["## Training", ""]
        lines += [f"Data: `{in_code(named)}`."] if isinstance(named, str) else ["Data: not known."]
        if self.training:
            lines += [
                "",
                f"```sh\ncamtrain fit --config {self.training}\n```",
                "",
                "trains it again, once the paths in that file are those of your machine. A configuration is code, "
                "since it names classes: read it before you use it.",
            ]
        return "\n".join(lines)


def in_markdown(text: str) -> str:
    r"""Text that no reader of Markdown takes for anything else.

    Example:
        >>> in_markdown("<b>cat</b> | *dog*")
        '&lt;b&gt;cat&lt;/b&gt; \\| \\*dog\\*'
    """
    plain = printable(text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def in_code(text: str) -> str:
    """Text for between two backticks.

    Example:
        >>> in_code("a`b")
        "a'b"
    """
    return printable(text.replace("\n", " ")).replace("`", "'").replace("|", "/")


def _code_of(step: Mapping[str, Any]) -> str:
    ((name, settings),) = step.items()
    if name == CENTER_CROP:
        return f"v2.CenterCrop({settings['size']})"
    assert name == RESIZE
    mode = (
        "" if settings["interpolation"] == "bilinear" else f", v2.InterpolationMode.{settings['interpolation'].upper()}"
    )
    return f"v2.Resize({settings['size']}{mode}, antialias={settings['antialias']})"


def _shown(score: MapScore) -> str:
    return f"{100 * score.value:z.1f} [{100 * score.low:z.1f}, {100 * score.high:z.1f}]".replace("-", "−")


def _titled(metric: str) -> str:
    spec = METRICS[metric]
    return f"{spec.title} {'↑' if spec.higher_is_better else '↓'}"
