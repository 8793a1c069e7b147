"""
Faithful maps, before and after
===============================

:doc:`MapFaithfulness </regularizers/map_faithfulness>` trains a network so that what its map shows is enough for the
label, and is missed when it is hidden. Are the maps better, or does the network only read the label from their shape?
Scores beyond control and *leakage* tell.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet
from camtrain.regularizers import MapFaithfulness

data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
data.setup("test")
loader = data.train_dataloader()


def trained(weight, epochs=6):
    """Train; in so few epochs, λ is 0 in the first half."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
    objective = camtrain.Objective(MapFaithfulness(), weight=0.0)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * len(loader))
    for epoch in range(epochs):
        objective.weight = weight if epoch >= epochs // 2 else 0.0
        for batch in loader:
            step = objective(network, batch.images, batch.labels)
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


before, after = trained(0.0), trained(0.5)

# %%
# Paired differences on the same test images: after minus before. One seed: whether a network of another seed would do
# the same is a question for ``camtrain.ablate``.

metrics = ["average_drop", "deletion_auc", "map_leakage"]
how = {
    "methods": "grad_cam",
    "metrics": metrics,
    "settings": camtrain.EvaluationSettings(num_steps=8, class_of="label"),
    "num_images": 96,
    "num_resamples": 200,
    "controls": "shuffled",
    "progress": False,
}
first, second = camtrain.evaluate(before, data, **how), camtrain.evaluate(after, data, **how)
print(second.minus(first))
print(second.beyond("shuffled").minus(first.beyond("shuffled")))

# %%
# As a picture: blue is the method's map, gray the map of another image on the same network. The gap is what the map
# earns.

figure, axes = plt.subplots(1, 3, figsize=(9, 2.6))
for each, metric in zip(axes, metrics, strict=True):
    for place, found in enumerate((first, second)):
        values = [found.score(method, metric).value for method in ("grad_cam", "shuffled_grad_cam")]
        each.bar([place - 0.2, place + 0.2], values, 0.38, color=["tab:blue", "0.7"])
    each.set_xticks([0, 1], ["before", "after"])
    each.set_title(f"{metric} ↓", fontsize=9)
figure.tight_layout()

# %%
# The maps of the same images.

images = next(iter(data.test_dataloader())).images[:6]
pictures = data.denormalize(images)
figure, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for row, (name, network) in enumerate({"before": before, "after": after}.items()):
    for each, picture, cam in zip(axes[row], pictures, camtrain.image_maps(network, images), strict=True):
        each.imshow(camtrain.overlay(picture, cam).permute(1, 2, 0))
        each.set_axis_off()
    axes[row, 0].set_title(name, fontsize=9)
