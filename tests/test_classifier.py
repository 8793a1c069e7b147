"""The Lightning module trains like the same loop written by hand, and logs what happened."""

from __future__ import annotations

import contextlib
import copy
import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import BackboneFinetuning, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from camtrain import Classifier, Objective
from camtrain.batch import Batch
from camtrain.cams import GradCAM
from camtrain.classifier import NonFiniteLossError
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.messages import CamtrainWarning
from camtrain.regularizers import (
    EnergyInside,
    GradientNorm,
    InterpretableGradient,
    MapFaithfulness,
    RightForRightReasons,
    Sum,
    Term,
)

CLASSES = 3


def small_network(normalized: bool = False) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4) if normalized else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, CLASSES),
    )  # fmt: skip


def samples(count: int = 12) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 8, 8, generator=generator)
    return TensorDataset(images, torch.arange(count) % CLASSES)


def loader(count: int = 12, batch_size: int = 4) -> DataLoader:
    return DataLoader(samples(count), batch_size=batch_size)


def trainer(folder: Path, **settings) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    return pl.Trainer(
        **{"default_root_dir": folder, "max_epochs": 1, "enable_checkpointing": False, **quiet, **settings}
    )


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def classifier(network: nn.Module | None = None, **settings) -> Classifier:
    settings = {"regularizer": InterpretableGradient(), "regularizer_weight": 1.0, "optimizer": sgd} | settings
    return Classifier(network or small_network(), CLASSES, **settings)


def assert_same_weights(first: nn.Module, second: nn.Module, **tolerance) -> None:
    state = second.state_dict()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(
            value, state[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=lambda m, n=name: n + m
        )


def flat_weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_training_is_the_same_as_a_loop_by_hand(tmp_path):
    module = classifier(small_network(normalized=True))
    by_hand = copy.deepcopy(module.network)
    trainer(tmp_path, max_epochs=2).fit(module, loader())
    objective, optimizer = Objective(InterpretableGradient(), weight=1.0), sgd(by_hand.parameters())
    by_hand.train()
    for _ in range(2):
        for images, labels in loader():
            optimizer.zero_grad()
            objective(by_hand, images, labels).loss.backward()
            optimizer.step()
    assert_same_weights(module.network, by_hand)


@pytest.mark.parametrize("settings", [{"regularizer_weight": 0.0}, {"regularizer": None, "regularizer_weight": None}])
def test_without_a_weight_training_is_plain(tmp_path, settings):
    module = classifier(small_network(normalized=True), **settings)
    by_hand = copy.deepcopy(module.network)
    trainer(tmp_path).fit(module, loader())
    optimizer = sgd(by_hand.parameters())
    for images, labels in loader():
        optimizer.zero_grad()
        F.cross_entropy(by_hand(images), labels).backward()
        optimizer.step()
    assert_same_weights(module.network, by_hand)


@pytest.mark.usefixtures("double_by_default")
def test_accumulated_batches_are_one_large_batch(tmp_path):
    accumulated, at_once = (classifier(engine=DoubleBackprop()) for _ in range(2))
    trainer(tmp_path, accumulate_grad_batches=3).fit(accumulated, loader(batch_size=4))
    trainer(tmp_path).fit(at_once, loader(batch_size=12))
    assert_same_weights(accumulated.network, at_once.network, rtol=0, atol=1e-12)


def test_clipping_holds_the_whole_gradient(tmp_path):
    module = classifier(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0))
    before = copy.deepcopy(module.network)
    trainer(tmp_path, gradient_clip_val=1e-3, limit_train_batches=1).fit(module, loader())
    moved = [new - old for new, old in zip(module.network.parameters(), before.parameters(), strict=True)]
    assert math.isclose(torch.cat([part.flatten() for part in moved]).norm().item(), 1e-3, rel_tol=1e-3)


def test_mixed_precision_trains(tmp_path):
    module, plain = (classifier(engine=DoubleBackprop()) for _ in range(2))
    before = flat_weights(module)
    trainer(tmp_path, precision="bf16-mixed").fit(module, loader())
    trainer(tmp_path).fit(plain, loader())
    # bfloat16 has 8 bits, and a processor that has it rounds elsewhere than one that has not: by a tenth of what three
    # steps move the weights by. Without L_R they move elsewhere by all of it.
    mixed, full = flat_weights(module), flat_weights(plain)
    assert (mixed - full).norm() < 0.5 * (full - before).norm()


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("regularizer", [None, InterpretableGradient(), MapFaithfulness()])
def test_channels_last_changes_only_the_rounding(tmp_path, regularizer):
    settings = {"regularizer": regularizer, "regularizer_weight": regularizer and 1.0}
    modules = [classifier(small_network(normalized=True), channels_last=last, **settings) for last in (False, True)]
    for module in modules:
        pl.seed_everything(0)
        trainer(tmp_path).fit(module, loader())
    assert_same_weights(modules[1].network, modules[0].network, rtol=0, atol=1e-9)
    images = torch.randn(2, 3, 8, 8)
    of_pixels = [module.network[:3](images).is_contiguous(memory_format=torch.channels_last) for module in modules]
    assert of_pixels == [False, True]


