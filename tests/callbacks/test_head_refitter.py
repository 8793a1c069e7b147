"""A refit changes the head alone, and the head is trained on the features that it sees in evaluation."""

from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camtrain import Classifier
from camtrain.batch import Batch
from camtrain.callbacks import HeadRefitter
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import CIFARResNet, last_linear
from camtrain.regularizers import EnergyInside, InterpretableGradient

CLASSES = 3


class WithDropout(nn.Module):
    """BatchNorm with statistics of its own, dropout as a module and as a function, and a head of two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES))
        self.features[1].running_mean.fill_(0.3)
        self.features[1].running_var.fill_(2.0)

    def forward(self, images):
        averages = self.features(images).mean(dim=(2, 3))
        return self.head(F.dropout(averages, 0.5, self.training))


def samples(count=12):
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(count, 3, 8, 8, generator=generator), torch.arange(count) % CLASSES)


def fit(network, *callbacks, epochs=1, batch_size=4, validates=True, ckpt_path=None, **settings):
    module = Classifier(network, CLASSES, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5), **settings)
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=list(callbacks), accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, val_check_interval=1,
    )  # fmt: skip
    images = DataLoader(samples(), batch_size=batch_size)
    trainer.fit(module, images, images if validates else None, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


class SetsTrainingMode(pl.Callback):
    """Calls `train()` in each step."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        pl_module.train()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"classification_loss": "binary_cross_entropy"},
        {"regularizer": InterpretableGradient(), "regularizer_weight": 0.1, "engine": FrozenGates()},
        {"regularizer": InterpretableGradient("mae"), "regularizer_weight": 0.1, "engine": DoubleBackprop()},
    ],
    ids=["plain", "binary", "frozen_gates", "double_backprop"],
)
def test_everything_but_the_head_is_bit_identical(settings):
    network = WithDropout()
    before = state(network)
    fit(network, SetsTrainingMode(), HeadRefitter(), epochs=2, **settings)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.2.weight", "head.2.bias"}
    # Without it, the rest is trained.
    other = WithDropout()
    fit(other, epochs=1)
    assert not torch.equal(other.features[0].weight, before["features.0.weight"])
    assert not torch.equal(other.features[1].running_mean, before["features.1.running_mean"])


def test_layers_that_are_replaced_before_training_are_frozen_too():
    """As `sync_batchnorm` does after `setup`. In a single process, the new layers are plain BatchNorm."""

    class Synchronizes(pl.Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.network = nn.SyncBatchNorm.convert_sync_batchnorm(pl_module.network)

    network = WithDropout()
    before = state(network)
    fit(network, HeadRefitter(), Synchronizes(), validates=False)
    assert isinstance(network.features[1], nn.SyncBatchNorm)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.2.weight", "head.2.bias"}
    assert network.features[1].training  # as it was before


def test_a_step_by_hand():
    """Logistic regressions on the features of evaluation mode: W -= lr (σ(z) − t)ᵀ f / N."""
    network = WithDropout()
    with torch.no_grad():
        inner = copy.deepcopy(network).eval()
        inner.head[2] = nn.Identity()
        features = inner(samples().tensors[0])
        labels = F.one_hot(samples().tensors[1], CLASSES).float()
        weight, bias = (parameter.clone() for parameter in network.head[2].parameters())
        errors = (torch.sigmoid(features @ weight.T + bias) - labels) / len(labels)
        weight, bias = weight - 0.5 * errors.T @ features, bias - 0.5 * errors.sum(dim=0)
    refitter = HeadRefitter(reset=False)
    fit(network, refitter, batch_size=12, validates=False, classification_loss="binary_cross_entropy")
    torch.testing.assert_close(network.head[2].weight.detach(), weight)
    torch.testing.assert_close(network.head[2].bias.detach(), bias)


def test_a_reset_head_forgets_what_it_was():
    """Two heads that differ are the same after the same refit; without a reset they are not."""

    def refitted(fill, **settings):
        network = WithDropout()
        nn.init.constant_(network.head[2].weight, fill)
        pl.seed_everything(3, verbose=False)
        fit(network, HeadRefitter(**settings))
        return network.head[2].weight

    assert torch.equal(refitted(0.0), refitted(1.0))
    assert not torch.equal(refitted(0.0, reset=False), refitted(1.0, reset=False))


def test_a_head_that_cannot_be_reset_is_an_error():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(CLASSES))

        def forward(self, logits):
            return self.scale * logits

    network = WithDropout()
    network.head.append(Scale())
    with pytest.raises(ValueError, match=r"`reset`: expected heads whose modules have .* reset_parameters, got Scale"):
        fit(network, HeadRefitter(layers=["head"]))
    fit(network, HeadRefitter(layers=["head"], reset=False))


def test_the_layers_of_the_head_can_be_named():
    network = WithDropout()
    before = state(network)
    fit(network, HeadRefitter(["head"]))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"}


def test_the_network_is_as_trainable_as_before():
    network = WithDropout()
    network.features[0].weight.requires_grad = False
    network.features[1].eval()
    fit(network, HeadRefitter())
    assert {name for name, each in network.named_parameters() if not each.requires_grad} == {"features.0.weight"}
    assert {name for name, each in network.named_modules() if not each.training} == {"features.1"}

    def fail(*_):
        raise RuntimeError("stop")

    broken = WithDropout()
    broken.head.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="stop"):
        fit(broken, HeadRefitter(), validates=False)
    assert all(parameter.requires_grad for parameter in broken.parameters())
    assert all(module.training for module in broken.modules())


def test_a_resumed_refit_goes_on_with_its_head(tmp_path):
    def refitted(epochs, ckpt_path=None):
        network = WithDropout()
        pl.seed_everything(3 if ckpt_path is None else 4, verbose=False)  # of the head's new weights
        return network, fit(network, HeadRefitter(), epochs=epochs, validates=False, ckpt_path=ckpt_path)

    whole, _ = refitted(2)
    _, half = refitted(1)
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = refitted(2, tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:.*have no positive value")  # the network has learned nothing
def test_a_penalty_on_maps_reaches_the_head():
    network = CIFARResNet(depth=8, num_classes=CLASSES, width=4)
    before = state(network)
    masks = torch.zeros(12, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    images, labels = samples().tensors
    module = Classifier(network, CLASSES, regularizer=EnergyInside(), regularizer_weight=1.0)
    trainer = pl.Trainer(
        max_epochs=1, callbacks=[HeadRefitter()], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader([Batch(images, labels, masks=masks)], batch_size=None))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert trainer.callback_metrics["train/gradient_share"] > 0


def test_bad_layers_are_named():
    for layers in ("head", []):
        with pytest.raises(ValueError, match="`layers`: expected a list of names of modules, or None, got"):
            HeadRefitter(layers)
    with pytest.raises(ValueError, match="`layers`: no module is called 'heads'; did you mean 'head'"):
        fit(WithDropout(), HeadRefitter(["heads"]))
    with pytest.raises(ValueError, match=r"`layers`: expected modules with parameters, got \['features.2'\]"):
        fit(WithDropout(), HeadRefitter(["features.2"]))
    convolutions = nn.Sequential(nn.Conv2d(3, CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_linear(convolutions) is None
    with pytest.raises(ValueError, match="`layers`: Sequential has no linear layer; name the layers of its head"):
        fit(convolutions, HeadRefitter())
