"""
A classifier that cheats, before and after
==========================================

In the training images a gray patch in a corner has a shade that gives the label away; in the test images its shade is
random. A plain network learns the patch. :doc:`RightForRightReasons </regularizers/right_for_right_reasons>` forbids
the input gradient there, and the network has to learn the digit, too.
"""

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.networks import CIFARResNet
from camtrain.regularizers import RightForRightReasons

data = DecoyDigits(
    decoy_strength=1.0,
    annotation="not_decoy",  # masks: everything but the patch
    image_size=48,
    digit_size=(24, 32),
    clutter=0,
    samples_per_digit=1,
    batch_size=64,
)
data.setup("fit")
data.setup("test")
loader = data.train_dataloader()
tests = list(data.test_dataloader())


def trained(weight, epochs=7):
    """Train with λ = weight."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, width=8, num_classes=10, stem_stride=2)
    objective = camtrain.Objective(RightForRightReasons(annotation="masks"), weight=weight)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for batch in loader:
            step = objective(network, batch.images, batch.labels, masks=batch.masks)
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


networks = {"plain": trained(0.0), "RightForRightReasons": trained(1.0)}

# %%
# The accuracy on test images, where the patch misleads. It is still far from that of a network without a decoy: seven
# epochs are few. :doc:`/experiments/decoy` trains longer, with seeds and other regularizers.

for name, network in networks.items():
    with torch.no_grad():
        right = sum(int((network(batch.images).argmax(dim=1) == batch.labels).sum()) for batch in tests)
    print(f"{name}: {right / sum(len(batch.labels) for batch in tests):.0%}")

# %%
# Where both look: the input gradient, smoothed, on test images that the plain network gets wrong and the other one
# right.

images, labels = (torch.cat([getattr(batch, name) for batch in tests]) for name in ("images", "labels"))
with torch.no_grad():
    said = {name: network(images).argmax(dim=1) for name, network in networks.items()}
plain, mended = said.values()
chosen = ((plain != labels) & (mended == labels)).nonzero().flatten()[:5]
images, pictures = images[chosen], data.denormalize(images[chosen])
figure, axes = plt.subplots(3, len(chosen), figsize=(8, 5))
for each, picture, label in zip(axes[0], pictures, labels[chosen], strict=True):
    each.imshow(picture.permute(1, 2, 0))
    each.set_title(f"a {int(label)}", fontsize=9)
for row, (name, network) in enumerate(networks.items(), start=1):
    maps = camtrain.image_maps(network, images, "smooth_grad", num_samples=16, seed=0)
    for column, cam in enumerate(maps):
        axes[row, column].imshow(camtrain.overlay(pictures[column], cam).permute(1, 2, 0))
        axes[row, column].set_title(f"says {int(said[name][chosen[column]])}", fontsize=9)
    axes[row, 0].set_ylabel(name)
for each in axes.flat:
    each.set_xticks([])
    each.set_yticks([])
