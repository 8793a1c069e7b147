"""Fine-tuning: a learning rate for the head, a frozen backbone, averaged weights, early stopping, all at once."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    EMAWeightAveraging,
    StochasticWeightAveraging,
)
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR
from torch.utils.data import DataLoader

from camtrain import Classifier
from camtrain.batch import collate
from camtrain.callbacks import FrozenBackbone, MixUp
from camtrain.messages import CamtrainWarning
from camtrain.objective import CrossEntropy
from camtrain.regularizers import InterpretableGradient


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def sgd(parameters):
    return SGD(parameters, lr=0.01)


def loader():
    generator = torch.Generator().manual_seed(0)
    samples = [{"image": torch.rand(3, 8, 8, generator=generator), "label": i % 3} for i in range(12)]
    return DataLoader(samples, batch_size=4, collate_fn=collate)


def trained(tmp_path, callbacks, epochs=3, **settings):
    module = Classifier(**{"network": network(), "num_classes": 3, "optimizer": sgd, **settings})
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=epochs,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader(), loader())
    return module, trainer


def rates(optimizer):
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def test_the_step_of_the_head_is_by_its_own_rate():
    module = Classifier(network(), 3, optimizer=sgd, head_learning_rate=0.5)
    before = {name: parameter.detach().clone() for name, parameter in module.network.named_parameters()}
    optimizer = module.configure_optimizers()
    module.network(torch.rand(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    for name, parameter in module.network.named_parameters():
        rate = 0.5 if name.startswith("4.") else 0.01
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad)


def test_a_schedule_scales_both_rates_and_each_is_logged(tmp_path):
    seen = {}

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen[trainer.current_epoch] = {
                name.removeprefix("train/learning_rate/"): float(value)
                for name, value in trainer.callback_metrics.items()
                if name.startswith("train/learning_rate/")
            }

    trained(
        tmp_path, [Note()], 2, head_learning_rate=0.5, lr_scheduler=lambda optimizer: CosineAnnealingLR(optimizer, 2)
    )
    assert seen[0] == pytest.approx({"backbone": 0.01, "head": 0.5})
    assert seen[1] == pytest.approx({"backbone": 0.005, "head": 0.25})


def test_a_schedule_that_overrules_the_heads_rate_is_refused():
    def one_cycle(rates):
        return lambda optimizer: OneCycleLR(optimizer, max_lr=rates, total_steps=10)

    module = Classifier(network(), 3, optimizer=sgd, head_learning_rate=0.5, lr_scheduler=one_cycle(0.1))
    with pytest.raises(ValueError, match=r"`head_learning_rate`: OneCycleLR gives the head .* pass it a list of two"):
        module.configure_optimizers()
    module = Classifier(network(), 3, optimizer=sgd, head_learning_rate=0.5, lr_scheduler=one_cycle([0.1, 1.0]))
    assert rates(module.configure_optimizers()["optimizer"]) == pytest.approx({"backbone": 0.004, "head": 0.04})


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_a_warmup_from_nothing_leaves_the_head_its_rate(rate):
    def warmup(optimizer):
        return LambdaLR(optimizer, lambda epoch: epoch / 10)

    module = Classifier(network(), 3, optimizer=sgd, head_learning_rate=rate, lr_scheduler=warmup)
    found = module.configure_optimizers()
    assert rates(found["optimizer"]) == {"backbone": 0.0, "head": 0.0}
    found["optimizer"].step()
    found["lr_scheduler"]["scheduler"].step()
    assert rates(found["optimizer"]) == pytest.approx({"backbone": 0.001, "head": rate / 10})


def test_where_only_the_head_is_trained_the_optimizers_rate_is_still_that_of_the_backbone():
    frozen = network()
    frozen[0].requires_grad_(False)
    optimizer = Classifier(frozen, 3, optimizer=sgd, head_learning_rate=0.5).configure_optimizers()
    assert rates(optimizer) == {"backbone": 0.01, "head": 0.5}


def test_a_head_that_is_not_there_or_not_trained():
    convolutional = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"`head_learning_rate`: expected None for a network without a linear layer"):
        Classifier(convolutional, 3, head_learning_rate=0.5).configure_optimizers()
    frozen = network()
    frozen[-1].requires_grad_(False)
    with pytest.raises(ValueError, match=r"`head_learning_rate`: expected None where the head, 4, is not trained"):
        Classifier(frozen, 3, head_learning_rate=0.5).configure_optimizers()
    with pytest.raises(ValueError, match=r"`head_learning_rate`: expected"):
        Classifier(network(), 3, head_learning_rate=-1.0)


def test_averaged_weights_are_what_is_validated_and_kept(tmp_path):
    """With a decay of 1/2, by hand from the weights after each step, beside a regularizer whose engine hooks layers."""
    after, validated = [], []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            after.append(pl_module.network[0].weight.detach().clone())

        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
            if after:
                validated.append(pl_module.network[0].weight.detach().clone())

    averaging = EMAWeightAveraging(decay=0.5)
    module, _ = trained(tmp_path, [averaging, Note()], 2, regularizer=InterpretableGradient(), regularizer_weight=0.1)
    expected = after[0]  # the average begins with the first step
    for weights in after[1:]:
        expected = 0.5 * expected + 0.5 * weights
    torch.testing.assert_close(module.network[0].weight.detach(), expected)
    torch.testing.assert_close(validated[-1], expected)
    assert not torch.equal(after[-1], expected)


class Noted(pl.Callback):
    """The weights of the convolution and of its BatchNorm after each epoch, and the modes of the modules in a step."""

    def __init__(self):
        self.weights, self.statistics, self.modes = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.weights.append(pl_module.network[0].weight.detach().clone())
        self.statistics.append(pl_module.network[1].running_mean.clone())

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.modes.append([module.training for module in pl_module.network])


def normalized_network():
    made = network()
    return nn.Sequential(made[0], nn.BatchNorm2d(4), *made[1:])


def adam(parameters):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.5)


def test_a_frozen_backbone_is_as_it_was_until_its_epoch(tmp_path):
    noted, started = Noted(), normalized_network()
    begun = started[0].weight.detach().clone()
    head = started[-1].weight.detach().clone()
    module, _ = trained(
        tmp_path,
        [FrozenBackbone(epochs=2), noted],
        network=started,
        optimizer=adam,
        head_learning_rate=0.1,
        lr_scheduler=lambda optimizer: CosineAnnealingLR(optimizer, 2, eta_min=0.001),
        regularizer=InterpretableGradient(),
    )
    assert [torch.equal(each, begun) for each in noted.weights] == [True, True, False]
    assert [bool(each.any()) for each in noted.statistics] == [False, False, True]
    assert not torch.equal(module.network[-1].weight, head)
    assert noted.modes[0] == noted.modes[5] == [False] * 5 + [True]
    assert noted.modes[-1] == [True] * 6
    assert all(each.training for each in module.network)


def test_a_backbone_that_is_never_trained_is_told(tmp_path):
    with pytest.warns(CamtrainWarning, match="ends after 3 epochs, and the backbone is frozen for 3, so that only"):
        trained(tmp_path, [FrozenBackbone(epochs=3)], network=normalized_network())


def test_in_a_fast_dev_run_nothing_is_said_of_it(tmp_path):
    settings = {"default_root_dir": tmp_path, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = pl.Trainer(fast_dev_run=True, callbacks=[FrozenBackbone()], enable_model_summary=False, **settings)
    trainer.fit(Classifier(normalized_network(), 3, optimizer=sgd), loader())


def test_an_error_in_a_step_leaves_no_module_in_evaluation_mode(tmp_path):
    class Failing(pl.Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            raise RuntimeError("stopped here")

    started = normalized_network()
    with pytest.raises(RuntimeError, match="stopped here"):
        trained(tmp_path, [FrozenBackbone(), Failing()], network=started)
    assert all(module.training for module in started)


def test_a_network_without_a_head_to_train_first(tmp_path):
    convolutional = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="FrozenBackbone: expected a network with a linear layer"):
        trained(tmp_path, [FrozenBackbone()], network=convolutional)


@pytest.mark.parametrize(
    "freezing", [lambda: FrozenBackbone(epochs=1), lambda: BackboneFinetuning(unfreeze_backbone_at_epoch=1)]
)
def test_a_resumed_run_trains_what_the_whole_one_trains(tmp_path, freezing):
    def run(epochs, path=None):
        module = Classifier(network(), 3, optimizer=adam)
        trainer = pl.Trainer(
            default_root_dir=tmp_path,
            max_epochs=epochs,
            callbacks=[freezing()],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader(), ckpt_path=path, weights_only=True)
        return module, trainer

    whole, _ = run(3)
    _, interrupted = run(2)
    interrupted.save_checkpoint(tmp_path / "interrupted.ckpt")
    resumed, _ = run(3, tmp_path / "interrupted.ckpt")
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("averaging", [None, EMAWeightAveraging, StochasticWeightAveraging])
def test_all_at_once(tmp_path, averaging):
    noted, settings = Noted(), {EMAWeightAveraging: {"decay": 0.9}, StochasticWeightAveraging: {"swa_lrs": 0.01}}
    callbacks = [
        *([] if averaging is None else [averaging(**settings[averaging])]),
        FrozenBackbone(epochs=1),
        MixUp(),
        EarlyStopping("val/accuracy", mode="max", patience=1, min_delta=1.0),
        noted,
    ]
    started = normalized_network()
    begun = started[0].weight.detach().clone()
    _, trainer = trained(
        tmp_path,
        callbacks,
        epochs=9,
        network=started,
        head_learning_rate=0.5,
        regularizer=InterpretableGradient(),
    )
    assert [torch.equal(each, begun) for each in noted.weights[:2]] == [True, False]
    assert trainer.current_epoch < 9  # nothing is a whole point of accuracy better than the epoch before


class Images(pl.LightningDataModule):
    """A data module that says how frequent its classes are."""

    num_classes = 3

    def class_frequencies(self):
        return torch.tensor([1 / 2, 1 / 4, 1 / 4])

    def train_dataloader(self):
        return loader()

    val_dataloader = train_dataloader


def test_balanced_weights_beside_averaged_ones(tmp_path):
    """They are computed after the average was copied, and are in the checkpoint of the average."""
    module = Classifier(network(), 3, optimizer=sgd, classification_loss=CrossEntropy(class_weights="balanced"))
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=1,
        callbacks=[EMAWeightAveraging(decay=0.5)],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=Images())
    again = Classifier.load_from_checkpoint(
        next(tmp_path.rglob("*.ckpt")), network=network(), classification_loss=CrossEntropy(class_weights="balanced")
    )
    weights = again.objective.loss_function.class_weights.values
    assert weights.tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3])
    torch.testing.assert_close(again.network[0].weight, module.network[0].weight)
