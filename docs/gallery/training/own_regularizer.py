"""
A regularizer of my own
=======================

A penalty on a map is a class with one method, ``forward``: raw maps in, one number per image out. A map without a
positive value does not count, or the network could earn a penalty of 0 by switching its maps off. This one asks for
maps in the left half of the image, a bad idea for digits, to see that the network obeys.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet
from camtrain.regularizers import MapRegularizer, Penalty


class LeftHalf(MapRegularizer):
    """The fraction of the map's positive part that lies in the right half."""

    def forward(self, cams, regions=None):
        positive = cams.clamp(min=0)
        counted = positive.flatten(1).any(dim=1)
        right = positive[:, :, cams.shape[2] // 2 :].sum(dim=(1, 2))
        return Penalty(right / torch.where(counted, positive.sum(dim=(1, 2)), 1.0), counted)


data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=64
)
data.setup("fit")
loader = data.train_dataloader()


def trained(weight):
    """Train for two epochs with λ = weight."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
    objective = camtrain.Objective(LeftHalf(method="grad_cam", target_layer="layer2"), weight=weight)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    values = []
    for _ in range(2):
        for batch in loader:
            step = objective(network, batch.images, batch.labels)
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            values.append(float(step.regularization))
    return network.eval(), values


plain, _ = trained(0.0)
left, values = trained(3.0)

# %%
# The penalty over the steps, and maps of the same images without and with it.

data.setup("test")
batch = next(iter(data.test_dataloader()))
images, pictures = batch.images[:3], data.denormalize(batch.images[:3])
figure, axes = plt.subplots(2, 4, figsize=(8, 4))
for row, (name, network) in enumerate({"without": plain, "with": left}.items()):
    maps = camtrain.image_maps(network, images, "grad_cam", batch.labels[:3], target_layer="layer2")
    for each, picture, cam in zip(axes[row], pictures, maps, strict=False):
        each.imshow(camtrain.overlay(picture, cam).permute(1, 2, 0))
        each.set_axis_off()
    axes[row, 0].set_title(f"{name} the penalty", fontsize=9)
axes[0, 3].plot(values)
axes[0, 3].set_title("L_R over the steps", fontsize=9)
axes[1, 3].set_axis_off()
figure.tight_layout()
