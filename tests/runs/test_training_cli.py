"""The commands, their files and their messages, as a user sees them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from camtrain import Classifier
from camtrain.batch import Batch
from camtrain.cli import main
from camtrain.data import DecoyDigits
from camtrain.networks.checkpoint_file import CHECKSUM, checksum_of
from camtrain.runs.run_lock import RunLock
from tests.offline_run import OfflineRun

# A run that goes on from another's checkpoint has a folder of its own, and Lightning says so.
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")

SMALL = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
  regularizer: {class_path: camtrain.regularizers.InterpretableGradient}
  regularizer_weight: 0.1
data:
  class_path: camtrain.data.DecoyDigits
  init_args: {batch_size: 16}
trainer:
  max_epochs: 2
  limit_train_batches: 2
  limit_val_batches: 2
  limit_test_batches: 2
  accelerator: cpu
  enable_progress_bar: false
cam_logger: {num_images: 2}
"""
# Without maps and their scores, for tests of what is trained.
QUIET = [
    word
    for name in ("cam_logger", "faithfulness_scores", "localization_scores")
    for word in (f"--{name}.num_images", "0")
]


@pytest.fixture
def camtrain(monkeypatch, tmp_path):
    """Runs `camtrain <words>` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["camtrain", *words])
        main()

    return run


@pytest.fixture
def refused(camtrain, capsys):
    """Runs `camtrain <words>`, which must fail, and returns what it says."""

    def run(*words: str, status: int = 2) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            camtrain(*words)
        assert stop.value.code == status
        return capsys.readouterr().err

    return run


def test_fit_leaves_a_run_that_can_be_read_back(camtrain, capsys):
    camtrain("fit", "--config", "small.yaml")
    run = Path("runs/small/version_0")
    printed = capsys.readouterr().out
    for name in (
        "accuracy",
        "classification L_C",
        "regularizer L_R",
        "energy, grad_cam",
        "IoU at 25 %, grad_cam",
        str(run),
    ):
        assert name in printed

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["regularizer_weight"] == 0.1
    assert config["seed_everything"] == 0
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/accuracy"]]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert (run / "panels/val_epoch_1.png").stat().st_size > 1000
    assert (run / "panels/test.png").exists()
    assert (run / "checkpoints/last.ckpt").exists()

    scores = json.loads((run / "scores.json").read_text())
    checkpoint = next((run / "checkpoints").glob("epoch_*.ckpt"))
    capsys.readouterr()
    camtrain("test", "--config", "small.yaml", "--ckpt_path", str(checkpoint), "--run.wandb", "disabled")
    again = json.loads(Path("runs/small/version_1/scores.json").read_text())
    assert again["test/accuracy"] == scores["test/accuracy"]
    assert again["test/loss_regularizer"] == pytest.approx(scores["test/loss_regularizer"], rel=1e-5)
    assert not Path("runs/small/version_1/wandb").exists()

    loaded = Classifier.load_from_checkpoint(checkpoint, weights_only=True).eval()
    assert loaded.objective.weight == 0.1
    data = DecoyDigits(batch_size=16)
    data.setup("test")
    right = []
    for batch, _ in zip(data.test_dataloader(), range(2), strict=False):
        assert isinstance(batch, Batch)
        right.append(loaded(batch.images).argmax(1) == batch.labels)
    assert torch.cat(right).float().mean().item() == pytest.approx(scores["test/accuracy"])


def test_the_wandb_run_holds_configuration_metrics_panels_and_scores(camtrain):
    camtrain("fit", "--config", "small.yaml", "--run.group", "study")
    (folder,) = Path("runs/small/version_0/wandb").glob("offline-run-*")
    recorded = OfflineRun(folder)
    assert recorded.config["model"]["regularizer"]["init_args"]["distance"] == "cosine"
    assert recorded.config["data"]["init_args"]["batch_size"] == 16
    by_epoch = {row["epoch"]: row for row in recorded.history if "val/accuracy" in row}
    assert sorted(by_epoch) == [0, 1]
    for name in ("val/loss_regularizer", "val/energy_pointing_game/grad_cam", "val/localization_iou_25/grad_cam"):
        assert 0 <= by_epoch[1][name] <= 2
    panels = [row["val/panels"] for row in recorded.history if "val/panels" in row]
    assert len(panels) == 2
    assert panels[0]["count"] == 2
    assert (folder / "files" / panels[0]["filenames"][0]).exists()
    scores = json.loads(Path("runs/small/version_0/scores.json").read_text())
    assert recorded.summary["test/accuracy"] == pytest.approx(scores["test/accuracy"])
    assert any(row.get("scores", {}).get("_type") == "table-file" for row in recorded.history)


def test_callbacks_and_evaluate_say_the_same_of_the_same_images(camtrain):
    """Also with another number of images in a batch, and the maps of labels in both."""
    both = ["faithfulness_scores", "localization_scores"]
    chosen = {"num_images": "6", "methods": "[grad_cam, layer_cam]"}
    words = [word for name in both for key, value in chosen.items() for word in (f"--{name}.{key}", value)]
    metrics = ["average_drop", "insertion_auc", "deletion_auc", "localization_iou_25", "energy_pointing_game"]
    words += ["--faithfulness_scores.class_of", "label", "--faithfulness_scores.num_steps", "6"]
    camtrain("fit", "--config", "small.yaml", "--trainer.max_epochs", "1", "--run.wandb", "disabled", *words)
    logged = json.loads(Path("runs/small/version_0/scores.json").read_text())
    (best,) = Path("runs/small/version_0/checkpoints").glob("epoch_*.ckpt")
    for split, stage in (("test", "test"), ("val", "val")):
        asked = ["--methods", "grad_cam,layer_cam", "--metrics", ",".join(metrics), "--class-of", "label"]
        images = ["--split", split, "--limit", "6", "--batch-size", "4", "--steps", "6", "--panels", "0"]
        camtrain("evaluate", "--checkpoint", str(best), *asked, *images, "--out", f"evaluated_{split}")
        with Path(f"evaluated_{split}/scores.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                expected = logged[f"{stage}/{row['metric']}/{row['method']}"]
                assert float(row["score"]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_run_can_be_resumed(camtrain):
    camtrain("fit", "--config", "small.yaml", *QUIET, "--trainer.max_epochs", "1", "--run.wandb", "disabled")
    last = "runs/small/version_0/checkpoints/last.ckpt"
    camtrain("fit", "--config", "small.yaml", *QUIET, "--ckpt_path", last, "--run.wandb", "disabled")
    with Path("runs/small/version_1/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["train/loss"]] == ["1"]


def test_a_run_that_is_being_trained_is_not_gone_on_with(camtrain, monkeypatch, capsys):
    words = ["fit", "--config", "small.yaml", *QUIET, "--trainer.max_epochs", "1", "--run.wandb", "disabled"]
    camtrain(*words)
    before = Path("runs/small/version_0/metrics.csv").read_bytes()
    monkeypatch.setattr("camtrain.runs.run_lock._PATIENCE", 0.1)
    with RunLock() as other:
        other.take(Path("runs/small/version_0"))
        with pytest.raises(SystemExit, match="2"):
            camtrain(*words, "--run.resume", "true")
    assert "`run.resume`: runs/small/version_0 is being trained by another process; wait" in capsys.readouterr().err
    assert Path("runs/small/version_0/metrics.csv").read_bytes() == before


@pytest.mark.slow  # a resumed run, which has to come to the same numbers, is tested below
def test_the_same_seed_gives_the_same_run(camtrain):
    for version in range(2):
        camtrain("fit", "--config", "small.yaml", "--run.wandb", "disabled", "--run.name", "same")
        assert Path(f"runs/same/version_{version}/scores.json").exists()
    first, second = (json.loads(Path(f"runs/same/version_{v}/scores.json").read_text()) for v in range(2))
    cost = {"train/seconds_per_step", "train/processor_seconds_per_step", "train/peak_memory_mib"}
    assert cost <= first.keys()
    assert {key: first[key] for key in first.keys() - cost} == {key: second[key] for key in second.keys() - cost}


UNTRAINED = pytest.mark.filterwarnings("ignore:.*the network has its initial weights")


@UNTRAINED
@pytest.mark.parametrize("command", ["validate", "predict"])
def test_other_commands_run(camtrain, command, capsys):
    camtrain(command, "--config", "small.yaml", "--run.wandb", "disabled", "--trainer.limit_predict_batches", "1")
    panel = {"validate": "val", "predict": "predict"}[command]
    assert Path(f"runs/small/version_0/panels/{panel}.png").exists()


def test_untrained_weights_are_not_scored_without_a_word(camtrain):
    with pytest.warns(UserWarning, match="camtrain test without --ckpt_path: the network has its initial weights"):
        camtrain("test", "--config", "small.yaml", "--run.wandb", "disabled")


def test_the_last_checkpoint_is_of_the_last_epoch(camtrain):
    # The learning rate is zero: no epoch after the first is better than it.
    camtrain("fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--model.optimizer.lr", "0")
    checkpoints = Path("runs/small/version_0/checkpoints")
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 1
    assert [path.name for path in checkpoints.glob("epoch_*")] == ["epoch_000.ckpt"]


def test_settings_beside_a_checkpoint_are_those_that_were_asked_for(camtrain):
    camtrain("fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--trainer.max_epochs", "1")
    last = "runs/small/version_0/checkpoints/last.ckpt"
    camtrain("fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--ckpt_path", last,
             "--model.regularizer_weight", "0")  # fmt: skip
    config = yaml.safe_load(Path("runs/small/version_1/config.yaml").read_text())
    assert config["model"]["regularizer_weight"] == 0
    with Path("runs/small/version_1/metrics.csv").open() as file:
        assert {row.get("train/loss_regularizer") or "" for row in csv.DictReader(file)} == {""}


@pytest.mark.slow
def test_the_quickstart_schedule_follows_the_number_of_epochs(camtrain, monkeypatch):
    config = Path(__file__).parents[2] / "configs/quickstart.yaml"
    periods = []
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR

    def record(self, optimizer, T_max, *rest, **settings):  # noqa: N803
        periods.append(T_max)
        return original(self, optimizer, T_max, *rest, **settings)

    original = schedule.__init__
    monkeypatch.setattr(schedule, "__init__", record)
    camtrain("fit", "--config", str(config), "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "1",
             "--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1", "--run.wandb", "disabled",
             "--cam_logger.num_images", "0")  # fmt: skip
    assert set(periods) == {3}  # it is tried before it is used
    assert Path("runs/quickstart/version_0").is_dir()


def test_a_network_without_a_layer_to_explain_still_trains(camtrain):
    Path("flat.py").write_text("""
