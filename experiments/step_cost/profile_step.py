"""Shows where the time of a FrozenGates step goes; see README.md.

python -m experiments.step_cost.profile_step [resnet18 mobilenet_v2 ...]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from camtrain import Objective
from camtrain.gradients import FrozenGates
from camtrain.regularizers import InterpretableGradient
from experiments.step_cost.step_cost import NETWORKS, network_and_batch

KINDS = {
    "convolutions": ("convolution", "conv", "addmm", "mm", "linear"),
    "normalization": ("batch_norm",),
    "gates": ("relu", "hardtanh", "masked_fill", "threshold", "where", "max_pool", "gather", "aten::le", "aten::ge",
              "aten::gt", "aten::lt", "aten::eq", "aten::ne", "clamp", "_Held", "bitwise", "shift"),
    "copies": ("aten::copy_", "aten::_to_copy", "aten::fill_"),
    "sums": ("aten::add", "aten::sub"),
}  # fmt: skip


def main(names: list[str]) -> None:
    """Print two lines for each network: the CPU time of the operations of a plain and of a FrozenGates step."""
    torch.set_num_threads(1)
    settings = argparse.Namespace(seed=0, device="cpu", images=None, channels_last=False, compile=False)
    print("| network | step | ms | " + " | ".join((*KINDS, "the rest")) + " |")
    print("|---" * (4 + len(KINDS)) + "|")
    for name in names:
        network, images, labels = network_and_batch(name, settings)
        engine = FrozenGates(one_term_limit=math.inf)
        for title, objective in (
            ("plain", Objective()),
            ("frozen gates, one term", Objective(InterpretableGradient(), 7.5e-3, engine)),
        ):
            for _ in range(2):
                objective(network, images, labels).loss.backward()
            with profile(activities=[ProfilerActivity.CPU]) as found:
                objective(network, images, labels).loss.backward()
            times: Counter[str] = Counter()
            for event in found.key_averages():
                times[kind_of(event.key)] += event.self_cpu_time_total / 1000
            cells = " | ".join(f"{times[kind]:.0f}" for kind in (*KINDS, "the rest"))
            print(f"| {name} | {title} | {sum(times.values()):.0f} | {cells} |")


def kind_of(operation: str) -> str:
    """Find the kind that an operation belongs to."""
    for kind, words in KINDS.items():
        if any(word in operation for word in words):
            return kind
    return "the rest"


if __name__ == "__main__":
    main(sys.argv[1:] or [name for name in NETWORKS if name != "vit"])