def test_logged_numbers_are_those_of_the_objective(tmp_path):
    module = classifier(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0), gradient_share_every_n_steps=1
    )
    fitting = trainer(tmp_path)
    fitting.fit(module, loader(), loader())
    objective = Objective(InterpretableGradient(), weight=1.0)
    steps = [objective(module.network, images, labels, measure_gradient_share=True) for images, labels in loader()]
    logged = {name: value.item() for name, value in fitting.callback_metrics.items()}

    def mean(values):
        return sum(float(value) for value in values) / len(steps)

    for stage in ("train", "val"):
        assert math.isclose(logged[f"{stage}/loss_classification"], mean(s.classification for s in steps), rel_tol=1e-5)
        assert math.isclose(logged[f"{stage}/loss_regularizer"], mean(s.regularization for s in steps), rel_tol=1e-5)
        assert math.isclose(logged[f"{stage}/loss"], mean(s.loss.detach() for s in steps), rel_tol=1e-5)
    assert math.isclose(logged["train/gradient_share"], mean(s.gradient_share for s in steps), rel_tol=1e-5)
    assert logged["train/regularizer_weight"] == 1.0
    images, labels = samples().tensors
    right = (module.network(images).argmax(1) == labels).float()
    assert math.isclose(logged["val/accuracy"], right.mean().item(), rel_tol=1e-6)
    assert math.isclose(logged["train/accuracy"], right.mean().item(), rel_tol=1e-6)
    for label in range(CLASSES):
        expected = right[labels == label].mean().item()
        assert math.isclose(logged[f"val/accuracy_per_class/{label}"], expected, rel_tol=1e-6, abs_tol=1e-6)
    assert "val/accuracy_top5" not in logged  # with three classes, the top five are always right


def test_top5_and_class_names(tmp_path):
    class Data(pl.LightningDataModule):
        class_names = tuple("abcdefgh")

        def val_dataloader(self):
            return loader()

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8))
    evaluating = trainer(tmp_path)
    evaluating.validate(Classifier(network, 8), datamodule=Data(), verbose=False)
    images, labels = samples().tensors
    top5 = (network(images).topk(5).indices == labels.unsqueeze(1)).any(1).float().mean().item()
    assert math.isclose(evaluating.callback_metrics["val/accuracy_top5"].item(), top5, rel_tol=1e-6)
    assert "val/accuracy_per_class/c" in evaluating.callback_metrics
    assert "val/accuracy_per_class/h" not in evaluating.callback_metrics, "there is no image of it"


def test_validation_measures_the_regularizer_also_without_its_weight(tmp_path):
    fitting = trainer(tmp_path)
    fitting.fit(classifier(regularizer_weight=0.0), loader(), loader())
    assert "train/loss_regularizer" not in fitting.callback_metrics
    assert 0 < fitting.callback_metrics["val/loss_regularizer"].item() <= 2


