"""
Scores beyond control
=====================

How good is a map? ``camtrain.evaluate`` scores it, and scores maps that know nothing of the image beside it: a
control. What a method scores beyond its control is what the map itself earns.
"""

import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
loader = data.train_dataloader()
network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
objective = camtrain.Objective()
optimizer = torch.optim.Adam(network.parameters(), 0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=4 * len(loader))
for _ in range(4):
    for batch in loader:
        step = objective(network, batch.images, batch.labels)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        schedule.step()

# %%
# Two methods and the map of another image (``shuffled``) as their control.

scores = camtrain.evaluate(
    network,
    data,
    methods=["grad_cam", "input_gradient"],
    metrics=["average_drop", "insertion_auc", "deletion_auc", "energy_pointing_game"],
    controls="shuffled,uniform",
    settings=camtrain.EvaluationSettings(num_steps=8),
    num_images=24,
    num_resamples=200,
    progress=False,
)
print(scores)

# %%
# The differences are paired by image, so their intervals are narrow.

print(scores.beyond("shuffled"))

# %%
# The curves behind insertion and deletion. The uniform map is where a map without any order would be.

scores.curves_figure()

# %%
# And the images with the best and with the worst maps by insertion: look at them before you believe the number.

scores.panel_figure("insertion_auc")
