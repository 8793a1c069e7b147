"""
Every method on one image
=========================

A small network learns handwritten digits on photographs. Then every :doc:`method </methods/index>` explains the same
image.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.methods import TITLES
from camtrain.networks import CIFARResNet

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
loader = data.train_dataloader()
network = CIFARResNet(depth=8, num_classes=10, stem_stride=2)
objective = camtrain.Objective()  # without a regularizer: plain training
optimizer = torch.optim.Adam(network.parameters(), 0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=6 * len(loader))
for _ in range(6):
    for batch in loader:
        step = objective(network, batch.images, batch.labels)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        schedule.step()
network.eval()

# %%
# A test image, and its map by each method. The attention map needs a network with an attention head, and is left out.
# Taylor-CAM needs a layer behind which the score is curved, so it gets an earlier one.

data.setup("test")
batch = next(iter(data.test_dataloader()))
image, picture = batch.images[:1], data.denormalize(batch.images[:1])
names = [name for name in camtrain.METHODS if name != "attention_map"]
maps = {
    name: camtrain.image_maps(
        network, image, name, target_layer="layer2" if name == "taylor_cam" else None, num_samples=8, seed=0
    )
    for name in names
}

figure, axes = plt.subplots(4, 5, figsize=(8, 7))
axes.flat[0].imshow(picture[0].permute(1, 2, 0))
axes.flat[0].set_title(f"a {int(batch.labels[0])}", fontsize=9)
for each, name in zip(axes.flat[1:], names, strict=False):
    each.imshow(camtrain.overlay(picture, maps[name])[0].permute(1, 2, 0))
    each.set_title(TITLES[name], fontsize=9)
for each in axes.flat:
    each.set_axis_off()

# %%
# They differ: maps at a layer are coarse, attributions follow edges. None of them is *the* explanation. :doc:`Scores
# </examples/scores/beyond_control>` compare them.
