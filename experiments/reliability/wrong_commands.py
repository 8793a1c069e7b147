"""Commands with one wrong option each, and commands that read a wrong file."""

from __future__ import annotations

import random
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import camtrain
from camtrain.methods import METHODS
from experiments.reliability.workplace import ABLATE, CONFIG, EVALUATION, SMALL, command
from experiments.reliability.wrong_calls import LAYER
from experiments.reliability.wrong_values import (
    Domain,
    Wrong,
    classes,
    given,
    integers,
    numbers,
    one_of,
    several_of,
)

CHECKPOINT = "runs/small/version_0/checkpoints/last.ckpt"
NO_IMAGES = "runs/small/version_0/checkpoints"
# Little is trained where a wrong value is accepted.
ONE_BATCH = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--cam_logger.num_images", "0")
FIT = ("fit", "--config", CONFIG, *ONE_BATCH)
OF_A_CHECKPOINT = ("--config", CONFIG, "--ckpt_path", CHECKPOINT, *ONE_BATCH)
EVALUATE = ("evaluate", "--checkpoint", "runs/small", *EVALUATION)
EXPLAIN = ("explain", "--checkpoint", "runs/small", "--images", "images/train/cat/0.png")
ABLATE_QUICKLY = (*ABLATE, "--out", "new_study", "--wandb_sweep")  # writes the study, and runs nothing
METRIC_NAMES = [name for name, spec in camtrain.METRICS.items() if not spec.of_label]


@dataclass(frozen=True)
class WrongCommand:
    """A command with one wrong word, or a wrong file.

    Attributes:
        target: The command.
        argument: The option, or the file.
        shown: What is given.
        why: Why it is wrong.
        words: The words of the command.
        names: What a message should name: one of these.
        prepare: Called in the folder of the case before the command.
    """

    target: str
    argument: str
    shown: str
    why: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    prepare: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """The name of the case."""
        return f"{self.target}: {self.argument} = {self.shown}"

    def body(self) -> None:
        """Run it, in the folder of the case."""
        if self.prepare is not None:
            self.prepare()
        command(*self.words)


def wrong_commands(seed: int) -> list[WrongCommand]:
    """All commands with a wrong word or file; they are run in a copy of a `Workplace`'s run, with images in it."""
    draw = random.Random(seed)
    return [*_options(draw), *_words(), *_configurations(), *_checkpoints(), *_tables(), *_pictures(), *_studies()]


