"""
What localization scores reward
===============================

Four maps by hand over a photograph, and what each score says of them. No network is involved: the metrics of
``camtrain.metrics`` take maps and boxes alone. Which map is the best depends on the question.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import camtrain
from camtrain.metrics import (
    EnergyBeyondArea,
    EnergyPointingGame,
    LocalizationIoU,
    MaxBoxAccuracy,
    PointingGame,
)

photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[:, ::2, ::2] / 255
height, width = photograph.shape[1:]
box = torch.tensor([[100.0, 20.0, 250.0, 185.0]])  # around the blossom: x0, y0, x1, y1


def spot(row, column, size):
    """A round spot."""
    rows = (torch.arange(height) - row).unsqueeze(1) / size
    columns = (torch.arange(width) - column) / size
    return torch.exp(-(rows**2 + columns**2) / 2)


maps = {
    "one point on the object": spot(100, 180, 10),
    "the whole object": spot(100, 175, 55),
    "object and its surroundings": spot(105, 160, 130),
    "beside the object": spot(160, 60, 30),
}
metrics = {
    "pointing": lambda: PointingGame(num_classes=1),
    "energy": EnergyPointingGame,
    "beyond area": EnergyBeyondArea,
    "IoU at 25 %": lambda: LocalizationIoU(0.25),
    "MaxBox V2": MaxBoxAccuracy,
}

# %%
# A dot on the object wins the pointing game and has all of its energy inside, but fills little of the box. A wide map
# has a good box at the right threshold, and half of its energy outside.

figure, axes = plt.subplots(2, len(maps), figsize=(10, 5))
for column, (title, cam) in enumerate(maps.items()):
    axes[0, column].imshow(camtrain.overlay(photograph, cam).permute(1, 2, 0))
    x0, y0, x1, y1 = box[0].tolist()
    axes[0, column].add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="white", lw=2))
    axes[0, column].set_title(title, fontsize=9)
    axes[0, column].set_axis_off()
    values = []
    for make in metrics.values():
        metric = make()
        arguments = [cam.unsqueeze(0), [box]]
        if isinstance(metric, PointingGame):
            arguments.append(torch.tensor([0]))
        metric.update(*arguments)
        values.append(float(metric.compute()))
    axes[1, column].barh(list(metrics), values)
    axes[1, column].set_xlim(-0.4, 1)
    axes[1, column].invert_yaxis()
    if column:
        axes[1, column].set_yticks([])
figure.tight_layout()

# %%
# None of these scores asks what the network used: :doc:`/limits`.
