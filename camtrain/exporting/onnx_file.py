"""A network as a file of ONNX, with its map as a second output on request."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.exporting.network_with_map import NetworkWithMap
from camtrain.files import whole_file
from camtrain.methods import image_maps

ONNX = "model.onnx"
IMAGES, LOGITS, MAP = "images", "logits", "cam"
"""The names of the input and the outputs."""

MAP_TOLERANCE = 1e-4
"""The largest difference between a map of the file and one of camtrain, both in [0, 1]."""
_LOGIT_TOLERANCE = 1e-3  # relative to the largest logit
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_onnx() -> None:
    """Check that what writes and runs files of ONNX is installed.

    Raises:
        ValueError: If it is not.
    """
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"`onnx`: expected {name} to be installed; pip install 'camtrain[onnx]'")


def write_onnx(
    network: nn.Module,
    shape: tuple[int, int, int],
    path: Path,
    method: str | None = None,
    target_layer: str | None = None,
) -> None:
    """Write a network as a file of ONNX, and check with onnxruntime that the file computes the same.

    The input `images` is (N, C, H, W), normalized, for any N. The output `logits` is (N, K); with a method, `cam` is
    the map of the predicted class, (N, H, W) in [0, 1], as `camtrain.image_maps` makes it.

    Args:
        network: From (N, C, H, W) to (N, K) logits, on the CPU, in evaluation mode.
        shape: C, H and W.
        path: The file.
        method: The method of the map, one of `FORWARD_METHODS`; `None` writes no map.
        target_layer: The layer of the map; `None` finds the last spatial layer.

    Raises:
        ValueError: If the map needs more than forward operations, PyTorch cannot write the network as ONNX, or the file
            does not compute what the network does.
        CannotWriteError: If the file cannot be written.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, *shape, generator=generator)  # three, since sizes 0 and 1 are special to PyTorch
    module = network if method is None else NetworkWithMap(network, method, target_layer, images).eval()
    with whole_file(path) as unfinished:
        _write(module, images, [LOGITS] if method is None else [LOGITS, MAP], unfinished)
        _check(network, images[:2], unfinished, method, target_layer)


def _write(module: nn.Module, images: Tensor, outputs: list[str], path: Path) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of PyTorch's exporter, about itself
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=[IMAGES],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
            assert program is not None
            _forget_code(program.model)
            program.save(path, external_data=False)
    except OSError:
        raise
    except Exception as error:  # whatever an operation of the network makes it raise
        reason = str(error).strip().partition("\n")[0][:300]
        raise ValueError(
            f"`onnx`: PyTorch cannot write {type(module).__name__} as ONNX: {type(error).__name__}: {reason}"
        ) from error


def _forget_code(model: Any) -> None:
    """Take out what PyTorch notes for its developers: for each operation the line of code, with its path."""
    for part in (model.graph, *model.functions.values()):
        part.metadata_props.clear()
        for node in part.all_nodes():
            node.metadata_props.clear()


def _check(network: nn.Module, images: Tensor, path: Path, method: str | None, target_layer: str | None) -> None:
    """Run the file, with another number of images than it was written with."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    if isinstance(session.get_inputs()[0].shape[0], int):  # PyTorch falls back to it where it finds no other way
        raise ValueError(
            "`onnx`: PyTorch can write this network only for a fixed number of images, since a size of its tensors is "
            "a number in its code, such as `len(images)`; use `images.shape[0]` there"
        )
    found = [torch.from_numpy(each) for each in session.run(None, {IMAGES: images.numpy()})]
    with torch.no_grad():
        logits = network(images)
    difference = float((found[0] - logits).abs().max())
    if not difference <= _LOGIT_TOLERANCE * max(1.0, float(logits.abs().max())):
        raise ValueError(f"`onnx`: the logits of the file differ from those of the network by {difference:.2g}")
    if method is not None:
        maps = image_maps(network, images, method, found[0].argmax(dim=1) if logits.shape[1] > 1 else None,
                          target_layer=target_layer)  # fmt: skip
        difference = float((found[1] - maps).abs().max())
        if not difference <= MAP_TOLERANCE:
            raise ValueError(f"`cam`: the maps of the file differ from those of {method} by {difference:.2g}")
