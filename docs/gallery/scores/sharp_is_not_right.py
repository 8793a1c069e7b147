"""
Sharp is not right
==================

Guided backpropagation looks convincing whatever it is asked. Two questions tell: does the map change with the class,
and does it change when the weights of the network are replaced by random ones? (See :doc:`/limits`.)
"""

import copy

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
network.eval()

# %%
# The maps of one image: for its class, for the class that the network finds least likely, and of a network whose last
# linear layer is random.

data.setup("test")
batch = next(iter(data.test_dataloader()))
image, label = batch.images[:1], batch.labels[:1]
picture = data.denormalize(image)[0]
with torch.no_grad():
    unlikely = network(image).argmin(dim=1)
randomized = copy.deepcopy(network)
last = [module for module in randomized.modules() if isinstance(module, torch.nn.Linear)][-1]
torch.nn.init.normal_(last.weight, std=float(last.weight.detach().std()))

figure, axes = plt.subplots(2, 4, figsize=(8, 4.2))
for row, method in enumerate(("guided_backprop", "grad_cam")):
    cams = {
        f"why {int(label)}?": camtrain.image_maps(network, image, method, label),
        f"why {int(unlikely)}?": camtrain.image_maps(network, image, method, unlikely),
        "last layer random": camtrain.image_maps(randomized, image, method, label),
    }
    axes[row, 0].imshow(picture.permute(1, 2, 0))
    axes[row, 0].set_title(method, fontsize=9)
    for each, (title, cam) in zip(axes[row, 1:], cams.items(), strict=True):
        each.imshow(camtrain.overlay(picture, cam[0]).permute(1, 2, 0))
        each.set_title(title, fontsize=9)
for each in axes.flat:
    each.set_axis_off()

# %%
# The same as numbers: the higher, the more a map depends on the class.

scores = camtrain.evaluate(
    network,
    data,
    ["guided_backprop", "grad_cam"],
    "class_sensitivity",
    num_images=24,
    num_resamples=200,
    progress=False,
)
print(scores)
