"""An example of every metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from camtrain import metrics
from camtrain.cams import normalize, resize
from camtrain.metrics import AdditiveScore

N, SIZE = 12, (24, 30)


def example(name: str) -> tuple[AdditiveScore, tuple[Any, ...]]:
    """A metric, and arguments of `update` for N images: tensors or lists of length N, and plain integers."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    cams, other = (normalize(resize(rand(N, 4, 4), SIZE)) for _ in range(2))
    masks = torch.zeros(N, *SIZE, dtype=torch.bool)
    masks[:10, 5:15, 8:20] = True  # the last two images have none
    boxes = [torch.tensor([[8.0, 5.0, 20.0, 15.0]])] * 10 + [torch.zeros(0, 4)] * 2
    labels = torch.arange(N) % 3
    gradients = rand(N, 3, *SIZE) - 0.5
    examples: dict[str, Callable[[], tuple[AdditiveScore, tuple[Any, ...]]]] = {
        "AverageDrop": lambda: (metrics.AverageDrop(), (rand(N), rand(N))),
        "AverageIncrease": lambda: (metrics.AverageIncrease(), (rand(N), rand(N))),
        "AverageGain": lambda: (metrics.AverageGain(), (rand(N), rand(N))),
        "Win": lambda: (metrics.Win(3), (rand(N), rand(N, 3))),
        "WinShare": lambda: (metrics.WinShare(), (rand(N), rand(N, 3), 1)),
        "InsertionAUC": lambda: (metrics.InsertionAUC(4), (rand(N, 5),)),
        "DeletionAUC": lambda: (metrics.DeletionAUC(4), (rand(N, 5),)),
        "NormalizedInsertionAUC": lambda: (metrics.NormalizedInsertionAUC(4), (rand(N, 5),)),
        "NormalizedDeletionAUC": lambda: (metrics.NormalizedDeletionAUC(4), (rand(N, 5),)),
        "MapLeakage": lambda: (metrics.MapLeakage(), (rand(N, 2), rand(N, 2))),
        "ROAD": lambda: (metrics.ROAD(3), (rand(N, 3), rand(N, 3))),
        "ADCC": lambda: (metrics.ADCC(), (cams, other, rand(N), rand(N))),
        "LocalizationIoU": lambda: (metrics.LocalizationIoU(0.5), (cams, boxes)),
        "EnergyPointingGame": lambda: (metrics.EnergyPointingGame(), (cams, masks)),
        "EnergyBeyondArea": lambda: (metrics.EnergyBeyondArea(), (cams, masks)),
        "PointingGame": lambda: (metrics.PointingGame(4), (cams, boxes, labels)),
        "LocalizationAccuracy": lambda: (metrics.LocalizationAccuracy(2), (cams, boxes, rand(N, 4), labels)),
        "MaxBoxAccuracy": lambda: (metrics.MaxBoxAccuracy(), (cams, boxes)),
        "PixelAveragePrecision": lambda: (metrics.PixelAveragePrecision(50), (cams, masks)),
        "ClassSensitivity": lambda: (metrics.ClassSensitivity(), (cams, other)),
        "ParameterRandomization": lambda: (
            metrics.ParameterRandomization(2),
            (cams, torch.stack([other, cams], dim=1)),
        ),
        "GradientNoise": lambda: (metrics.GradientNoise(), (gradients,)),
        "GuidedAgreement": lambda: (metrics.GuidedAgreement(), (gradients, gradients.relu())),
    }
    return examples[name]()


def of_images(arguments: tuple[Any, ...], chosen: slice) -> tuple[Any, ...]:
    """The arguments for some of the images."""
    return tuple(each if isinstance(each, int) else each[chosen] for each in arguments)


BASES = ("AdditiveScore", "MeanScore", "RegionScore")
NAMES = sorted(
    name
    for name, each in vars(metrics).items()
    if isinstance(each, type) and issubclass(each, AdditiveScore) and name not in BASES
)
