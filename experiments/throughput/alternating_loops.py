"""A training in which each epoch is followed by an epoch of a bare PyTorch loop, and both are timed."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.throughput.random_images import PADDING, SIZE


class Times(NamedTuple):
    """When something happened, or how long it took: by the clock, and of the processor, in seconds."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Times:
        """Read both clocks; a GPU is done with its work then."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Times) -> Times:
        """The time from another reading to this one."""
        return Times(self.clock - start.clock, self.processor - start.processor)


class AlternatingLoops(pl.Callback):
    """Runs an epoch of a bare loop before each epoch of the training, with the same network, images and optimizer.

    The time of the training is that from the end of a bare epoch to the start of the next, so that it holds all that a
    training does for an epoch. The times of all rounds but the first `warm_up` are written at the end.

    Args:
        path: The JSON file of the times.
        warm_up: The number of rounds that do not count.
    """

    def __init__(self, path: str, warm_up: int = 1) -> None:
        self.path, self.warm_up = Path(path), warm_up
        self.rounds: list[dict[str, Times]] = []
        self._bare: BareLoop | None = None
        self._training_began: Times | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the bare loop, of copies."""
        self._bare = BareLoop(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time of the epoch that has ended, and time one of the bare loop."""
        assert self._bare is not None
        start = Times.now()
        if self._training_began is not None:
            self.rounds[-1]["training"] = start.since(self._training_began)
        self._bare.epoch()
        end = Times.now()
        self.rounds.append({"bare": end.since(start)})
        self._training_began = end

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the times; the last epoch has no end that would be known in the same way."""
        self.path.write_text(json.dumps(self.rounds[self.warm_up : -1]), encoding="utf-8")


class BareLoop:
    """What one would write without a library: random crops and flips, cross-entropy, SGD.

    Args:
        trainer: A trainer with a data module of random images, and its optimizer.
        pl_module: The classifier that it trains.
    """

    def __init__(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        device = pl_module.device
        data = trainer.datamodule  # type: ignore[attr-defined]
        samples = data.samples("train")
        self.images, self.labels = samples.images.to(device), samples.labels.to(device)
        self.mean, self.std = (torch.tensor(each, device=device).view(3, 1, 1) for each in (data.mean, data.std))
        self.batch_size: int = data.batch_size
        self.network: nn.Module = copy.deepcopy(pl_module.network).train()  # type: ignore[arg-type]
        (optimizer,) = trainer.optimizers
        settings = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
        self.optimizer = type(optimizer)(self.network.parameters(), **settings)

    def epoch(self) -> None:
        """Train on each image once, in full batches."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for rows in order[: len(order) // self.batch_size * self.batch_size].split(self.batch_size):
            loss = F.cross_entropy(self.network(self.augmented(rows)), self.labels.index_select(0, rows))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def augmented(self, rows: Tensor) -> Tensor:
        """Images of a batch, cropped, flipped and normalized."""
        device, count = rows.device, len(rows)
        tops, lefts = torch.randint(2 * PADDING + 1, (2, count), device=device)
        windows = F.pad(self.images.index_select(0, rows), [PADDING] * 4).unfold(2, SIZE, 1).unfold(3, SIZE, 1)
        images = windows[torch.arange(count, device=device), :, tops, lefts]
        flipped = torch.rand(count, 1, 1, 1, device=device) < 0.5
        images = torch.where(flipped, images.flip(3), images)
        return (images.float() / 255 - self.mean) / self.std
