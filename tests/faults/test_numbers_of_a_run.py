"""Numbers that a training would take without a word, though they mean nothing."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_lightning.cli import ReduceLROnPlateau
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from camtrain import Classifier
from camtrain.callbacks import FaithfulnessScores, LocalizationScores
from camtrain.gradients import FrozenGates
from camtrain.regularizers import AttentionMining, MapConsistency
from camtrain.runs import RunSettings
from camtrain.runs.run_settings import check_run_name
from camtrain.runs.trainer_settings import check_trainer_settings

POSITIVE = ("num_nodes", "check_val_every_n_epoch", "accumulate_grad_batches")
COUNTS = ("log_every_n_steps", "reload_dataloaders_every_n_epochs", "min_epochs", "min_steps", "fast_dev_run")
BATCHES = ("limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches")
WRONG = {
    **dict.fromkeys(POSITIVE, (-1, 0)),
    **dict.fromkeys(COUNTS, (-1,)),
    **dict.fromkeys(BATCHES, (-1, -0.5, 1.5, math.inf, math.nan)),
    **dict.fromkeys(("limit_train_batches", "val_check_interval"), (-1, 0, 0.0, 1.5, math.inf, math.nan)),
    **dict.fromkeys(("max_epochs", "max_steps"), (-5, -2, 0)),
    "num_sanity_val_steps": (-2,),
    "gradient_clip_val": (-1, -0.1, math.inf, math.nan),
    "max_time": ("00:00:00:00", {"hours": 0}, {"hours": -1}),
}
RIGHT = {
    **dict.fromkeys(POSITIVE, (1, 10**20)),
    **dict.fromkeys(COUNTS, (0, 3)),
    **dict.fromkeys(BATCHES, (0, 1, 0.0, 0.5, 1.0)),
    **dict.fromkeys(("limit_train_batches", "val_check_interval"), (1, 0.1, 1.0)),
    **dict.fromkeys(("max_epochs", "max_steps"), (-1, 1)),
    "num_sanity_val_steps": (-1, 0, 2),
    "gradient_clip_val": (0, 0.5, 3),
    "max_time": ("00:01:00:00", {"hours": 1}),
    "devices": ("auto", 1),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_numbers_of_the_trainer(name, value):
    with pytest.raises(ValueError, match=rf"`trainer\.{name}`: expected .*, got "):
        check_trainer_settings({"callbacks": None, name: value})


def test_numbers_of_the_trainer_that_mean_something():
    for name, values in RIGHT.items():
        for value in (None, *values):
            check_trainer_settings({name: value})
    with pytest.raises(ValueError, match=r"`trainer.min_epochs`: expected at most max_epochs = 2, got 3"):
        check_trainer_settings({"min_epochs": 3, "max_epochs": 2})
    check_trainer_settings({"min_steps": 3, "max_steps": -1})


def optimizers(optimizer, lr_scheduler=None):
    classifier = Classifier("cifar_resnet8", 10, optimizer=optimizer, lr_scheduler=lr_scheduler)
    return classifier.configure_optimizers()


def sgd(**settings):
    return lambda parameters: SGD(parameters, **{"lr": 0.1, **settings})


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (sgd(lr=-1), "Invalid learning rate"),
        (sgd(lr=math.inf), "`optimizer`: expected finite numbers, got SGD with lr = inf"),
        (sgd(lr=math.nan), "`optimizer`: expected finite numbers, got SGD with lr = nan"),
        (sgd(lr=torch.tensor(math.inf)), "`optimizer`: expected finite numbers, got SGD with lr = inf"),
        (sgd(weight_decay=math.inf), "`optimizer`: expected finite numbers, got SGD with weight_decay = inf"),
        (sgd(momentum=math.nan), "`optimizer`: expected finite numbers, got SGD with momentum = nan"),
        (lambda p: Adam(p, eps=math.inf), "`optimizer`: expected finite numbers, got Adam with eps = inf"),
    ],
)
def test_numbers_of_optimizers(optimizer, message):
    with pytest.raises(ValueError, match=message):
        optimizers(optimizer)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda o: StepLR(o, step_size=0), "expected a positive number, got StepLR with step_size = 0"),
        (lambda o: StepLR(o, step_size=-3), "expected a positive number, got StepLR with step_size = -3"),
        (lambda o: StepLR(o, 1, gamma=-0.1), "expected learning rates of at least 0, got StepLR with -0.01"),
        (lambda o: StepLR(o, 1, gamma=math.nan), "expected finite numbers, got StepLR with gamma = nan"),
        (lambda o: ExponentialLR(o, math.inf), "expected finite numbers, got ExponentialLR with gamma"),
        (lambda o: CosineAnnealingLR(o, T_max=0), "expected a positive number, got CosineAnnealingLR with T_max = 0"),
        (lambda o: ChainedScheduler([StepLR(o, 0)]), "expected a positive number, got StepLR with step_size = 0"),
        (lambda o: MultiStepLR(o, [2], gamma=math.nan), "expected finite numbers, got MultiStepLR with gamma = nan"),
        (lambda o: ReduceLROnPlateau(o, "val/loss", factor=math.nan), "got ReduceLROnPlateau with factor = nan"),
    ],
)
def test_numbers_of_schedules(schedule, message):
    with pytest.raises(ValueError, match=f"`lr_scheduler`: .*{message}"):
        optimizers(sgd(), schedule)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: StepLR(o, 2),
        lambda o: CosineAnnealingLR(o, 3),
        lambda o: OneCycleLR(o, 0.1, total_steps=1),
        lambda o: SequentialLR(o, [LinearLR(o), StepLR(o, 2)], [1]),
        lambda o: ReduceLROnPlateau(o, "val/loss"),
        lambda o: ReduceLROnPlateau(o, "val/accuracy", mode="max"),
    ],
)
def test_schedules_are_used_as_they_are_made(schedule):
    """What is tried is another one: the first step of training has the first learning rate."""
    found = optimizers(sgd(), schedule)
    fresh = SGD([torch.zeros(1)], lr=0.1)
    schedule(fresh)
    assert found["optimizer"].param_groups[0]["lr"] == fresh.param_groups[0]["lr"]
    assert found["lr_scheduler"]["scheduler"].last_epoch == 0


NAMES = [
    *("", " ", ".", "..", "../../outside", "a/../../b", "/absolute", "a//b", "a/", "C:/x", "a\\..\\b"),
    *("a\0b", "a\nb", "n" * 201, "é" * 150, "x" * 5000),
]


@pytest.mark.parametrize("name", NAMES, ids=[repr(name[:12]) for name in NAMES])
def test_names_that_lead_out_of_the_folder_of_all_runs(name):
    with pytest.raises(ValueError, match=r"`run\.name`: expected a name") as raised:
        RunSettings(name=name)
    assert len(str(raised.value)) < 500


def test_names_of_runs():
    for name in ("plain", "study/plain_seed0", "regularizer_weight=0,seed=1", "..hidden", "ü b", "n" * 200):
        check_run_name(name)
    assert RunSettings(folder="/anywhere/../else").name is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: AttentionMining(mask_weight=math.inf), "`mask_weight`: expected a finite number"),
        (lambda: AttentionMining(sharpness=math.inf), "`sharpness`: expected a positive, finite number, got inf"),
        (lambda: MapConsistency(temperature=math.inf), "`temperature`: expected a positive, finite number, got inf"),
        (lambda: FrozenGates(step=math.inf), "`step`: expected a positive, finite number, got inf"),
        (lambda: LocalizationScores(max_batch=-1), "`max_batch`: expected a positive integer, got -1"),
        (lambda: FaithfulnessScores(max_batch=0), "`max_batch`: expected a positive integer, got 0"),
        (lambda: Classifier("cifar_resnet8", 10, regularizer_weight=-1), "`regularizer_weight`: expected a fin"),
        (lambda: Classifier("cifar_resnet8", 10, label_smoothing=math.nan), "`label_smoothing`: expected "),
    ],
)
def test_numbers_of_regularizers_engines_and_callbacks(function, message):
    with pytest.raises(ValueError, match=message):
        function()
