"""How much does it change that images in the order of their classes are scored in parts, with neighbors in a part?

    python -m experiments.league.parts

It scores the trained networks of the first board, plain training and MapFaithfulness from half-time on with λ = 0.5,
seed 0, whose folders `python -m experiments.league.league` has left in runs/, once as the league does and once with
images from all over the data set in each part. It prints the gains of Grad-CAM beyond control, in points, and writes
`parts.csv`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

import camtrain
from camtrain.evaluation import Evaluation
from camtrain.evaluation.evaluation_settings import Parts
from camtrain.loading import load_data, load_network
from experiments.league.boards import BOARDS, TRAINED
from experiments.readme_tables import markdown_table
from experiments.result_rows import write_rows

BOARD = BOARDS["resnet20"]
RESULTS = Path(__file__).with_name("parts.csv")
_COLUMNS = ("parts", "metric", "gain", "gain_beyond_control")


def main() -> None:
    """Score both networks twice, and compare."""
    torch.set_num_threads(1)
    parts: tuple[Parts, ...] = ("given", "spread")
    lines = [line for each in parts for line in _gains(each)]
    write_rows(RESULTS, _COLUMNS, lines)
    print(markdown_table(_COLUMNS, [[str(line[column]) for column in _COLUMNS] for line in lines]))


def _gains(parts: Parts) -> list[dict[str, str]]:
    """What MapFaithfulness gains on each score, in points, more is better; the last line is the mean of the others."""
    plain, regularized = (
        _evaluated(name, parts) for name in ("plain/weight_0", "map_faithfulness_half_time/weight_0.5")
    )
    raw, beyond = regularized.minus(plain), regularized.beyond("shuffled").minus(plain.beyond("shuffled"))
    gains = {}
    for metric in plain.evaluator.metrics:
        sign = 100 if raw.score(TRAINED, metric).higher_is_better else -100
        gains[metric] = tuple(sign * each.score(TRAINED, metric).value for each in (raw, beyond))
    of_maps = [pair for name, pair in gains.items() if name != "map_leakage"]
    gains["mean without map_leakage"] = tuple(sum(each) / len(of_maps) for each in zip(*of_maps, strict=True))
    return [
        dict(zip(_COLUMNS, (parts, name, *(f"{gain:.2f}" for gain in pair)), strict=True))
        for name, pair in gains.items()
    ]


def _evaluated(setting: str, parts: Parts) -> Evaluation:
    (checkpoint,) = (BOARD.runs / BOARD.name / setting).glob("trials/*seed=0*/version_0/checkpoints/epoch_*.ckpt")
    plan = BOARD.test
    return camtrain.evaluate(
        load_network(checkpoint),
        load_data(checkpoint),
        TRAINED,
        [name for name in plan.metrics if name != "class_sensitivity"],
        settings=replace(plan.settings, parts=parts),
        num_images=plan.num_images,
        batch_size=plan.batch_size,
        controls="shuffled",
        num_resamples=plan.num_resamples,
    )


if __name__ == "__main__":
    main()
