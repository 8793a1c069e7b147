"""
A map over the epochs
=====================

Where a network looks changes while it learns. Here is the Grad-CAM of the true class of the same test images after
each epoch. In a training with Lightning, ``camtrain.callbacks.CAMLogger`` draws such panels.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
data.setup("test")
loader = data.train_dataloader()
shown = next(iter(data.test_dataloader()))
images, labels = shown.images[:4], shown.labels[:4]

network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
objective = camtrain.Objective()
optimizer = torch.optim.Adam(network.parameters(), 0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=6 * len(loader))
maps, probabilities = [], []
for _ in range(6):
    for batch in loader:
        step = objective(network, batch.images, batch.labels)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        schedule.step()
    maps.append(camtrain.image_maps(network, images, "grad_cam", labels))
    with torch.no_grad():
        found = network.eval()(images).softmax(dim=1)
        network.train()
    probabilities.append(found[torch.arange(len(labels)), labels])

# %%
# A row for each image; above each map is the probability of the true class.

pictures = data.denormalize(images)
figure, axes = plt.subplots(len(images), 7, figsize=(9, 5.6))
for row in range(len(images)):
    axes[row, 0].imshow(pictures[row].permute(1, 2, 0))
    for epoch, (cams, found) in enumerate(zip(maps, probabilities, strict=True), start=1):
        axes[row, epoch].imshow(camtrain.overlay(pictures[row], cams[row]).permute(1, 2, 0))
        title = f"{float(found[row]):.0%}"
        axes[row, epoch].set_title(f"epoch {epoch}: {title}" if row == 0 else title, fontsize=8)
for each in axes.flat:
    each.set_axis_off()
