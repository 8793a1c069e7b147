"""
Several labels in one image
===========================

Two digits side by side: each image shows two classes, and the labels are (N, K) with a 1 for each. A map explains one
of them, and should find its own digit.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=0, samples_per_digit=1, batch_size=64
)
data.setup("fit")
data.setup("test")


def pairs(batch):
    """Images side by side, (N/2, 3, 48, 96), and labels (N/2, 10)."""
    half = len(batch.labels) // 2
    images = torch.cat([batch.images[:half], batch.images[half : 2 * half]], dim=3)
    labels = torch.zeros(half, 10)
    for part in (batch.labels[:half], batch.labels[half : 2 * half]):
        labels[torch.arange(half), part] = 1.0
    return images, labels


# %%
# Binary cross-entropy asks of each class by itself whether the image shows it.

loader = data.train_dataloader()
network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
objective = camtrain.Objective(classification_loss="binary_cross_entropy")
optimizer = torch.optim.Adam(network.parameters(), 0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=10 * len(loader))
for _ in range(10):
    for batch in loader:
        images, labels = pairs(batch)
        step = objective(network, images, labels)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        schedule.step()
network.eval()

# %%
# The map of each of the two classes.

batch = next(iter(data.test_dataloader()))
images, labels = pairs(batch)
half = len(images)
left, right = batch.labels[:half], batch.labels[half : 2 * half]
chosen = (left != right).nonzero().flatten()[:4]
pictures = data.denormalize(images[chosen])
probabilities = network(images[chosen]).sigmoid().detach()

figure, axes = plt.subplots(len(chosen), 3, figsize=(7.5, 5.2))
for column, classes in enumerate((left[chosen], right[chosen]), start=1):
    maps = camtrain.image_maps(network, images[chosen], "grad_cam", classes)
    for row, cam in enumerate(maps):
        axes[row, column].imshow(camtrain.overlay(pictures[row], cam).permute(1, 2, 0))
        axes[row, column].set_title(
            f"why {int(classes[row])}? ({float(probabilities[row, classes[row]]):.0%})", fontsize=8
        )
for row, picture in enumerate(pictures):
    axes[row, 0].imshow(picture.permute(1, 2, 0))
for each in axes.flat:
    each.set_axis_off()
figure.tight_layout()