@pytest.mark.parametrize("call", ["validate", "test"])
def test_evaluation_works_in_inference_mode_and_changes_nothing(tmp_path, call):
    module = classifier(small_network(normalized=True))
    before = copy.deepcopy(module.state_dict())
    getattr(trainer(tmp_path), call)(module, loader(), verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.usefixtures("double_by_default")
def test_predictions_are_probabilities(tmp_path):
    module = classifier()
    found = torch.cat(trainer(tmp_path).predict(module, loader()))
    images, _ = samples().tensors
    torch.testing.assert_close(found, module.network(images).softmax(1).detach())


class WeightOfSteps(pl.Callback):
    """Records λ of each training step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weights.append(pl_module.objective.weight)


def test_warmup_rises_linearly_and_ends(tmp_path):
    steps = WeightOfSteps()
    module = classifier(regularizer_weight=6.0, regularizer_warmup_epochs=1.5)
    trainer(tmp_path, max_epochs=3, callbacks=[steps]).fit(module, loader(), loader())
    assert steps.weights == pytest.approx([0, 4 / 3, 8 / 3, 4, 16 / 3, 6, 6, 6, 6])


def test_a_start_delays_the_warmup(tmp_path):
    steps = WeightOfSteps()
    module = classifier(regularizer_weight=6.0, regularizer_start_epoch=1.0, regularizer_warmup_epochs=1.0)
    trainer(tmp_path, max_epochs=3, callbacks=[steps]).fit(module, loader(), loader())
    assert steps.weights == pytest.approx([0, 0, 0, 0, 2, 4, 6, 6, 6])
    assert module.hparams["regularizer_start_epoch"] == 1.0


def test_the_schedule_of_the_classifier_is_that_of_a_term(tmp_path):
    schedule = {"start_epoch": 1 / 3, "warmup_epochs": 1.5}
    whole = classifier(regularizer_weight=2.0, **{f"regularizer_{name}": value for name, value in schedule.items()})
    term = classifier(regularizer=Sum([Term(InterpretableGradient(), 2.0, **schedule)]), regularizer_weight=1.0)
    for module in (whole, term):
        trainer(tmp_path, max_epochs=3).fit(module, loader())
    assert_same_weights(whole.network, term.network, rtol=1e-6, atol=1e-7)


def test_before_its_start_a_regularizer_is_plain_training_and_validation_measures_it(tmp_path):
    """As a term of a sum does that has not started."""
    late = Sum([Term(InterpretableGradient(), 1.0, start_epoch=5.0)])
    modules = {
        "late": classifier(small_network(normalized=True), regularizer_start_epoch=5.0),
        "term": classifier(small_network(normalized=True), regularizer=late),
        "plain": classifier(small_network(normalized=True), regularizer=None, regularizer_weight=None),
    }
    logged = {}
    for name, module in modules.items():
        fitting = trainer(tmp_path)
        says = contextlib.nullcontext()
        if name != "plain":
            told = "no step is regularized by some terms: interpretable_gradient begins at epoch 5, and the training"
            says = pytest.warns(CamtrainWarning, match=told)
        with says:
            fitting.fit(module, loader(), loader())
        logged[name] = {key: float(value) for key, value in fitting.callback_metrics.items()}
    for name in ("late", "term"):
        assert_same_weights(modules[name].network, modules["plain"].network)
        assert "train/loss_regularizer" not in logged[name]
        assert logged[name]["val/loss_regularizer"] > 0
        assert logged[name]["val/loss"] == logged[name]["val/loss_classification"]
    assert logged["late"]["val/loss_regularizer"] == logged["term"]["val/loss_regularizer"]


def test_a_term_that_ends_before_it_begins_is_named(tmp_path):
    """The classifier's own start comes later than that of the term."""
    regularizer = Sum([Term(GradientNorm(), end_epoch=1.0)])
    module = classifier(regularizer=regularizer, regularizer_start_epoch=1.0)

    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = True

    for max_epochs in (2, -1):
        with pytest.warns(CamtrainWarning, match="gradient_norm begins at epoch 1, and it ends at epoch 1"):
            trainer(tmp_path, max_epochs=max_epochs, callbacks=[Stops()]).fit(module, loader())


def test_what_the_user_freezes_stays_frozen(tmp_path):
    class Freezes(pl.Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.network[0].requires_grad_(False)

    module = classifier(regularizer=None, regularizer_weight=None)
    before = module.network[0].weight.detach().clone()
    trainer(tmp_path, callbacks=[Freezes()]).fit(module, loader())
    assert torch.equal(module.network[0].weight, before)


def test_validation_after_a_fit_is_of_its_own_images(tmp_path):
    """With a sampler that deals images out to processes; see `unrepeated`."""

    def dealt(count):
        data = samples(count)
        sampler = DistributedSampler(data, num_replicas=1, rank=0, shuffle=False)
        return DataLoader(data, batch_size=4, sampler=sampler)

    fitting, module = trainer(tmp_path), classifier(regularizer=None, regularizer_weight=None)
    fitting.fit(module, loader(), dealt(4))
    (found,) = fitting.validate(module, dealt(12))
    images, labels = samples(12).tensors
    with torch.no_grad():
        expected = float((module.network.eval()(images).argmax(1) == labels).float().mean())
        loss = float(F.cross_entropy(module.network(images), labels))
    assert found["val/accuracy"] == pytest.approx(expected)
    assert found["val/loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.filterwarnings("ignore:λ is still rising")
def test_validation_after_the_start_has_the_whole_weight(tmp_path):
    fitting = trainer(tmp_path)
    module = classifier(regularizer_weight=3.0, regularizer_start_epoch=0.5, regularizer_warmup_epochs=4.0)
    fitting.fit(module, loader(), loader())
    logged = {key: float(value) for key, value in fitting.callback_metrics.items()}
    expected = logged["val/loss_classification"] + 3 * logged["val/loss_regularizer"]
    assert logged["val/loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("summed", [False, True])
def test_the_losses_of_validation_do_not_depend_on_its_batches(tmp_path, summed):
    """One of four images has a mask: it alone counts for the penalty, in whichever batch it is."""
    regularizer = EnergyInside(annotation="masks", method="grad_cam", target_layer="3")
    if summed:
        regularizer = Sum([Term(regularizer, 2.0), Term(GradientNorm(), 0.5)])
    images, labels = loader(4).dataset.tensors
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[1, :4] = True
    logged = []
    for size in (1, 2, 4):
        batches = [
            Batch(images[start : start + size], labels[start : start + size], masks=masks[start : start + size])
            for start in range(0, 4, size)
        ]
        validating = trainer(tmp_path)
        module = classifier(regularizer=regularizer, regularizer_weight=3.0)
        validating.validate(module, DataLoader(batches, batch_size=None), verbose=False)
        logged.append({key: float(value) for key, value in validating.callback_metrics.items()})
    assert logged[0] == pytest.approx(logged[2], rel=1e-5)
    assert logged[1] == pytest.approx(logged[2], rel=1e-5)
    for found in logged:
        expected = found["val/loss_classification"] + 3 * found["val/loss_regularizer"]
        assert found["val/loss"] == pytest.approx(expected, rel=1e-5)
    if summed:
        of_terms = [logged[0][f"val/loss_regularizer/{name}"] for name in ("energy_inside", "gradient_norm")]
        assert logged[0]["val/loss_regularizer"] == pytest.approx(2 * of_terms[0] + 0.5 * of_terms[1], rel=1e-5)


@pytest.mark.parametrize("afresh", [False, True])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(("best", "is_late"), [(1, True), (2, False)])
def test_a_best_checkpoint_from_before_the_regularizer_began_is_said(tmp_path, recwarn, summed, best, is_late, afresh):
    """It begins after two of four epochs: the best of these is plain training. A new program that tests says so too."""
    faithful = MapFaithfulness(target_layer="3")
    terms = Sum([Term(faithful, 0.5, start_epoch=2.0), Term(GradientNorm(), 0.1)])
    late = {"regularizer": terms} if summed else {"regularizer": faithful, "regularizer_start_epoch": 2.0}
    module = classifier(**late, regularizer_weight=1.0)
    kept = ModelCheckpoint(tmp_path / "kept", "{epoch}", save_top_k=-1)
    fitting = trainer(tmp_path, max_epochs=4, enable_checkpointing=True, callbacks=[kept])
    fitting.fit(module, loader(), loader())
    if afresh:
        fitting, module = trainer(tmp_path), classifier(**late, regularizer_weight=1.0)
    fitting.test(
        module, loader(), ckpt_path=str(tmp_path / f"kept/epoch={best}.ckpt"), weights_only=True, verbose=False
    )
    told = "the checkpoint is of epoch 1, counted from 0, in which map_faithfulness (from epoch 2 on) had not begun"
    assert any(str(each.message).startswith(told) for each in recwarn) == is_late


@pytest.mark.filterwarnings("ignore:no step is regularized by some terms")
def test_what_a_regularizer_draws_in_validation_differs_by_batch_and_not_by_epoch(tmp_path):
    drawn = []

    class Drawing(GradientNorm):
        def forward(self, *args, **kwargs):
            if not module.training:
                drawn.append(float(torch.rand(())))
            return super().forward(*args, **kwargs)

    module = classifier(regularizer=Drawing(), regularizer_start_epoch=9.0)
    trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0).fit(module, loader(), loader())
    assert drawn[:3] == drawn[3:]
    assert len({*drawn}) == 3


@pytest.mark.parametrize("max_epochs", [-1, 9])
@pytest.mark.parametrize(("start", "is_named"), [(1.5, False), (2.0, True)])
def test_the_last_step_of_an_epoch_takes_the_batches_that_are_left(tmp_path, recwarn, max_epochs, start, is_named):
    """Five batches are two steps of four and one, so that four steps are two epochs."""
    module = classifier(regularizer_start_epoch=start)
    fitting = trainer(tmp_path, max_epochs=max_epochs, max_steps=4, accumulate_grad_batches=4)
    fitting.fit(module, loader(20))
    assert fitting.current_epoch == 2
    told = [str(each.message) for each in recwarn if "no step is regularized" in str(each.message)]
    assert ["begins at epoch 2, and the training ends after 2" in each for each in told] == [True] * is_named


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({"max_epochs": 1}, 0.8),
        ({"max_epochs": 3, "max_steps": 8}, 1.4),
        ({"max_epochs": -1, "max_steps": 3}, 0.4),
        ({"max_epochs": 2, "max_steps": 1, "accumulate_grad_batches": 3}, 0.4),
        ({"max_epochs": 2, "max_steps": 2, "accumulate_grad_batches": 3}, 0.8),
    ],
)
@pytest.mark.parametrize(
    ("later", "warmup", "why"), [(0.0, 0.0, ""), (0.1, 0.0, "its last step at"), (0.0, 1.0, "still 0")]
)
def test_a_term_after_the_last_step_takes_part_in_none(tmp_path, recwarn, settings, last, later, warmup, why):
    """Five batches to an epoch; where λ rises from the last step on, it is still 0 there."""
    module = classifier(regularizer_start_epoch=last + later, regularizer_warmup_epochs=warmup)
    used, epochs = [], []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            used.append(pl_module.objective.weight)
            epochs.append(pl_module.objective.epoch)

    trainer(tmp_path, callbacks=[Note()], **settings).fit(module, loader(20))
    assert epochs[-1] == last
    assert any(used) == (not why)
    told = [str(each.message) for each in recwarn if "no step is regularized" in str(each.message)]
    assert [why in each for each in told] == [True] * bool(why)


@pytest.mark.parametrize(
    ("warmup", "end", "told"),
    [
        (2.0, None, []),
        (4.0, None, ["interpretable_gradient reaches 48 % of its weight, at epoch 1.9"]),
        (2.0, 0.5, ["interpretable_gradient reaches 25 % of its weight, at epoch 0.5"]),
    ],
)
def test_a_weight_that_is_still_rising_at_the_end_is_told(tmp_path, recwarn, warmup, end, told):
    """Ten batches to an epoch, two epochs: the last step is at epoch 1.9, and 1.9 / 2 is enough."""
    terms = [Term(InterpretableGradient(), 1.0, end_epoch=end)]
    module = classifier(regularizer=Sum(terms), regularizer_weight=1.0, regularizer_warmup_epochs=warmup)
    trainer(tmp_path, max_epochs=2).fit(module, loader(40))
    found = [str(each.message) for each in recwarn if "is still rising" in str(each.message)]
    assert [each.split(": ")[1].split(". Let")[0] for each in found] == told


@pytest.mark.parametrize(
    ("settings", "limit", "is_named"),
    [
        ({"regularizer_warmup_epochs": 1.0}, None, True),
        ({"regularizer_warmup_epochs": 1.0}, 2, False),
        ({"regularizer_warmup_epochs": 1.0, "regularizer_weight": 0.0}, None, False),
        ({"regularizer_start_epoch": 0.5}, None, True),
        ({"regularizer_start_epoch": 1.0}, None, False),
    ],
)
def test_of_a_loader_of_unknown_length_it_is_said_when_the_weight_changes(tmp_path, recwarn, settings, limit, is_named):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(samples())

    module = classifier(**{"regularizer_weight": 1.0} | settings)
    limits = {} if limit is None else {"limit_train_batches": limit}
    trainer(tmp_path, max_epochs=2, **limits).fit(module, DataLoader(Stream(), batch_size=4))
    told = [str(each.message) for each in recwarn if "number of batches in an epoch is not known" in str(each.message)]
    assert len(told) == is_named


@pytest.mark.parametrize(
    ("interval", "total", "is_named"), [("epoch", 6, True), ("epoch", 2, False), ("step", 6, False)]
)
def test_a_schedule_of_steps_that_advances_by_epochs_is_told(tmp_path, recwarn, interval, total, is_named):
    module = classifier(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=total),
        lr_scheduler_interval=interval,
    )
    trainer(tmp_path, max_epochs=2).fit(module, loader(12))
    told = [str(each.message) for each in recwarn if "`lr_scheduler_interval`: OneCycleLR has 6" in str(each.message)]
    assert len(told) == is_named


