"""
A sweep over λ
==============

λ decides how much the penalty counts. Here :doc:`EnergyInside </regularizers/energy_inside>` pulls the map into the
box around the digit, with four values of λ. ``camtrain.ablate`` does this with seeds, validation and a report; here
is the idea in one loop.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.metrics import EnergyPointingGame
from camtrain.networks import CIFARResNet
from camtrain.regularizers import EnergyInside

data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
data.setup("test")
loader = data.train_dataloader()
tests = list(data.test_dataloader())


def trained(weight):
    """Train for four epochs."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
    objective = camtrain.Objective(EnergyInside(annotation="boxes"), weight=weight)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=4 * len(loader))
    for _ in range(4):
        for batch in loader:
            step = objective(network, batch.images, batch.labels, boxes=batch.boxes)
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


# %%
# Accuracy, and the energy of Grad-CAM's map in the box, on test images.

weights = [0.0, 0.3, 3.0, 30.0]
accuracies, energies, maps = [], [], []
for weight in weights:
    network = trained(weight)
    energy, right, count = EnergyPointingGame(), 0, 0
    for batch in tests:
        with torch.no_grad():
            right += int((network(batch.images).argmax(dim=1) == batch.labels).sum())
        count += len(batch.labels)
        energy.update(camtrain.image_maps(network, batch.images, "grad_cam"), batch.boxes)
    accuracies.append(right / count)
    energies.append(float(energy.compute()))
    maps.append(camtrain.image_maps(network, tests[0].images[:1], "grad_cam")[0])

figure, axes = plt.subplots(1, 1 + len(weights), figsize=(10, 2.4), width_ratios=[2, 1, 1, 1, 1])
axes[0].plot(range(len(weights)), accuracies, "o-", label="accuracy")
axes[0].plot(range(len(weights)), energies, "s-", label="energy in the box")
axes[0].set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
axes[0].set_xlabel("λ")
axes[0].set_ylim(0, 1)
axes[0].legend(fontsize=8)
picture = data.denormalize(tests[0].images[:1])[0]
for each, weight, cam in zip(axes[1:], weights, maps, strict=True):
    each.imshow(camtrain.overlay(picture, cam).permute(1, 2, 0))
    each.set_title(f"λ = {weight:g}", fontsize=9)
    each.set_axis_off()
figure.tight_layout()

# %%
# One seed and four epochs show the mechanism, not the size of an effect: :doc:`the experiments </experiments/index>`
# have seeds and intervals.
