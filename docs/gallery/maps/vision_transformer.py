"""
A vision transformer
====================

Maps of a vision transformer are made from its tokens, and the class token has no place in the image. Which layer is
looked at matters more than for a convolutional network.
"""

import matplotlib.pyplot as plt
import torch
from torchvision.models import VisionTransformer

import camtrain
from camtrain.data import DecoyDigits

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=0, samples_per_digit=1, batch_size=64
)
data.setup("fit")
loader = data.train_dataloader()
network = VisionTransformer(
    image_size=48, patch_size=6, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10
)
objective = camtrain.Objective()
optimizer = torch.optim.Adam(network.parameters(), 0.003)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.003, total_steps=8 * len(loader))
for _ in range(8):
    for batch in loader:
        step = objective(network, batch.images, batch.labels)
        optimizer.zero_grad()
        step.loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
network.eval()

# %%
# ``target_layer=None`` finds the last layer whose output the logits depend on at every token. Earlier layers have
# names: the first norm of the last block is a common choice.

data.setup("test")
batch = next(iter(data.test_dataloader()))
images, pictures = batch.images[:4], data.denormalize(batch.images[:4])
layers = {
    "found by itself": None,
    "last block, first norm": "encoder.layers.encoder_layer_1.ln_1",
    "first block": "encoder.layers.encoder_layer_0",
}
figure, axes = plt.subplots(len(images), 1 + 2 * len(layers), figsize=(10, 5.8))
for row in range(len(images)):
    axes[row, 0].imshow(pictures[row].permute(1, 2, 0))
columns = [(method, title, layer) for title, layer in layers.items() for method in ("grad_cam", "layer_cam")]
for column, (method, title, layer) in enumerate(columns, start=1):
    maps = camtrain.image_maps(network, images, method, target_layer=layer)
    for row in range(len(images)):
        axes[row, column].imshow(camtrain.overlay(pictures[row], maps[row]).permute(1, 2, 0))
    axes[0, column].set_title(f"{method}\n{title}", fontsize=7)
for each in axes.flat:
    each.set_axis_off()

# %%
# At the very last norm, only the class token reaches the head, so that the map of all other tokens is zero by
# construction:

norm = camtrain.image_maps(network, images, "grad_cam", target_layer="encoder.layers.encoder_layer_1.ln_2")
print("largest value of each map at the last block's second norm:", norm.amax(dim=(1, 2)).tolist())