def test_images_of_pixels_are_named_in_prediction(tmp_path):
    images = (torch.rand(4, 3, 8, 8) * 255).to(torch.uint8)
    with pytest.raises(TypeError, match=r"`images`: expected .* got torch\.uint8"):
        trainer(tmp_path).predict(
            classifier(), DataLoader(TensorDataset(images, torch.zeros(4, dtype=torch.long)), batch_size=4)
        )


def test_the_learning_rate_of_each_epoch_is_logged(tmp_path):
    logged = []

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            logged.append(float(trainer.callback_metrics["train/learning_rate"]))

    module = classifier(lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5))
    trainer(tmp_path, max_epochs=3, callbacks=[Note()]).fit(module, loader(), loader())
    assert logged == pytest.approx([0.1, 0.05, 0.025])


def test_lightnings_finetuning_freezes_all_but_the_head_until_its_epoch(tmp_path):
    module = classifier()
    head = module.network[-1]
    before, after = flat_weights(module.network[:-1]), {}

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            after[trainer.current_epoch] = flat_weights(module.network[:-1]), flat_weights(head)

    begun = flat_weights(head)
    finetuning = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.01)
    trainer(tmp_path, max_epochs=2, callbacks=[finetuning, Note()]).fit(module, loader(), loader())
    assert torch.equal(after[0][0], before)
    assert not torch.equal(after[0][1], begun)
    assert not torch.equal(after[1][0], before)


