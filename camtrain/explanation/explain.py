"""Explain what a network says about images, in one call."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch import Tensor, nn

from camtrain.explanation.explanations import Explanations
from camtrain.explanation.image_list import image_list
from camtrain.explanation.known_objects import KnownObjects
from camtrain.explanation.questions import RUNNER_UP, Questions, check_top_k, class_index
from camtrain.messages import positive_integer
from camtrain.methods import Methods, given_methods, methods_named
from camtrain.networks.loaded_network import LoadedNetwork


def explain(
    network: LoadedNetwork | nn.Module,
    images: str | Path | Image.Image | Tensor | Iterable[str | Path | Image.Image],
    methods: Methods = "grad_cam",
    *,
    class_: str | int | None = None,
    top_k: int = 1,
    counterfactual: bool = False,
    contrast: str | int | bool | None = None,
    target_layer: str | None = None,
    num_channels: int | None = None,
    max_batch: int = 64,
    seed: int = 0,
    on_error: Literal["raise", "warn", "skip"] = "raise",
    left_out: str | Path | None = None,
    data: Any = None,
    progress: bool = True,
) -> Explanations:
    """Show what a network looks at in images: a map for each image, method and question.

    Nothing is computed before the result is iterated over, shown or saved, one image after the other. The network is
    run in evaluation mode and left as found.

    Args:
        network: What `load_network` returns, or any `nn.Module` from (N, C, H, W) to (N, K) logits.
        images: The images: paths of files; paths of folders, with all image files in them; `PIL.Image`s; or a tensor,
            (N, C, H, W) or (C, H, W), normalized as the network expects. Photographs are turned the way that their EXIF
            orientation says. Where the data of the network's run says what image files hold, they are read so, and
            arrays in `.npy` are images too.
        methods: Names of methods, separated by commas or as a list. `all` leaves out `attention_map`, unless the
            network has an attention head. In the place of a name there can be a method that was built for this network,
            also one of captum, pytorch-grad-cam or torchcam; a mapping gives them names of your choice (see
            `camtrain.methods.given_methods`).
        class_: The name or number of the class to explain. The default is the predicted class of each image.
        top_k: Explain this number of most probable classes, at most all of them.
        counterfactual: Also show what speaks against the class.
        contrast: Also show why the class rather than this one, a name or number; `True` is the most probable other
            class.
        target_layer: The layer of the maps; several, separated by commas, for methods that fuse them. The default is
            the last layer with more than one pixel.
        num_channels: Measure only this number of strongest channels in Score-CAM, SS-CAM and Ablation-CAM, which
            otherwise take a pass for each. The default is all.
        max_batch: The largest number of images in one forward pass, which bounds the memory.
        seed: The seed of noise.
        on_error: "raise" stops at an image that cannot be read or explained; "warn" skips it with a warning, and "skip"
            without one. Both keep the reason in `Explanations.problems`.
        left_out: A folder that is not looked into, such as the one that the result is saved to.
        data: A data module of image files, such as that of `camtrain.load_data`. Where an image is one of them, its
            boxes and its mask are drawn, and its label is named.
        progress: Show a progress bar while the result is iterated over.

    Raises:
        ValueError: If a name is unknown, a tensor has another shape, or, unless skipped, a folder holds no image.
        FileNotFoundError: If a file is not there, unless it is skipped.
        TypeError: If the network or the images are none of these.

    Warns:
        CamtrainWarning: If the preprocessing of photographs is a guess, or an image is skipped.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> (explanation,) = explain(CIFARResNet(depth=8), torch.rand(1, 3, 32, 32), progress=False)
        >>> explanation.map.shape, explanation.question.kind
        (torch.Size([32, 32]), 'predicted class')
    """
    positive_integer("top_k", top_k)
    positive_integer("max_batch", max_batch)
    if on_error not in ("raise", "warn", "skip"):
        raise ValueError(f'`on_error`: expected "raise", "warn" or "skip", got {on_error!r}')
    loaded = LoadedNetwork.of(network)
    if loaded.num_classes is not None:
        check_top_k(top_k, loaded.num_classes)
    listed = image_list(loaded, images, None if left_out is None else Path(left_out), KnownObjects(data))

    def index(argument: str, given: Any) -> int | None:
        return None if given is None else class_index(argument, given, loaded.class_names, loaded.num_classes)

    is_runner_up = contrast is True or contrast == RUNNER_UP
    other = RUNNER_UP if is_runner_up else index("contrast", None if contrast is False else contrast)
    questions = Questions(index("class_", class_), top_k, counterfactual, other)
    with given_methods(methods) as names:
        made = methods_named(
            names,
            loaded.network,
            target_layer,
            max_batch=max_batch,
            num_channels=num_channels,
            seed=seed,
            independent_classes=loaded.several_labels or None,
            progress=progress and sys.stderr.isatty(),
        )
    return Explanations(loaded, made, questions, listed, on_error=on_error, progress=progress)