_FRACTION = numbers(0, 1)
_LIMIT = given(("-1", "negative"), ("1.5", "neither a count nor a fraction"), ("nan", "not a number"), ("many", "text"))
_TRIPLE = given(("[0.5,0.5]", "two numbers"), ("[a,b,c]", "text"), ("[0.5,0.5,.nan]", "NaN"), ("0.5", "one number"))
FIT_OPTIONS: dict[str, Domain] = {
    "model.network": classes(["resnet18", "mobilenet_v2", "cifar_resnet8"]),
    "model.network.depth": given(("9", "not 6n + 2"), ("-4", "negative"), ("8.5", "not an integer"), ("x", "text")),
    "model.network.width": integers(1),
    "model.network.stem_stride": integers(1),
    "model.network.num_classes": given(("12", "the data have 10"), ("0", "no class"), ("x", "text")),
    "model.stem": given(("smalll", "a mistyped name"), ("small", "for a network given by name"), ("3", "a number")),
    "model.weights": given(("DEFAULT", "for a network given by name"), ("3", "a number")),
    "model.initial_weights": given(
        ("no/such.ckpt", "no such file"), (CONFIG, "a configuration"), ("images", "a folder")
    ),
    "model.regularizer": classes(["InterpretableGradient", "MapFaithfulness", "EnergyInside"]),
    "model.regularizer.distance": one_of(["cosine", "mae", "mse", "histogram_intersection"]),
    "model.regularizer.floor": numbers(0, low_is_in=False),
    "model.regularizer_weight": numbers(0, none=True),
    "model.regularizer_start_epoch": numbers(0),
    "model.regularizer_warmup_epochs": numbers(0),
    "model.regularizer_every_n_steps": integers(1),
    "model.regularizer_balance_steps": integers(0),
    "model.engine": classes(["FrozenGates", "DoubleBackprop"]),
    "model.optimizer": classes(["SGD", "Adam"]),
    "model.optimizer.lr": numbers(0),
    "model.optimizer.momentum": numbers(0),
    "model.optimizer.weight_decay": numbers(0),
    "model.head_learning_rate": numbers(0, none=True),
    "model.lr_scheduler": classes(["CosineAnnealingLR", "StepLR"]),
    "model.lr_scheduler_interval": one_of(["epoch", "step"]),
    "model.classification_loss": one_of(["cross_entropy", "binary_cross_entropy", "focal"]),
    "model.label_smoothing": _FRACTION,
    "model.gradient_share_every_n_steps": integers(0),
    "data": classes(["DecoyDigits", "ImageFolderData"]),
    "data.batch_size": integers(1),
    "data.image_size": integers(8),
    "data.digit_size": given(
        ("[18,12]", "from high to low"),
        ("[0,4]", "no size"),
        ("[12]", "one number"),
        ("x", "text"),
        ("[12,99]", "larger than the image"),
    ),
    "data.decoy_size": integers(1),
    "data.decoy_strength": _FRACTION,
    "data.clutter": integers(0),
    "data.samples_per_digit": integers(1),
    "data.val_fraction": numbers(0, 1, low_is_in=False, high_is_in=False),
    "data.test_fraction": numbers(0, 1, low_is_in=False, high_is_in=False),
    "data.annotation": one_of(["digit", "not_decoy"]),
    "data.num_workers": integers(0),
    "data.seed": given(("2.5", "not an integer"), ("x", "text"), ("nan", "not a number")),
    "data.annotated_fraction": _FRACTION,
    "data.box_dilation": numbers(0),
    "data.mean": _TRIPLE,
    "data.std": given(
        ("[0.5,0.5]", "two numbers"),
        ("[0,0.2,0.2]", "division by zero"),
        ("[-1,0.2,0.2]", "negative"),
        ("[.inf,0.2,0.2]", "infinite"),
        ("[a,b,c]", "text"),
    ),
    "trainer.max_epochs": given(("-2", "negative"), ("2.5", "not an integer"), ("x", "text"), ("nan", "not a number")),
    "trainer.limit_train_batches": _LIMIT,
    "trainer.limit_val_batches": _LIMIT,
    "trainer.limit_test_batches": _LIMIT,
    "trainer.accumulate_grad_batches": integers(1),
    "trainer.gradient_clip_val": numbers(0, none=True),
    "trainer.log_every_n_steps": given(("-1", "negative"), ("2.5", "not an integer"), ("x", "text")),
    "trainer.precision": one_of(["16-mixed", "bf16-mixed", "32-true"]),
    "trainer.accelerator": one_of(["cpu", "cuda", "auto"]),
    "trainer.strategy": one_of(["ddp", "auto"]),
    "trainer.devices": given(("0", "none"), ("-3", "negative"), ("x", "text"), ("1.5", "not an integer")),
    "trainer.check_val_every_n_epoch": given(("0", "never"), ("-1", "negative"), ("x", "text")),
    "trainer.val_check_interval": given(("-1", "negative"), ("1.5", "neither a count nor a fraction"), ("x", "text")),
    "run.name": given(
        ("../../outside", "leaves the folder"), ("/outside", "an absolute path"), ("", "empty"), ("..", "the parent")
    ),
    "run.folder": given((CONFIG, "a file"), ("/proc/no/such", "cannot be made")),
    "run.wandb": one_of(["offline", "online", "disabled"]),
    "run.resume": given(("maybe", "neither true nor false"), ("2", "a number")),
    "run.test": given(("maybe", "neither true nor false"), ("2", "a number")),
    "cam_logger.num_images": integers(0),
    "cam_logger.every_n_epochs": integers(1),
    "cam_logger.target_layer": LAYER,
    "localization_scores.methods": several_of(list(METHODS)),
    "localization_scores.metrics": several_of(["energy_pointing_game", "localization_iou_25"]),
    "localization_scores.num_images": integers(0, none=True),
    "localization_scores.every_n_epochs": integers(1),
    "localization_scores.target_layer": LAYER,
    "localization_scores.class_of": one_of(["prediction", "label"]),
    "localization_scores.annotation": one_of(["boxes", "masks"]),
    "localization_scores.max_batch": integers(1),
    "faithfulness_scores.methods": several_of(list(METHODS)),
    "faithfulness_scores.metrics": several_of(["average_drop", "insertion_auc"]),
    "faithfulness_scores.every_n_epochs": integers(1),
    "faithfulness_scores.target_layer": LAYER,
    "faithfulness_scores.class_of": one_of(["prediction", "label"]),
    "faithfulness_scores.num_steps": integers(1),
    "faithfulness_scores.max_batch": integers(1),
    "checkpoint.monitor": given(("val/accuracyy", "a mistyped name"), ("val", "not logged")),
    "checkpoint.mode": one_of(["min", "max"]),
    "checkpoint.save_top_k": given(("-2", "negative"), ("x", "text"), ("1.5", "not an integer")),
    "checkpoint.every_n_epochs": given(("-1", "negative"), ("x", "text")),
    "seed_everything": given(("-1", "negative"), ("x", "text"), ("2.5", "not an integer"), (str(2**40), "too large")),
}
_OF_NETWORK: dict[str, Domain] = {
    "checkpoint": given(
        ("no/such.ckpt", "no such file"),
        (CONFIG, "a configuration"),
        ("images", "a folder without one"),
        ("", "empty"),
        ("images/train/cat/0.png", "an image"),
    ),
    "network": classes(["resnet50"], ("collections.OrderedDict", "torch.zeros")),
    "weights": given(("DEFAULT", "beside a checkpoint"), ("DEFAULTT", "a mistyped name")),
    "config": given(("no/such.yaml", "no such file"), ("images", "a folder without one"), ("", "empty")),
    "size": integers(1, none=True),
    "target_layer": LAYER,
    "max_batch": integers(1),
    "num_channels": integers(1, none=True),
    "device": one_of(["cpu", "cuda", "auto"]),
    "seed": given(("2.5", "not an integer"), ("x", "text"), ("nan", "not a number")),
}
_OF_SCORES: dict[str, Domain] = {
    "methods": several_of(list(METHODS)),
    "metrics": several_of(METRIC_NAMES),
    "controls": one_of(["uniform", "center", "random", "shuffled"], empty_is_none=True),
    "split": one_of(["test", "val"]),
    "num_images": integers(1, none=True),
    "class_of": one_of(["prediction", "label"]),
    "annotation": one_of(["boxes", "masks", "any"]),
    "num_steps": integers(1),
    "insertion_start": one_of(["blur", "zeros"]),
    "deletion_end": one_of(["blur", "zeros"]),
    "tolerance": numbers(0, none=True),
    "num_stages": integers(1),
    "box_threshold": numbers(0, 1, high_is_in=False, none=True),
    "batch_size": integers(1),
    "num_resamples": integers(1),
    "num_gallery_images": integers(0),
}
_PANELS: dict[str, Domain] = {"num_panel_maps": integers(0)}
EVALUATE_OPTIONS = {**_OF_NETWORK, **_OF_SCORES, **_PANELS} | {
    "compare": given(("no/such.ckpt", "no such file"), (CONFIG, "a configuration")),
    "out": given((CONFIG, "a file"), ("/proc/no/such", "cannot be made")),
}
EXPLAIN_OPTIONS = _OF_NETWORK | {
    "images": given(
        ("no/such.png", "no such file"), (CONFIG, "no image"), (NO_IMAGES, "a folder without images"), ("", "empty")
    ),
    "methods": several_of(list(METHODS)),
    "class": given(("99", "no such class"), ("-1", "negative"), ("dog", "no name of a class"), ("1.5", "no integer")),
    "top_k": integers(1, most=10),
    "contrast": given(("99", "no such class"), ("dog", "no name of a class")),
    "out": given((CONFIG, "a file"), ("/proc/no/such", "cannot be made")),
}
_WEIGHT = "model.regularizer_weight"
ABLATE_OPTIONS = _OF_SCORES | {
    "config": given(
        ("no/such.yaml", "no such file"), (CHECKPOINT, "a checkpoint"), ("images", "a folder"), ("", "empty")
    ),
    "set": given(
        (f"{_WEIGHT}=0,-1", "a negative weight"),
        (f"{_WEIGHT}=0,''", "an empty value"),
        (f"{_WEIGHT}=0,", "an empty value"),
        (f"{_WEIGHT}=", "no value"),
        (_WEIGHT, "no value"),
        ("=0,1", "no key"),
        ("", "empty"),
        (f"{_WEIGHT}=0,nan", "NaN"),
        ("model.regularizer_wieght=0,1", "a mistyped key"),
        (f"{_WEIGHT}=a,b", "text for a number"),
        (f"{_WEIGHT}=0,0", "a value twice"),
        ("run.name=a,b", "changes nothing"),
        ("seed_everything=0,1", "seeds are given by --seeds"),
        ("model.network.depth=8,9", "no depth"),
        ("data.batch_size=0,-4", "no batch size"),
        ("trainer.max_epochs=1,-7", "negative epochs"),
        ("model.network=resnet81", "a mistyped name"),
        ("model.optimizer.lr=0.1,-1", "a negative rate"),
        ("trainer.accumulate_grad_batches=1,-1", "a negative number"),
    ),
    "seeds": given(
        ("", "empty"),
        ("0,0", "one twice"),
        ("-1", "negative"),
        ("1.5", "not an integer"),
        ("a", "text"),
        ("0,,1", "an empty one"),
        (str(2**40), "too large"),
    ),
    "out": given((CONFIG, "a file"), ("/proc/no/such", "cannot be made"), ("", "empty")),
    "jobs": integers(1, none=True),
    "threads": integers(1, none=True),
    "executor": one_of(["local", "ray"]),
    "gpus_per_trial": numbers(0),
    "point": given((f"{_WEIGHT}=7", "no point of the grid"), ("seed=x", "text"), ("model=", "empty")),
    "target_layer": LAYER,
    "max_batch": integers(1),
    "num_channels": integers(1, none=True),
    "seed": given(("2.5", "not an integer"), ("x", "text"), ("nan", "not a number")),
    "wandb": one_of(["offline", "online", "disabled"]),
    "margin": numbers(0, 100, high_is_in=False),
    "score": one_of(METRIC_NAMES),
}
REPORT_OPTIONS: dict[str, Domain] = {"margin": numbers(0, 100, high_is_in=False), "score": one_of(METRIC_NAMES)}


