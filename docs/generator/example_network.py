"""The small networks whose maps the pictures show, trained once on the embedded data."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from camtrain import Batch, Objective
from camtrain.data import DecoyDigits
from camtrain.networks import AttentionBranch, CIFARResNet
from camtrain.regularizers import AttentionBranchLoss

EPOCHS = 6


@cache
def example_data() -> DecoyDigits:
    """Handwritten digits on photographs, large enough to be learned in some seconds."""
    data = DecoyDigits(
        decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
    )
    data.setup("fit")
    data.setup("test")
    return data


@cache
def example_network() -> nn.Module:
    """A ResNet-8."""
    torch.manual_seed(0)
    return _trained(CIFARResNet(depth=8, num_classes=10, stem_stride=2), Objective())


@cache
def attention_network() -> nn.Module:
    """The same with an attention branch."""
    torch.manual_seed(0)
    return _trained(
        AttentionBranch(CIFARResNet(depth=8, num_classes=10, stem_stride=2), 10),
        Objective(AttentionBranchLoss(), weight=1.0),
        2,
    )


@cache
def example_batch(count: int = 64) -> Batch:
    """Test images that are recognized, with labels, boxes and masks.

    Args:
        count: The number of images.
    """
    batch = next(iter(example_data().test_dataloader()))
    network = example_network()
    with torch.no_grad():
        right = (network(batch.images).argmax(dim=1) == batch.labels).nonzero().flatten()[:count]
    boxes = [batch.boxes[index] for index in right.tolist()]
    return Batch(batch.images[right], batch.labels[right], boxes=boxes, masks=batch.masks[right])


def _trained(network: nn.Module, objective: Objective, epochs: int = EPOCHS) -> nn.Module:
    loader = example_data().train_dataloader()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for batch in loader:
            step = objective(network, batch.images, batch.labels)
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()
