"""
Segmentation and detection-like targets
=======================================

A method explains one number per image. For a network that puts out something else, a *target* of ``camtrain.targets``
says which number. Here are a class within a region of a segmentation, and the score of one place of a detector.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import camtrain
from camtrain.data import DecoyDigits
from camtrain.targets import SegmentationScore

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
# ``SegmentationScore`` is the mean score of a class over a mask, here over the cells that the network itself takes
# for a digit. It takes the place of a class, wherever there is one.

data.setup("test")
batch = next(iter(data.test_dataloader()))
image, picture = batch.images[:1], data.denormalize(batch.images[:1])[0]
with torch.no_grad():
    scores = segmenter(image)[0, 1] - segmenter(image)[0, 0]
digit = SegmentationScore(1)
maps = {"cells of the digit": camtrain.image_maps(segmenter, image, "layer_cam", digit, target_layer="5")[0]}

# %%
# A detector puts out a score for each place. The question is then about one place, such as the best one. (For boxes and
# labels as torchvision's detectors put them out, there is ``DetectionScore``.)

row, column = divmod(int(scores.argmax()), scores.shape[1])
best = torch.zeros_like(scores, dtype=torch.bool)
best[row, column] = True
place = SegmentationScore(1, best)
maps["the best place"] = camtrain.image_maps(segmenter, image, "layer_cam", place, target_layer="5")[0]
maps["the best place, at the input"] = camtrain.image_maps(
    segmenter, image, "smooth_grad", place, num_samples=8, seed=0
)[0]

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
# In the same way ``Similarity`` explains an embedding, and ``OutputPart`` one entry of a tuple or a dictionary. Any
# function from the output to one number per image is a target, too.