def _options(draw: random.Random) -> Iterator[WrongCommand]:
    commands: list[tuple[str, tuple[str, ...], dict[str, Domain]]] = [
        ("fit", FIT, FIT_OPTIONS),
        ("evaluate", EVALUATE, EVALUATE_OPTIONS),
        ("explain", EXPLAIN, EXPLAIN_OPTIONS),
        ("ablate", ABLATE_QUICKLY, ABLATE_OPTIONS),
        ("report", ("report", "study"), REPORT_OPTIONS),
    ]
    beside = {
        "faithfulness_scores": ("--faithfulness_scores.num_images", "2"),
        "model.optimizer.": ("--model.optimizer", "SGD"),
        "model.regularizer.": ("--model.regularizer", "InterpretableGradient"),
    }
    for target, words, options in commands:
        for option, domain in options.items():
            more = next((more for start, more in beside.items() if option.startswith(start)), ())
            prepare = _with_a_study if target == "report" else None
            for value in domain(draw):
                if value.in_words:
                    typed = _typed(value.make())
                    given_words = (*words, *more, f"--{option}={typed}")
                    if option == "images":
                        given_words = (*words[:-2], "--images", typed)
                    yield _of(target, option, value, given_words, prepare)


def _typed(value: object) -> str:
    """A value as YAML, and so the command line, reads it."""
    return {"nan": ".nan", "inf": ".inf"}.get(str(value), str(value))