from torch import nn

class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 10))
""")
    lines = [line for line in SMALL.splitlines() if "regularizer" not in line and "network" not in line]
    Path("flat.yaml").write_text("\n".join(lines).replace("model:", "model:\n  network: {class_path: flat.Flat}"))
    with pytest.warns(UserWarning, match="it is idle. `target_layer`"):
        camtrain("fit", "--config", "flat.yaml", "--run.wandb", "disabled")
    assert "test/accuracy" in json.loads(Path("runs/flat/version_0/scores.json").read_text())


def test_a_network_of_other_classes_is_named(refused):
    words = ["fit", "--config", "small.yaml", "--model.network.num_classes", "12", "--run.wandb", "disabled"]
    line = "camtrain fit: error: `network`: expected logits of `num_classes` = 10 classes, got 12"
    assert refused(*words, status=1).splitlines()[-1] == line
    assert not Path("runs").exists()


@UNTRAINED
def test_predictions_are_written(camtrain):
    camtrain("predict", "--config", "small.yaml", "--run.wandb", "disabled", "--trainer.limit_predict_batches", "2")
    with Path("runs/small/version_0/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(32))
    for row in rows:
        probabilities = [float(row[f"probability_{name}"]) for name in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert row["predicted_class"] == str(max(range(10), key=lambda k: probabilities[k]))


def test_options_are_explained(camtrain, capsys):
    with pytest.raises(SystemExit):
        camtrain("fit", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "The penalty L_R; null is plain training" in text
    assert "`offline` writes a run that can be synced later" in text
    assert "The number of images that have a panel" in text


def test_the_resolved_configuration_is_printed(camtrain, capsys, monkeypatch):
    monkeypatch.setenv("LAMBDA", "0.25")
    Path("env.yaml").write_text(SMALL.replace("regularizer_weight: 0.1", "regularizer_weight: ${oc.env:LAMBDA}"))
    with pytest.raises(SystemExit):
        camtrain("fit", "--config", "env.yaml", "--print_config")
    assert yaml.safe_load(capsys.readouterr().out)["model"]["network"]["init_args"]["depth"] == 8


def test_own_network_regularizer_and_data_by_class_path(camtrain):
    Path("my_code.py").write_text("""
