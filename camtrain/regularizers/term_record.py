"""What is remembered of a regularizer over a training."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn

from camtrain.regularizers.regularizer import Penalty


class TermRecord(nn.Module):
    """How many images had a penalty so far, and how large it was at the start; part of the state dict.

    The mean of a penalty is to be that of the images that count. Dividing by their number in each batch would give an
    annotated image more weight the fewer others its batch happens to hold, and a batch without any none. So the sum is
    divided by the expected number: the batch size times the share p of images that have counted so far,

        L_R = 1/(n p) Σ_{i counts} E_i

    and each of them has the same weight, with 1 % of the images annotated as with all. Under DDP each process keeps its
    own share, and all have the same size at the start.
    """

    seen: Tensor
    counted: Tensor
    start_classification: Tensor
    start_regularization: Tensor
    start_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("seen", "counted", "start_steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        for name in ("start_classification", "start_regularization"):
            self.register_buffer(name, torch.zeros(()))

    def see(self, counted: Tensor) -> None:
        """Take a training batch into the share of images that count; `counted` is (N,) bool."""
        self.seen = self.seen.to(counted.device) + len(counted)
        self.counted = self.counted.to(counted.device) + counted.sum()

    def over_share(self, penalty: Penalty) -> Tensor:
        """(N,) values whose mean over the batch is L_R.

        Example:
            >>> record = TermRecord()
            >>> record.see(torch.tensor([True, False, False, False]))
            >>> record.over_share(Penalty(torch.tensor([1.0, 9.0]), torch.tensor([True, False])))
            tensor([4., 0.])
        """
        values = torch.where(penalty.counted, penalty.values, torch.zeros_like(penalty.values))
        # Where all images count the factor is exactly 1.
        return values * (self.seen / self.counted.clamp(min=1)).to(values.dtype)

    def note_start(self, classification: Tensor, regularization: Tensor) -> None:
        """Take the two terms of one step into their size at the start; not if L_R is not positive.

        Under DDP all processes call it in the same step, and note the sum of those whose L_R is positive.
        """
        both = torch.stack([classification.float(), regularization.float()])
        both = torch.where(regularization > 0, both, torch.zeros_like(both))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(both)
        if not bool(both[1] > 0):
            return
        self.start_classification = self.start_classification.to(both.device) + both[0]
        self.start_regularization = self.start_regularization.to(both.device) + both[1]
        self.start_steps = self.start_steps + 1

    @property
    def scale(self) -> float:
        """L_C over L_R at the start: what makes the two terms equal; 1 while that is not known."""
        return float(self.start_classification / self.start_regularization) if self.start_steps else 1.0