def _of(
    target: str, option: str, value: Wrong, words: tuple[str, ...], prepare: Callable[[], None] | None
) -> WrongCommand:
    names = (option, option.rpartition(".")[2])
    return WrongCommand(target, f"--{option}", value.shown, value.why, words, names, prepare)


def _words() -> Iterator[WrongCommand]:
    """Words that no command has."""
    every = {
        "fit": FIT,
        "validate": ("validate", *OF_A_CHECKPOINT),
        "test": ("test", *OF_A_CHECKPOINT),
        "predict": ("predict", *OF_A_CHECKPOINT),
        "evaluate": EVALUATE,
        "explain": EXPLAIN,
        "ablate": ABLATE_QUICKLY,
    }
    for target, words in every.items():
        yield WrongCommand(
            target,
            "words",
            "--no_such_option 1",
            "an unknown option",
            (*words, "--no_such_option", "1"),
            ("no_such_option",),
        )
        yield WrongCommand(target, "words", "superfluous", "a word too many", (*words, "superfluous"), ("superfluous",))
        last = (
            "--num_images"
            if target in ("evaluate", "ablate")
            else "--top_k"
            if target == "explain"
            else "--seed_everything"
        )
        yield WrongCommand(
            target, "words", f"{last} at the end", "its value is missing", (*words, last), (last.lstrip("-"),)
        )
        yield WrongCommand(
            target, "words", f"{words[0]}e", "a mistyped command", (f"{words[0]}e", *words[1:]), (f"{words[0]}e",)
        )
    for target in ("fit", "validate", "test", "predict"):
        for option in ("--trainer.max_epoch", "--data.batch_siz", "--model.regularizer_weigh"):
            yield WrongCommand(
                target, "words", f"{option} 1", "an abbreviation", (*every[target], option, "1"), (option.lstrip("-"),)
            )
    yield WrongCommand("ablate", "words", "--see 1", "an abbreviation", (*ABLATE_QUICKLY, "--see", "1"), ("see",))
    yield WrongCommand(
        "evaluate", "words", "--method grad_cam", "an abbreviation", (*EVALUATE, "--method", "grad_cam"), ("method",)
    )
    for missing in ("--config", "--set", "--out"):
        at = ABLATE_QUICKLY.index(missing)
        words = ABLATE_QUICKLY[:at] + ABLATE_QUICKLY[at + 2 :]
        yield WrongCommand(
            "ablate", "words", f"without {missing}", "it is required", words, (missing.lstrip("-"), "grid", "folder")
        )
    yield WrongCommand("explain", "words", "without --images", "it is required", EXPLAIN[:-2], ("images",))


