"""The loss of an attention branch's own logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.networks import AttentionOutput, attention_heads
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass


class AttentionBranchLoss(PassRegularizer):
    """Trains the attention branch of a network such as `AttentionBranch` to classify by itself.

        E_i = CE(logits of the branch, label)

    so that L = L_per + λ L_att, with λ = 1 as in the paper. Needs no annotation.

    Raises:
        ValueError: In the first step, if the network has no `AttentionHead` whose output has logits.

    Source:
        Fukui et al., Attention Branch Network, CVPR 2019, arXiv 1812.10025, eq. 3.
    """

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """Captures the output of the attention head."""
        return _outputs_of_head(network)

    def penalty(self, training_pass: TrainingPass) -> Tensor:
        """See the class."""
        logits = training_pass.captured[-1].logits if training_pass.captured else None
        if logits is None:
            raise ValueError(
                "`network`: AttentionBranchLoss needs an attention head with its own logits, as AttentionBranch has, "
                f"got {type(training_pass.network).__name__} without one"
            )
        return F.cross_entropy(logits.float(), training_pass.labels, reduction="none")


@contextmanager
def _outputs_of_head(network: nn.Module) -> Iterator[list[AttentionOutput]]:
    outputs: list[AttentionOutput] = []
    handles = [
        head.register_forward_hook(lambda _head, _inputs, output: outputs.append(output))
        for head in attention_heads(network).values()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