import pytorch_lightning as pl, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from camtrain.regularizers import InputGradientRegularizer, MapRegularizer

class Net(nn.Module):
    def __init__(self, width: int = 2):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                    nn.Linear(width, 4))
    def forward(self, images):
        return self.layers(images)

class GradientNorm(InputGradientRegularizer):
    def forward(self, gradients, guided_gradients, *, boxes=None, masks=None):
        return gradients.flatten(1).square().sum(1)

class UpperHalf(MapRegularizer):
    def __init__(self, rows: int, **settings):
        super().__init__(**settings)
        self.rows = rows

    def forward(self, cams, regions=None):
        return cams[:, self.rows:].mean((1, 2)) / cams.mean((1, 2)).clamp(min=1e-6)

class Data(pl.LightningDataModule):
    num_classes = 4
    def _loader(self):
        return DataLoader(TensorDataset(torch.rand(8, 3, 8, 8), torch.arange(8) % 4), batch_size=4)
    train_dataloader = val_dataloader = test_dataloader = _loader
""")
    Path("own.yaml").write_text("""
model:
  network: {class_path: my_code.Net, init_args: {width: 3}}
  regularizer:
    class_path: camtrain.regularizers.Sum
    init_args:
      terms:
        - regularizer: {class_path: my_code.GradientNorm}
          weight: 2.0
        - regularizer: {class_path: my_code.UpperHalf, init_args: {rows: 4, target_layer: layers.1}}
          warmup_epochs: 1
  regularizer_balance_steps: 1