def _configurations() -> Iterator[WrongCommand]:
    """Configurations that are none."""
    contents: list[tuple[str, str, str | bytes, tuple[str, ...]]] = [
        ("empty", "nothing in it", "", (CONFIG, "model", "data")),
        ("a list", "a list instead of sections", "- 1\n- 2\n", (CONFIG,)),
        ("text", "one word", "configuration\n", (CONFIG,)),
        ("binary", "not text", bytes(range(256)), (CONFIG,)),
        ("a tab", "YAML forbids tabs", SMALL.replace("  network", "\tnetwork", 1), (CONFIG,)),
        ("an open bracket", "not closed", SMALL + "extra: [1, 2\n", (CONFIG,)),
        ("a section that is a number", "model is 3", "model: 3\n" + SMALL[SMALL.index("data:") :], ("model",)),
        ("a mistyped section", "modl", SMALL.replace("model:", "modl:"), ("modl",)),
        ("a mistyped key", "max_epoch", SMALL.replace("max_epochs", "max_epoch"), ("max_epoch",)),
        (
            "a key twice in a section",
            "max_epochs is 2 and 3",
            SMALL.replace("  max_epochs: 2\n", "  max_epochs: 2\n  max_epochs: 3\n"),
            ("max_epochs",),
        ),
        ("a section twice", "the first one is lost", SMALL + "trainer: {max_epochs: 1}\n", ("trainer",)),
        (
            "an unknown interpolation",
            "${no.such.key}",
            SMALL.replace("log_every_n_steps: 1", "log_every_n_steps: ${no.such.key}"),
            ("no.such.key",),
        ),
        (
            "an unknown variable",
            "${oc.env:NO_SUCH_VARIABLE}",
            SMALL.replace("log_every_n_steps: 1", "log_every_n_steps: ${oc.env:NO_SUCH_VARIABLE}"),
            ("NO_SUCH_VARIABLE",),
        ),
        (
            "a circle",
            "two keys that are each other",
            SMALL.replace("max_epochs: 2", "max_epochs: ${trainer.max_steps}\n  max_steps: ${trainer.max_epochs}"),
            ("max_epochs", "max_steps"),
        ),
        (
            "no data",
            "the section is missing",
            SMALL[: SMALL.index("data:")] + SMALL[SMALL.index("trainer:") :],
            ("data",),
        ),
        ("Latin-1", "not UTF-8", SMALL.encode() + "# Größe\n".encode("latin-1"), (CONFIG,)),
    ]
    for target, words in (
        ("fit", FIT),
        ("evaluate", ("evaluate", "--checkpoint", CHECKPOINT, "--config", CONFIG, *EVALUATION)),
        ("ablate", ABLATE_QUICKLY),
    ):
        for shown, why, content, names in contents:
            if target == "evaluate" and any(
                word in shown for word in ("section", "mistyped", "interpolation", "variable", "circle")
            ):
                continue  # it reads the data module alone
            yield WrongCommand(target, "configuration", shown, why, words, names, _writing(CONFIG, content))
    for shown in ("no/such.yaml", "images", CHECKPOINT):
        yield WrongCommand("fit", "--config", shown, "no configuration", ("fit", "--config", shown), (shown,))


