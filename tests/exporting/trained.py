"""The folder of a run with a network of random weights, as `camtrain fit` leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from camtrain import Classifier
from camtrain.evaluation.evaluation_rows import network_hash
from camtrain.networks import CIFARResNet

CIFAR = {"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 14, "width": 4, "stem_stride": 2}}
DATA = {"class_path": "camtrain.data.DecoyDigits", "init_args": {"image_size": 48, "digit_size": [18, 27]}}
NETWORKS = {"cifar": CIFAR, "torchvision": "mobilenet_v3_small", "timm": "timm:test_resnet"}


def trained(folder: Path, described: Any, num_classes: int = 10, network: Any = None, **settings: Any) -> Path:
    """The folder of a run, with `checkpoints/last.ckpt`, `config.yaml` and `scores.json`."""
    torch.manual_seed(5)
    if network is None:
        network = described
        if isinstance(described, dict):
            network = CIFARResNet(**described["init_args"], num_classes=num_classes)
            described = {**described, "init_args": {**described["init_args"], "num_classes": num_classes}}
    classifier = Classifier(network, num_classes)
    for module in classifier.network.modules():  # statistics of their own, as a training leaves them
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    (folder / "checkpoints").mkdir(parents=True)
    model = {
        "network": described,
        "num_classes": num_classes,
        "stem": "imagenet",
        "regularizer_weight": 0.25,
    } | settings
    model |= {"regularizer": {"class_path": "camtrain.regularizers.InterpretableGradient", "init_args": {}}}
    content = {"state_dict": classifier.state_dict(), "hyper_parameters": model}
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    known = {name: value for name, value in model.items() if name != "num_classes"}
    config = {"model": known, "data": DATA, "trainer": {"max_epochs": 3}, "run": {"folder": "/home/ann/runs"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "scores.json").write_text(json.dumps({"test/accuracy": 0.75, "test/loss": 1.0, "test/f1": None}))
    return folder


def evaluated(folder: Path, network: torch.nn.Module, split: str = "test") -> Path:
    """The folder of an evaluation of a network, with two scores."""
    entry = {"score": 0.25, "low_95": 0.2, "high_95": 0.3, "images": 9}
    scores = {"grad_cam": {"average_drop": entry, "map_leakage": {**entry, "score": 0.03}, "no_metric": entry}}
    content = {"data": f"{split} images of DecoyDigits", "images": 9, "scores": scores}
    folder.mkdir(parents=True)
    settings = {"weights": network_hash(network), "split": split}
    (folder / "scores.json").write_text(json.dumps({**content, "settings": settings}))
    return folder


def photograph(path: Path) -> Image.Image:
    """A photograph of noise, as a file."""
    pixels = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(path, quality=95)
    return Image.open(path).convert("RGB")
