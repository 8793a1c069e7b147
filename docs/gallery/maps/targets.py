"""
Segmentation and detection-like targets
=======================================

A method explains one number per image. A network that puts out something else is wrapped in a module that makes
*logits* of it: one number for each question. Here are a class within a region of a segmentation, and the score of one
place of a detector.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import camtrain
from camtrain.data import DecoyDigits

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
loader = data.train_dataloader()

# %%
# A small network that says of each cell of a grid whether it belongs to the digit: (N, 2, h, w).

segmenter = nn.Sequential(
    nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 2, 1),
)  # fmt: skip
optimizer = torch.optim.Adam(segmenter.parameters(), 0.01)
for _ in range(2):
    for batch in loader:
        truth = nn.functional.max_pool2d(batch.masks.unsqueeze(1).float(), 4).squeeze(1).long()
        loss = nn.functional.cross_entropy(segmenter(batch.images), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
segmenter.eval()


# %%
# The wrapper asks: how strongly are these cells taken for a digit? It has no parameters of its own.


class MeanInRegion(nn.Module):
    """The mean score of each class over the cells of a region: (N, 2)."""

    def __init__(self, network, region):
        super().__init__()
        self.network, self.region = network, region

    def forward(self, images):
        return self.network(images)[..., self.region].mean(dim=-1)


data.setup("test")
batch = next(iter(data.test_dataloader()))
image, picture = batch.images[:1], data.denormalize(batch.images[:1])[0]
with torch.no_grad():
    scores = segmenter(image)[0, 1] - segmenter(image)[0, 0]
inside = scores > 0
maps = {}
whole = MeanInRegion(segmenter, inside)
maps["cells of the digit"] = camtrain.image_maps(whole, image, "layer_cam", 1, target_layer="network.5")[0]

# %%
# A detector puts out a score for each place. The question is then about one place, such as the best one:

row, column = divmod(int(scores.argmax()), scores.shape[1])
best = torch.zeros_like(inside)
best[row, column] = True
place = MeanInRegion(segmenter, best)
maps["the best place"] = camtrain.image_maps(place, image, "layer_cam", 1, target_layer="network.5")[0]
maps["the best place, at the input"] = camtrain.image_maps(place, image, "smooth_grad", 1, num_samples=8, seed=0)[0]

figure, axes = plt.subplots(1, 2 + len(maps), figsize=(9, 2.2))
axes[0].imshow(picture.permute(1, 2, 0))
axes[0].set_title("image", fontsize=8)
axes[1].imshow(scores, cmap="gray")
axes[1].plot(column, row, "r+", markersize=12)
axes[1].set_title("score of each cell", fontsize=8)
for each, (title, cam) in zip(axes[2:], maps.items(), strict=True):
    each.imshow(camtrain.overlay(picture, cam).permute(1, 2, 0))
    each.set_title(title, fontsize=8)
for each in axes:
    each.set_axis_off()

# %%
# In the same way an embedding becomes a similarity to another embedding, and a dictionary of outputs the entry that is
# asked for.