def checkpoints() -> list[tuple[str, str, Callable[[Path], None]]]:
    """Files that are no good checkpoint.

    Returns:
        For each what it is, why it is wrong, and a function that makes it of a good one.
    """

    def changed(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            saved = torch.load(path, weights_only=True)
            torch.save(change(saved), path)

        return write

    def bare(saved: dict[str, object]) -> object:
        return saved["state_dict"]

    def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
        return changed(lambda saved: {**saved, "state_dict": change(dict(saved["state_dict"]))})  # type: ignore[call-overload]

    def without(key: str) -> Callable[[Path], None]:
        return changed(lambda saved: {name: value for name, value in saved.items() if name != key})

    def cut(fraction: float) -> Callable[[Path], None]:
        return lambda path: path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)]) and None

    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda member: member.file_size if "/data/" in member.filename else 0)
            place = content.find(archive.read(largest))  # a tensor, not what the archive has around it
        content[place + largest.file_size // 2] ^= 0x40
        path.write_bytes(content)

    def a_folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def other_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value[:5] if name.startswith("network.fc") else value for name, value in state.items()}

    def other_network(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name.replace("layer", "block"): value for name, value in state.items()}

    def nan(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: torch.full_like(value, torch.nan) if name == "network.fc.weight" else value
            for name, value in state.items()
        }

    return [
        ("a folder", "a folder instead of a file", a_folder),
        ("empty", "no bytes", lambda path: path.write_bytes(b"") and None),
        ("cut in the middle", "half of it", cut(0.5)),
        ("cut at the end", "its last bytes are missing", cut(0.99)),
        ("text", "text", lambda path: path.write_text("a checkpoint\n") and None),
        ("a flipped byte", "one bit of a tensor is another one", flipped),
        ("a list", "a list instead of a mapping", lambda path: torch.save([1, 2], path)),
        ("a bare state dict", "weights alone", changed(bare)),
        ("optimizer only", "no weights", without("state_dict")),
        ("without its optimizer", "no optimizer states", without("optimizer_states")),
        ("without its loops", "no progress", without("loops")),
        ("of another network", "its keys are others", weights(other_network)),
        ("of another number of classes", "5 instead of 10", weights(other_head)),
        (
            "with a missing key",
            "fc.bias is not there",
            weights(lambda state: {k: v for k, v in state.items() if "fc.bias" not in k}),
        ),
        ("with NaN", "the weights of the head are NaN", weights(nan)),
    ]


