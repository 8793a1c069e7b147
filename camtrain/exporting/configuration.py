"""The configuration of an exported network, as timm, transformers and camtrain read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from torch import nn

from camtrain.exporting.library import library_of
from camtrain.loading.exported_folder import LABELS, OWN
from camtrain.loading.preprocessing_steps import CENTER_CROP, PIXEL_FORMAT, RESIZE
from camtrain.networks.build_network import TIMM

PREPROCESSOR = "preprocessor_config.json"
_RESAMPLE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # the numbers of Pillow, which transformers uses
# Of timm's own configuration of a network: what is true of it with other weights, too.
_KEPT = ("fixed_input_size", "first_conv", "classifier", "pool_size", "min_input_size", "interpolation")


def configuration(
    network: nn.Module,
    settings: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    size: tuple[int, int],
    class_names: Sequence[str] | None,
    several_labels: bool,
    weights_sha256: str,
) -> dict[str, Any]:
    """The content of `config.json`.

    Args:
        network: The network.
        settings: `num_classes`, `network` and, for one by name, `stem`, as in a checkpoint.
        preprocessing: As `described_preprocessing` writes it.
        size: Height and width of a photograph that is prepared.
        class_names: The names of all classes, or `None`.
        several_labels: Whether images may show several classes.
        weights_sha256: The checksum of the file of the weights.
    """
    described = settings["network"]
    own = {
        "version": version("camtrain"),
        **{name: settings[name] for name in ("network", "stem") if name in settings},
        "several_labels": several_labels,
        "preprocessing": dict(preprocessing),
        "weights_sha256": weights_sha256,
    }
    names = {} if class_names is None else {LABELS: list(class_names)}
    common = {"num_classes": settings["num_classes"], **names, OWN: own}
    if library_of(described) != "timm":
        name = described if isinstance(described, str) else type(network).__name__
        return {"architecture": name, "library_name": library_of(described), **common}
    architecture = described.removeprefix(TIMM).partition(".")[0]
    of_timm: dict[str, Any] = getattr(network, "pretrained_cfg", {})
    kept = {key: of_timm[key] for key in _KEPT if of_timm.get(key) is not None}
    pretrained = kept | {"num_classes": settings["num_classes"]} | _as_timm(preprocessing, size)
    return {
        "architecture": architecture,
        "num_features": getattr(network, "num_features", None),
        **common,
        "pretrained_cfg": pretrained,
    }


def _as_timm(preprocessing: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """How photographs are prepared, in timm's words."""
    found: dict[str, Any] = {"input_size": [len(preprocessing["mean"]), *size], "crop_pct": 1.0, "crop_mode": "center"}
    found |= {name: list(preprocessing[name]) for name in ("mean", "std")}
    resize, crop = _resize_and_crop(preprocessing)
    if resize is not None:
        found["interpolation"] = resize["interpolation"]
        if len(resize["size"]) == 2:
            found["crop_mode"] = "squash"
        if crop is not None:
            found["crop_pct"] = _fraction(crop["size"], resize["size"])
    return found


def _fraction(crop: Sequence[int], scaled: Sequence[int]) -> float:
    """The fraction of a scaled photograph that is kept, from which timm finds its size again, rounding down.

    timm has one fraction for both sides. Where they are cropped differently, it is that of the height.
    """
    sides = list(zip(crop, scaled, strict=False))  # one, if the shorter side of a photograph is scaled
    fractions = [kept / (whole + more) for more in (0, 0.5) for kept, whole in sides]
    fitting = (each for each in fractions if all(math.floor(kept / each) == whole for kept, whole in sides))
    return next(fitting, fractions[0])


def preprocessor(preprocessing: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of `preprocessor_config.json`, which transformers reads; `None` if it has no words for it.

    Example:
        >>> steps = [{"resize": {"size": [36], "interpolation": "bilinear", "antialias": True}}]
        >>> preprocessor({"steps": steps, "mean": [0.5] * 3, "std": [0.25] * 3})["size"]
        {'shortest_edge': 36}
    """
    resize, crop = _resize_and_crop(preprocessing)
    if PIXEL_FORMAT in preprocessing or len(preprocessing["steps"]) != sum(each is not None for each in (resize, crop)):
        return None
    found: dict[str, Any] = {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True}
    found |= {"do_resize": resize is not None, "do_center_crop": crop is not None}
    if resize is not None:
        sides = resize["size"]
        found["size"] = {"shortest_edge": sides[0]} if len(sides) == 1 else {"height": sides[0], "width": sides[1]}
        found["resample"] = _RESAMPLE[resize["interpolation"]]
    if crop is not None:
        found["crop_size"] = {"height": crop["size"][0], "width": crop["size"][-1]}
    found |= {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    return found | {"image_mean": list(preprocessing["mean"]), "image_std": list(preprocessing["std"])}


def _resize_and_crop(preprocessing: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The settings of a first step that scales, and of one behind it that crops."""
    steps = list(preprocessing["steps"])
    resize = steps.pop(0)[RESIZE] if steps and RESIZE in steps[0] else None
    crop = steps.pop(0)[CENTER_CROP] if steps and CENTER_CROP in steps[0] else None
    return resize, crop
