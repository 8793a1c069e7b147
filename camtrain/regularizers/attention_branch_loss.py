"""The loss of an attention branch's own logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from camtrain.networks import AttentionOutput, attention_heads
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass


class AttentionBranchLoss(PassRegularizer):
    """Trains the attention branch of a network such as `AttentionBranch` to classify by itself.

        E_i = ℓ_i(logits of the branch)

    with ℓ_i the loss of image i, whose mean over the images is L_C: the cross-entropy with the label, unless
    `classification_loss` is another. So L = L_per + λ L_att, with λ = 1 as in the paper. Needs no annotation.

    Raises:
        ValueError: In the first step, if the network has no `AttentionHead` whose output has logits.

    Source:
        Fukui et al., Attention Branch Network, CVPR 2019, arXiv 1812.10025, eq. 3.
    """

    @property
    def needs_class(self) -> bool:
        """False: the loss is that of all classes."""
        return False

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
        assert training_pass.losses is not None  # the objective has one
        return training_pass.losses(logits.float())


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