data: {class_path: my_code.Data}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
""")
    camtrain("fit", "--config", "own.yaml", "--run.wandb", "disabled")
    scores = json.loads(Path("runs/own/version_0/scores.json").read_text())
    assert scores["val/loss_regularizer/gradient_norm"] > 0
    assert scores["val/loss_regularizer/upper_half"] > 0
    checkpoint = next(Path("runs/own/version_0/checkpoints").glob("epoch_*.ckpt"))
    assert Classifier.load_from_checkpoint(checkpoint, weights_only=True).network.layers[0].out_channels == 3


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--model.regularizer_wieght", "1"], ["regularizer_wieght"]),
        (["--model.regularizer_weight", "a lot"], ["regularizer_weight", "a lot"]),
        (
            ["--model.regularizer_weight", "-1"],
            ["`regularizer_weight`: expected a finite number of at least 0, got -1"],
        ),
        (["--model.network", "resnet81"], ["resnet81", "did you mean 'resnet18'"]),
        (["--model.regularizer.distance", "cosin"], ["distance", "cosin"]),
        (["--data.decoy_strength", "7"], ["decoy_strength", "7"]),
        (["--data", "ImageFolderData", "--data.root", "nowhere"], ["nowhere"]),
        (["--config", "absent.yaml"], ["absent.yaml"]),
        (["--run.wandb", "sometimes"], ["wandb", "sometimes"]),
        (["--cam_logger.num_images", "-1"], ["`num_images`: expected an integer of at least 0, got -1"]),
    ],
)
def test_wrong_settings_are_named(refused, words, messages):
    said = refused("fit", "--config", "small.yaml", *words)
    for message in messages:
        assert message in said
    assert not Path("runs").exists()


@pytest.mark.parametrize("callback", ["cam_logger", pytest.param("localization_scores", marks=pytest.mark.slow)])
def test_an_unknown_layer_is_named_before_training(refused, callback):
    words = ["fit", "--config", "small.yaml", f"--{callback}.target_layer", "layer9", "--run.wandb", "disabled"]
    line = "camtrain fit: error: `target_layer`: no module is called 'layer9'; did you mean 'layer"
    assert refused(*words, status=1).splitlines()[-1].startswith(line)
    assert not Path("runs").exists()
    # It is this that is said, and not that the training breaks.
    assert "layer9" in refused(*words, "--model.optimizer.lr", "1e30", status=1)


def test_version(camtrain, capsys):
    camtrain("--version")
    assert capsys.readouterr().out.startswith("camtrain 0.")


def test_a_resumed_run_is_the_one_that_was_not_stopped(camtrain):
    """Weights, order of the images, table and W&B run."""
    camtrain("fit", "--config", "small.yaml", "--run.name", "whole")
    camtrain("fit", "--config", "small.yaml", "--run.name", "parts", "--trainer.max_epochs", "1")
    camtrain("fit", "--config", "small.yaml", "--run.name", "parts", "--run.resume", "true")
    whole, parts = Path("runs/whole/version_0"), Path("runs/parts/version_0")
    assert [path.name for path in Path("runs/parts").iterdir()] == ["version_0"]
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (whole, parts)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    tables = []
    for run in (whole, parts):
        with (run / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        columns = ("epoch", "step", "train/loss", "val/accuracy", "test/accuracy")
        tables.append([tuple(row[column] for column in columns) for row in rows])
        # The test of the first part, of one epoch, is not that of the run.
        assert [row["epoch"] for row in rows if row["test/accuracy"]] == ["2"]
    assert tables[1] == tables[0]
    assert len({path.name.rpartition("-")[2] for path in parts.glob("wandb/offline-run-*")}) == 1
    # Its configuration begins the same training again, as that of a run that was not stopped does.
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in (whole, parts)]
    assert configs[1]["trainer"]["max_epochs"] == 2
    for config in configs:
        del config["run"]["name"]
    assert configs[1] == configs[0]


def test_a_run_that_was_stopped_in_its_test_keeps_the_scores_of_its_training(camtrain):
    small = ["fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--trainer.max_epochs", "1"]
    camtrain(*small, "--run.test", "false")
    path = Path("runs/small/version_0/scores.json")
    before = json.loads(path.read_text())
    assert {key.split("/")[0] for key in before} == {"train", "val"}
    camtrain(*small, "--run.resume", "true")
    after = json.loads(path.read_text())
    assert "test/accuracy" in after
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("moved", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_run_that_goes_on_under_another_path_keeps_its_best_checkpoint(camtrain, moved):
    small = ["fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--run.resume", "true"]
    camtrain(*small, "--trainer.max_epochs", "1")
    last = Path("runs/small/version_0/checkpoints/last.ckpt")
    saved = torch.load(last, weights_only=True)
    (key,) = (key for key, state in saved["callbacks"].items() if state.get("monitor") == "val/accuracy")
    state = saved["callbacks"][key]
    # An epoch that no other one surpasses.
    state["best_model_score"] = state["kth_value"] = torch.tensor(2.0)
    state["best_k_models"] = {path: torch.tensor(2.0) for path in state["best_k_models"]}
    torch.save({**saved, CHECKSUM: checksum_of(saved)}, last)
    if moved:
        Path("runs").rename("elsewhere")
    folder = Path("elsewhere" if moved else "runs").absolute()
    camtrain(*small, "--run.folder", str(folder))
    checkpoints = folder / "small/version_0/checkpoints"
    state = torch.load(checkpoints / "last.ckpt", weights_only=True)["callbacks"][key]
    assert state["best_model_path"] == str(checkpoints / "epoch_000.ckpt")
    assert state["best_model_score"] == 2.0
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        "epoch_000.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]


def test_a_drawn_seed_is_that_of_the_configuration_and_of_the_resumed_run(camtrain, caplog):
    small = ["fit", "--config", "small.yaml", *QUIET, "--run.wandb", "disabled", "--run.test", "false"]
    drawn = [*small, "--seed_everything", "true", "--trainer.max_epochs", "1"]
    seeds = []
    for version in range(2):
        camtrain(*drawn)
        run = Path(f"runs/small/version_{version}")
        seeds.append(yaml.safe_load((run / "config.yaml").read_text())["seed_everything"])
        assert f"Seed set to {seeds[-1]}" in caplog.messages
    assert type(seeds[0]) is int
    assert seeds[0] != seeds[1]
    camtrain(*drawn, "--run.resume", "true")
    assert yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] == seeds[1]
    camtrain(*small, "--seed_everything", str(seeds[1]), "--trainer.max_epochs", "1", "--run.name", "again")
    tables = []
    for folder in (run, Path("runs/again/version_0")):
        with (folder / "metrics.csv").open() as file:
            tables.append([(row["train/loss"], row["val/accuracy"]) for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


def test_a_run_of_other_settings_is_not_gone_on_with(camtrain, refused):
    small = ["fit", "--config", "small.yaml", *QUIET, "--trainer.max_epochs", "1", "--run.wandb", "disabled"]
    camtrain(*small, "--run.resume", "true")  # there is none yet: a new one
    for words, key in (
        (["--model.regularizer_weight", "0.2"], "model"),
        (["--data.batch_size", "8"], "data"),
        (["--seed_everything", "1"], "seed_everything"),
    ):
        assert f"is a run with another `{key}`" in refused(*small, "--run.resume", "true", *words)
    beside = refused(*small, "--run.resume", "true", "--ckpt_path", "runs/small/version_0/checkpoints/last.ckpt")
    assert "`run.resume`: expected false beside --ckpt_path" in beside
    assert [path.name for path in Path("runs/small").iterdir()] == ["version_0"]