@pytest.mark.filterwarnings("ignore:λ is still rising")  # at the end of the first part
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    def settings():
        # Momentum and a schedule, so that their state must be resumed too.
        return {
            "optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
            "lr_scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
            "regularizer_warmup_epochs": 2.0,
        }

    whole, first, second = (classifier(small_network(normalized=True), **settings()) for _ in range(3))
    trainer(tmp_path, max_epochs=3).fit(whole, loader())
    interrupted = trainer(tmp_path, max_epochs=1)
    interrupted.fit(first, loader())
    interrupted.save_checkpoint(tmp_path / "interrupted.ckpt")
    trainer(tmp_path, max_epochs=3).fit(second, loader(), ckpt_path=tmp_path / "interrupted.ckpt", weights_only=True)
    assert_same_weights(whole.network, second.network)


def test_a_resumed_run_continues_the_phase_of_lazy_regularization(tmp_path):
    seen = {}

    class Record(pl.Callback):
        def __init__(self, run):
            self.steps = seen.setdefault(run, [])

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.steps.append(int(pl_module.objective.get_extra_state()))

    def lazy():
        return classifier(small_network(normalized=True), regularizer_every_n_steps=2)

    whole, first, second = lazy(), lazy(), lazy()
    trainer(tmp_path, max_epochs=3, callbacks=[Record("whole")]).fit(whole, loader())
    interrupted = trainer(tmp_path, max_epochs=1, callbacks=[Record("first")])
    interrupted.fit(first, loader())  # three batches: the next one is in the middle of a period
    interrupted.save_checkpoint(tmp_path / "interrupted.ckpt")
    resumed = trainer(tmp_path, max_epochs=3, callbacks=[Record("second")])
    resumed.fit(second, loader(), ckpt_path=tmp_path / "interrupted.ckpt", weights_only=True)
    assert seen == {"whole": [0, 1, 0, 1, 0, 1, 0, 1, 0], "first": [0, 1, 0], "second": [1, 0, 1, 0, 1, 0]}
    assert_same_weights(whole.network, second.network)


