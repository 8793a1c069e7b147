"""What the objective remembers of a regularizer over a training."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn

from camtrain.regularizers import Penalty


class TermRecord(nn.Module):
    """The number of images with a penalty so far, and its size at the start of training; part of the state dict.

    L_R is the mean of a penalty over the images that count. Dividing by their number in each batch would give an
    annotated image the more weight, the fewer others its batch happens to hold. So the sum is divided by the expected
    number, the batch size times the fraction p of images that have counted so far,

        L_R = 1/(n p) Σ_{i counts} E_i

    and each counted image has the same weight, whether 1 % or all of the images are annotated. Under DDP the
    fraction, and the size at the start, are those of all processes together.
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
        """Add a training batch to the fraction of images that count.

        Under DDP all processes call this in the same step.

        Args:
            counted: (N,) bool.
        """
        both = torch.stack([torch.full_like(counted, True).sum(), counted.sum()])
        if in_several_processes():
            torch.distributed.all_reduce(both)
        self.seen = self.seen.to(counted.device) + both[0]
        self.counted = self.counted.to(counted.device) + both[1]

    def training_values(self, penalty: Penalty) -> Tensor:
        """Add a training batch to the fraction of images that count, and divide its penalties by that fraction."""
        self.see(penalty.counted)
        return self.over_share(penalty)

    def over_share(self, penalty: Penalty) -> Tensor:
        """The penalties divided by the fraction of images that count: (N,) values whose mean over the batch is L_R.

        Example:
            >>> record = TermRecord()
            >>> record.see(torch.tensor([True, False, False, False]))
            >>> record.over_share(Penalty(torch.tensor([1.0, 9.0]), torch.tensor([True, False])))
            tensor([4., 0.])
        """
        values = torch.where(penalty.counted, penalty.values, torch.zeros_like(penalty.values))
        # Where all images count the factor is exactly 1.
        return values * (self.seen / self.counted.clamp(min=1)).to(values.dtype)

    def note_start(self, classification: Tensor, regularization: Tensor, counted: Tensor) -> None:
        """Add L_C and L_R of one step to their sizes at the start; a step whose L_R is not positive is ignored.

        Under DDP all processes call this in the same step, and L_C and L_R are those of their images together.

        Args:
            classification: The mean over the images of this process.
            regularization: The mean over those that count.
            counted: (N,) bool, which images count.
        """
        both = torch.stack([classification.float(), regularization.float()])
        if in_several_processes():
            numbers = torch.stack([torch.full_like(counted, True).sum(), counted.sum()])
            both = both * numbers
            torch.distributed.all_reduce(both)
            torch.distributed.all_reduce(numbers)
            both = both / numbers.clamp(min=1)
        if not bool(both[1] > 0):
            return
        self.start_classification = self.start_classification.to(both.device) + both[0]
        self.start_regularization = self.start_regularization.to(both.device) + both[1]
        self.start_steps = self.start_steps + 1

    @property
    def scale(self) -> float:
        """L_C / L_R at the start, the factor that makes the two equal; 1 while it is not known."""
        # Not by the number of steps: a callback that averages weights averages buffers too, and rounds integers to 0.
        if not self.start_regularization > 0:
            return 1.0
        return float(self.start_classification / self.start_regularization)


def over_counted(penalty: Penalty) -> Tensor:
    """(N,) values whose mean is that of the images that count; zeros where none counts.

    Example:
        >>> over_counted(Penalty(torch.tensor([1.0, 9.0]), torch.tensor([True, False])))
        tensor([2., 0.])
    """
    values = torch.where(penalty.counted, penalty.values, torch.zeros_like(penalty.values))
    return values * (len(values) / penalty.counted.sum().clamp(min=1)).to(values.dtype)


def in_several_processes() -> bool:
    """Whether this process trains together with others."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
