"""
Two engines, one gradient
=========================

A penalty on the input gradient needs a second derivative. ``DoubleBackprop`` takes it by autograd; ``FrozenGates``,
the default, takes it from first-order passes alone. Both give nearly the same gradient of the parameters.
"""

import time

import matplotlib.pyplot as plt
import torch

import camtrain
from camtrain.data import DecoyDigits
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import CIFARResNet
from camtrain.regularizers import InterpretableGradient

torch.manual_seed(0)
data = DecoyDigits(
    decoy_strength=0.0, image_size=48, digit_size=(24, 32), clutter=2, samples_per_digit=1, batch_size=32
)
data.setup("fit")
batches = list(data.train_dataloader())[:11]
network = CIFARResNet(depth=8, num_classes=10, stem_stride=2)
optimizer = torch.optim.SGD(network.parameters(), 0.1)
plain = camtrain.Objective()
for batch in batches[:10]:  # some steps, so that it is a network and not noise
    optimizer.zero_grad()
    plain(network, batch.images, batch.labels).loss.backward()
    optimizer.step()


def gradient_of(engine, weight):
    """The gradient of L_C + λ L_R to all parameters, and the seconds that it took."""
    objective = camtrain.Objective(InterpretableGradient(), weight=weight, engine=engine)
    network.zero_grad()
    start = time.perf_counter()
    objective(network, batches[10].images, batches[10].labels).loss.backward()
    seconds = time.perf_counter() - start
    return torch.cat([each.grad.flatten() for each in network.parameters()]), seconds


# %%
# The part of the gradient that comes from λ L_R, by both engines. Every point is a parameter.

found = {}
for name, engine in {"DoubleBackprop": DoubleBackprop(), "FrozenGates": FrozenGates()}.items():
    gradient_of(engine, 0.1)  # the first call also checks and warms up
    with_penalty, seconds = gradient_of(engine, 0.1)
    without, _ = gradient_of(engine, 0.0)
    found[name] = (with_penalty - without, seconds)
(double, double_seconds), (frozen, frozen_seconds) = found.values()
cosine = torch.nn.functional.cosine_similarity(double, frozen, dim=0)
print(f"cosine of the two: {float(cosine):.4f}")
print(f"DoubleBackprop {1000 * double_seconds:.0f} ms, FrozenGates {1000 * frozen_seconds:.0f} ms")

figure, axes = plt.subplots(figsize=(3.6, 3.6))
axes.plot(double, frozen, ".", markersize=2)
axes.set_xlabel("gradient by DoubleBackprop")
axes.set_ylabel("gradient by FrozenGates")
axes.set_title(f"cosine {float(cosine):.4f}", fontsize=9)
figure.tight_layout()

# %%
# A single timing on a busy machine says little: :doc:`/experiments/step_cost` and :doc:`/experiments/engine_agreement`
# measure both properly.