def _checkpoints() -> Iterator[WrongCommand]:
    best = "runs/small/version_0/checkpoints/bad.ckpt"
    commands: dict[str, tuple[str, ...]] = {
        **{
            name: (name, "--config", CONFIG, *ONE_BATCH, "--ckpt_path", best)
            for name in ("fit", "validate", "test", "predict")
        },
        "resume": (*FIT, "--run.resume", "true", "--trainer.max_epochs", "3"),
        "evaluate": ("evaluate", "--checkpoint", best, *EVALUATION),
        "explain": ("explain", "--checkpoint", best, "--images", "images/train/cat/0.png"),
    }
    # Scoring needs the weights alone.
    of_training = ("without its optimizer", "without its loops")
    for target, words in commands.items():
        for shown, why, make in checkpoints():
            if shown in of_training and target not in ("fit", "resume"):
                continue
            path = Path(CHECKPOINT) if target == "resume" else Path(best)

            def prepare(path: Path = path, make: Callable[[Path], None] = make) -> None:
                if path.name != "last.ckpt":
                    shutil.copy(CHECKPOINT, path)
                make(path)

            yield WrongCommand(target, "checkpoint", shown, why, words, (path.name, "ckpt_path"), prepare)


_GOOD_TABLE = "path,x0,y0,x1,y1\ntrain/cat/0.png,2,2,20,20\ntrain/dog/0.png,2,2,20,20\n"


def _tables() -> Iterator[WrongCommand]:
    """CSV files of boxes that are wrong."""
    contents: list[tuple[str, str, str | bytes]] = [
        ("no such file", "it is not there", ""),
        ("empty", "nothing in it", ""),
        ("no headings", "the first line is a box", _GOOD_TABLE.partition("\n")[2]),
        ("a mistyped heading", "xx0", _GOOD_TABLE.replace("x0", "xx0", 1)),
        ("semicolons", "another separator", _GOOD_TABLE.replace(",", ";")),
        ("text for a number", "two", _GOOD_TABLE.replace("2,2,20,20", "two,2,20,20", 1)),
        ("NaN", "nan", _GOOD_TABLE.replace("2,2,20,20", "nan,2,20,20", 1)),
        ("infinity", "inf", _GOOD_TABLE.replace("2,2,20,20", "2,2,inf,20", 1)),
        ("corners exchanged", "x1 < x0", _GOOD_TABLE.replace("2,2,20,20", "20,2,2,20", 1)),
        ("no area", "x0 = x1", _GOOD_TABLE.replace("2,2,20,20", "2,2,2,20", 1)),
        ("negative", "x0 is -5", _GOOD_TABLE.replace("2,2,20,20", "-5,2,20,20", 1)),
        ("outside", "beyond the image", _GOOD_TABLE.replace("2,2,20,20", "200,200,220,220", 1)),
        ("a number too few", "four cells", _GOOD_TABLE.replace("2,2,20,20", "2,2,20", 1)),
        ("a number too many", "six cells", _GOOD_TABLE.replace("2,2,20,20", "2,2,20,20,9", 1)),
        ("an unknown image", "no such image", _GOOD_TABLE.replace("train/cat/0.png", "train/cat/99.png")),
        ("an image above the folder", "../", _GOOD_TABLE.replace("train/cat/0.png", "../../../etc/passwd")),
        ("binary", "not text", bytes(range(256)) * 4),
        ("an open quote", "not closed", _GOOD_TABLE.replace("cat/0.png", '"cat/0.png', 1)),
        ("UTF-16", "another encoding", _GOOD_TABLE.encode("utf-16")),
        ("a very long cell", "200,000 characters", _GOOD_TABLE.replace("cat/0.png", "c" * 200_000, 1)),
    ]
    words = _folder_words("--data.boxes_csv", "boxes.csv")
    for shown, why, content in contents:
        prepare = None if shown == "no such file" else _writing("boxes.csv", content)
        yield WrongCommand("fit", "boxes_csv", shown, why, words, ("boxes.csv", "boxes_csv"), prepare)