def test_what_the_engine_did_is_logged(tmp_path):
    fitting = trainer(tmp_path)
    fitting.fit(classifier(engine=FrozenGates()), loader())
    logged = fitting.callback_metrics
    assert 0 <= logged["train/engine/two_terms"] <= 1
    assert logged["train/engine/step"] > 0
    assert logged["train/engine/floored"] == 0


def test_a_checkpoint_made_in_python_loads_with_weights_only(tmp_path):
    by_name = Classifier("cifar_resnet8", CLASSES, regularizer=InterpretableGradient(), regularizer_weight=0.1)
    own = classifier()
    for name, module in (("by_name", by_name), ("own", own)):
        fitting = trainer(tmp_path)
        fitting.fit(module, loader())
        fitting.save_checkpoint(tmp_path / f"{name}.ckpt")
    with pytest.warns(UserWarning, match="trained with InterpretableGradient, and this classifier has no regularizer"):
        loaded = Classifier.load_from_checkpoint(tmp_path / "by_name.ckpt", weights_only=True)
    assert_same_weights(loaded.network, by_name.network)
    objects = {"network": small_network(), "regularizer": InterpretableGradient()}
    loaded = Classifier.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True, **objects)
    assert_same_weights(loaded.network, own.network)


class BrokenAt(nn.Module):
    """A network whose logits become NaN at one call."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.network, self.calls, self.call = small_network(), 0, call

    def forward(self, images):
        self.calls += 1
        return self.network(images) * (math.nan if self.calls == self.call else 1.0)


def test_nan_names_term_and_batch_and_the_last_checkpoint_survives(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, filename="last_good")
    module = classifier(BrokenAt(call=5), regularizer=None, regularizer_weight=None)
    fitting = trainer(tmp_path, max_epochs=3, callbacks=[checkpoints], enable_checkpointing=True)
    with pytest.raises(NonFiniteLossError, match=r"L_C is nan in train batch 1 of epoch 1 .*last_good\.ckpt"):
        fitting.fit(module, loader())
    saved = torch.load(tmp_path / "last_good.ckpt", weights_only=True)
    assert saved["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values() if value.is_floating_point())


def test_a_broken_regularizer_is_named(tmp_path):
    class Broken(InterpretableGradient):
        def forward(self, gradients, guided_gradients, *, boxes=None, masks=None):
            return gradients.flatten(1).sum(1) * math.nan

    with pytest.raises(NonFiniteLossError, match="L_R is nan in train batch 0 of epoch 0"):
        trainer(tmp_path).fit(classifier(regularizer=Broken()), loader())


def test_broken_parameters_are_not_saved(tmp_path):
    class Exploding(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(math.inf)

    def explode(parameters):
        return Exploding(parameters, lr=0.1)

    checkpoints = ModelCheckpoint(tmp_path, filename="broken")
    fitting = trainer(tmp_path, callbacks=[checkpoints], enable_checkpointing=True, limit_train_batches=1)
    with pytest.raises(NonFiniteLossError, match=r"parameter 0\.weight is not finite after epoch 0"):
        fitting.fit(classifier(optimizer=explode), loader(), loader())
    assert not list(tmp_path.glob("*.ckpt"))


def test_annotations_reach_the_regularizer(tmp_path):
    seen = []

    class Record(InterpretableGradient):
        def forward(self, gradients, guided_gradients, *, boxes=None, masks=None):
            seen.append((boxes, masks))
            return super().forward(gradients, guided_gradients)

    images, labels = samples(2).tensors
    batch = Batch(images, labels, [torch.tensor([[0.0, 0, 1, 1]])] * 2, torch.ones(2, 8, 8, dtype=torch.bool))
    trainer(tmp_path).fit(classifier(regularizer=Record()), DataLoader([batch], batch_size=None))
    assert len(seen[0][0]) == 2
    assert seen[0][1].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regularizer_weight": -0.1}, "`regularizer_weight`: expected a finite number of at least 0, got -0.1"),
        ({"regularizer_weight": math.nan}, "`regularizer_weight`"),
        ({"regularizer": None}, "`regularizer_weight`: expected 0 or None without a regularizer, got 1.0"),
        ({"regularizer_start_epoch": math.inf}, "`regularizer_start_epoch`: expected a finite number of at le"),
        ({"regularizer_warmup_epochs": -1.0}, "`regularizer_warmup_epochs`"),
        ({"gradient_share_every_n_steps": -1}, "`gradient_share_every_n_steps`"),
        ({"label_smoothing": 2.0}, "`label_smoothing`"),
        (
            {"classification_loss": "hinge"},
            "`classification_loss`: no loss is called 'hinge'; there are 'cross_entropy', 'binary_cross_entropy'",
        ),
        ({"regularizer_every_n_steps": 0}, "`regularizer_every_n_steps`"),
        ({"stem": "small"}, "`stem` and `weights`"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        classifier(**settings)


def test_binary_cross_entropy_is_trained_measured_and_kept_in_the_checkpoint(tmp_path):
    def by_hand(network, labels):
        logits = network(samples().tensors[0])
        targets = F.one_hot(labels, CLASSES).float()
        return -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).sum(dim=1).mean()

    labels, network = samples().tensors[1], small_network()
    twin = copy.deepcopy(network)
    module = Classifier(network, CLASSES, classification_loss="binary_cross_entropy", optimizer=sgd)
    fitting = trainer(tmp_path)
    fitting.fit(module, loader(batch_size=12))
    by_hand(twin, labels).backward()
    for found, before in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, before - 0.1 * before.grad)
    (logged,) = fitting.validate(module, loader(), verbose=False)
    assert logged["val/loss_classification"] == pytest.approx(by_hand(network, labels).item())

    fitting.save_checkpoint(tmp_path / "binary.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "binary.ckpt", weights_only=True, network=small_network())
    assert loaded.objective.loss_name == "binary_cross_entropy"
    probabilities = torch.cat(fitting.predict(module, loader()))
    torch.testing.assert_close(probabilities, network(samples().tensors[0]).softmax(dim=1))


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(ValueError, match=r"'resnet81'; did you mean 'resnet18'"):
        Classifier("resnet81", 10)


def test_a_label_out_of_range_is_named(tmp_path):
    images, labels = samples(4).tensors
    with pytest.raises(ValueError, match="`labels`: expected classes from 0 to 2, got 7"):
        trainer(tmp_path).fit(classifier(), DataLoader(TensorDataset(images, labels + 7), batch_size=4))


def test_images_alone_cannot_be_trained_on(tmp_path):
    with pytest.raises(ValueError, match="expected images with labels"):
        trainer(tmp_path).fit(classifier(), DataLoader(samples(4).tensors[0], batch_size=4))


def test_terms_their_counts_and_scales_are_logged(tmp_path):
    """Of 12 training images 3 are annotated, and of the validation images those of one batch."""
    data = samples()
    images, labels = data.tensors
    masks = torch.zeros(12, 8, 8, dtype=torch.bool)
    masks[[0, 1, 6], 2:6, 2:6] = True
    batches = [Batch(images[i : i + 4], labels[i : i + 4], masks=masks[i : i + 4]) for i in (0, 4, 8)]
    regularizer = Sum([Term(RightForRightReasons(), 0.5), Term(InterpretableGradient(), 0.1)])
    module = classifier(
        regularizer=regularizer, regularizer_balance_steps=1, optimizer=lambda p: torch.optim.SGD(p, 1e-12)
    )
    run = trainer(tmp_path)
    run.fit(module, DataLoader(batches, batch_size=None), DataLoader(batches, batch_size=None))
    logged = {key: float(value) for key, value in run.callback_metrics.items()}
    assert logged["train/regularizer_counted/right_for_right_reasons"] == pytest.approx(1 / 4)  # two batches, 3 of 8
    assert logged["train/regularizer_counted/interpretable_gradient"] == 1.0
    records = module.objective.records
    assert logged["train/regularizer_scale/interpretable_gradient"] == pytest.approx(
        records["interpretable_gradient"].scale
    )
    leaf = images.clone().requires_grad_()
    module.network.eval()
    (gradients,) = torch.autograd.grad(F.log_softmax(module.network(leaf), 1).sum(), leaf)
    outside = (gradients * ~masks.unsqueeze(1)).square().sum((1, 2, 3))
    expected = outside[[0, 1, 6]].mean()
    assert logged["val/loss_regularizer/right_for_right_reasons"] == pytest.approx(float(expected), rel=1e-4)


def test_a_term_that_never_acts_is_said_once(tmp_path):
    images, labels = samples().tensors
    batch = Batch(images, labels, masks=torch.zeros(12, 8, 8, dtype=torch.bool))
    module = classifier(regularizer=EnergyInside(target_layer="4"))
    with pytest.warns(CamtrainWarning, match="epoch 0 energy_inside did not act: none of 12 images has boxes") as said:
        trainer(tmp_path, max_epochs=2).fit(module, DataLoader([batch], batch_size=None))
    assert len([each for each in said if issubclass(each.category, CamtrainWarning)]) == 1


def test_flat_maps_are_logged_and_said(tmp_path):
    images, labels = samples().tensors
    batch = Batch(images, labels, masks=torch.ones(12, 8, 8, dtype=torch.bool))
    module = classifier(regularizer=EnergyInside(target_layer="4"), optimizer=lambda p: torch.optim.SGD(p, 1e-12))
    with torch.no_grad():
        module.network[7].weight[0] = -1  # the features, which are not negative, speak against the first class
    run = trainer(tmp_path)
    with pytest.warns(CamtrainWarning, match=r"energy_inside: \d+ % of the maps have no positive value"):
        run.fit(module, DataLoader([batch], batch_size=None))
    flat = (GradCAM(module.network, "4")(images, labels).flatten(1).amax(1) == 0).float().mean()
    assert flat >= 1 / 3
    assert float(run.callback_metrics["train/flat_maps/energy_inside"]) == pytest.approx(float(flat))


def test_numbers_of_a_training_are_logged_once_in_an_epoch(tmp_path):
    """Lightning's `log` takes longer than a small network for an image."""
    logged = []

    class Noted(Classifier):
        def log(self, name, *args, **kwargs):
            logged.append((self.current_epoch, name))
            super().log(name, *args, **kwargs)

    fitting = trainer(tmp_path, max_epochs=2)
    fitting.fit(
        Noted(small_network(), CLASSES, regularizer=InterpretableGradient(), gradient_share_every_n_steps=1), loader()
    )
    assert len(set(logged)) == len(logged)
    names = {name for epoch, name in logged if epoch == 1}
    assert {"train/loss", "train/accuracy", "train/gradient_share", "train/regularizer_weight"} <= names


@pytest.mark.parametrize("settings", [{}, {"limit_train_batches": 2}, {"max_steps": 4}, {"val_check_interval": 2}])
def test_callbacks_find_the_numbers_of_an_epoch_at_its_end(tmp_path, settings):
    """Also of one that is stopped in its middle, of which the checkpoint and the table find them."""
    means, found, losses = [], [], []

    class Noted(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            losses.append(float(loss.detach()))
            return loss

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            found.append(dict(trainer.callback_metrics))
            means.append(sum(losses) / len(losses))
            losses.clear()

    torch.manual_seed(0)
    fitting = trainer(tmp_path, max_epochs=2, callbacks=[Note()], **settings)
    fitting.fit(Noted(small_network(), CLASSES), loader(), loader())
    is_cut = "max_steps" in settings
    found = [*found[:-1], dict(fitting.callback_metrics)] if is_cut else found
    assert [float(each["train/loss"]) for each in found] == pytest.approx(means, rel=1e-5)
    assert all(0 <= each["train/accuracy"] <= 1 for each in found)