def _pictures() -> Iterator[WrongCommand]:
    """Images that are none."""
    contents: list[tuple[str, str, Callable[[Path], None]]] = [
        ("text", "text instead of an image", lambda path: path.write_text("an image\n") and None),
        ("empty", "no bytes", lambda path: path.write_bytes(b"") and None),
        ("cut", "half of it", lambda path: path.write_bytes(path.read_bytes()[:60]) and None),
        ("a folder", "a folder of that name", _folder_at),
        ("16 bits", "16 bits per channel would be cut to 8", lambda path: path.write_bytes(_sixteen_bits()) and None),
        ("no pixels", "its height is 0", lambda path: path.write_bytes(_without_pixels()) and None),
    ]
    train = _folder_words()
    explained = ("explain", "--checkpoint", "runs/small", "--images", "images/train/cat/0.png")
    for shown, why, make in contents:
        prepare = lambda make=make: make(Path("images/train/cat/0.png"))  # noqa: E731
        # A folder of that name holds no image of the class, and may stand beside images.
        if shown != "a folder":
            yield WrongCommand("fit", "image", shown, why, train, ("0.png",), prepare)
        yield WrongCommand("explain", "image", shown, why, explained, ("0.png",), prepare)
    roots: list[tuple[str, str, Callable[[], None], tuple[str, ...]]] = [
        ("no training images", "train is not there", lambda: shutil.rmtree("images/train"), ("train",)),
        (
            "an empty class",
            "cat has no image",
            lambda: [path.unlink() for path in Path("images/train/cat").iterdir()] and None,
            ("cat",),
        ),
        (
            "no class",
            "no folder in train",
            lambda: [shutil.rmtree(path) for path in Path("images/train").iterdir()] and None,
            ("train", "root"),
        ),
        (
            "another class in val",
            "bird is no class of training",
            lambda: Path("images/val/dog").rename("images/val/bird") and None,
            ("bird",),
        ),
    ]
    for shown, why, prepare, names in roots:
        yield WrongCommand("fit", "root", shown, why, train, names, prepare)


def _studies() -> Iterator[WrongCommand]:
    """Folders that hold no study."""
    contents = [
        ("an empty object", "{}"),
        ("a list", "[1, 2]"),
        ("empty", ""),
        ("cut", '{"plan": {'),
        ("text", "a study"),
        ("null", "null"),
    ]
    for shown, content in contents:
        prepare = _writing("new_study/study.json", content)
        for target, words in (("report", ("report", "new_study")), ("ablate", ABLATE_QUICKLY)):
            yield WrongCommand(target, "study.json", shown, "no study", words, ("study.json",), prepare)
    for folder in ("no/such", "images", CONFIG):
        yield WrongCommand("report", "folder", folder, "no study", ("report", folder), (folder,))


def _folder_words(*more: str) -> tuple[str, ...]:
    data = ("--data", "ImageFolderData", "--data.root", "images", "--data.image_size", "32", "--data.batch_size", "2")
    return ("fit", "--config", "folder.yaml", *data, *ONE_BATCH, *more)


def folder_config() -> str:
    """The small configuration without its data, for images of two classes in a folder."""
    without_data = SMALL[: SMALL.index("data:")] + SMALL[SMALL.index("trainer:") :]
    return without_data.replace("stem_stride: 2", "stem_stride: 2, num_classes: 2")


def _writing(path: str, content: str | bytes) -> Callable[[], None]:
    def write() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def _with_a_study() -> None:
    """Nothing: the case's folder has one (see `bad_inputs`)."""


def _folder_at(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sixteen_bits() -> bytes:
    """A PNG with three channels of 16 bits, which PIL would read as 8."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + struct.pack(">3H", 300, 301, 302) * 32
    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(line * 32)) + chunk(b"IEND", b"")
    )


def _without_pixels() -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32, 0, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def words_of(case: WrongCommand) -> Sequence[str]:
    """The words of a case as one would type them."""
    return ("camtrain", *case.words)
