"""Trains and evaluates while W&B or the disk fails, and says if the work went on; see README.md.

    python -m experiments.reliability.world_faults [--small] [--seed 0] [--only disk]

A training *goes on* if it ends with status 0, with all rows of its table and its last checkpoint, within the time
limit. Where a wrong value of an option or a variable is the fault, a message before the first step is right too. A
command whose disk is full *goes on* if it ends with a line that names its folder, leaves no empty or torn file behind,
and does the rest when it is called again on a disk with room.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import functools
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.reliability.children import Call, Ended, last_line, plain, run_child, run_children
from experiments.reliability.parts import Part, Row, chosen, kept, part_settings, run_part
from experiments.reliability.processes import Marked, name_of
from experiments.reliability.workplace import (
    ABLATE,
    CONFIG,
    EVALUATION,
    RUN,
    SMALL,
    STUDY,
    Workplace,
    command,
    preload,
    write_config,
    write_images,
)

PART = Part(
    "world_faults",
    "W&B and disk faults (at least 20)",
    "0 trainings ended that could go on",
    ("went on", "message"),
    None,
    6,
)
EPOCHS = 4
LEAST_PATIENCE = 90.0
"""The seconds that a command has at the least, beside three times what it takes where nothing is wrong."""
_TRAINING = SMALL.replace("max_epochs: 2", f"max_epochs: {EPOCHS}").replace("run: {wandb: disabled}\n", "")
_KEY = "0123456789abcdef0123456789abcdef01234567"
# Nothing of the machine's own account takes part.
_NEUTRAL: dict[str, str | None] = dict.fromkeys(
    ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_ID")
)


@dataclass(frozen=True)
class Fault:
    """A fault of the world, during a training or another command.

    Attributes:
        kind: `W&B` or `disk`.
        name: The name of the case.
        words: Words beside those of the training.
        environment: Environment variables; `{port}`, `{folder}` and `{file}` in them are filled in.
        server: What a server does that the training is sent to: `closed`, `silent`, or what it answers.
        during: Called with the process while it trains.
        may_refuse: True if a message before the first step is right too.
        file_size: The largest number of bytes of a file; `None` is no limit.
    """

    kind: str
    name: str
    words: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    server: str = ""
    during: Callable[[Marked, Path], None] | None = None
    may_refuse: bool = False
    file_size: int | None = None


@dataclass(frozen=True)
class DiskFault:
    """A command on a disk that is full or read-only.

    Attributes:
        kind: `disk`.
        name: The name of the case.
        source: What its folder is a copy of: `run` or `study`.
        words: The words of the command.
        output: The folder that it writes to.
        how: How the disk fails: from when on it has no room, in kilobytes, or `read-only`.
    """

    kind: str
    name: str
    source: str
    words: tuple[str, ...]
    output: str
    how: str


def main(words: Sequence[str] | None = None) -> None:
    """Run the cases that have no row yet."""
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    preload()
    place = Workplace(settings.work)
    everything: list[Fault | DiskFault] = [*_wandb_faults(), *_disk_faults()]
    found = chosen(everything, settings.size, settings.seed, lambda case: case.kind)
    cases = kept(PART, settings, found, lambda case: case.name)
    run_part(PART, settings, rows(cases, place, settings.jobs), len(cases))


def rows(cases: Sequence[Fault | DiskFault], place: Workplace, jobs: int) -> Iterator[Row]:
    """Run the cases, and yield a row for each."""
    trainings = [case for case in cases if isinstance(case, Fault)]
    others = [case for case in cases if isinstance(case, DiskFault)]
    patience = LEAST_PATIENCE + (3 * undisturbed_seconds(place) if trainings else 0)

    def calls() -> Iterator[tuple[Fault, Call]]:
        for number, case in enumerate(trainings):
            folder = place.empty(f"world_{number}")
            yield case, Call(functools.partial(_train, case, patience), folder, patience + 60)

    for case, ended in run_children(calls(), jobs):
        yield _row_of_training(case, ended)
    for number, each in enumerate(others):
        folder = place.empty(f"disk_{number}")
        yield _row_of_disk(each, folder, place)
        shutil.rmtree(folder, ignore_errors=True)


def undisturbed_seconds(place: Workplace) -> float:
    """The seconds of a training where nothing is wrong, on a machine that may be busy."""
    fault = Fault("W&B", "none", ("--run.wandb", "offline"))
    ended = run_child(Call(functools.partial(_train, fault, 900.0), place.empty("undisturbed"), 960.0))
    if ended.how != "returned" or ended.value["status"] or ended.value["complete"]:
        raise RuntimeError(f"a training without a fault fails: {ended.value or ended.said}")
    return float(ended.value["seconds"])


# W&B


def _wandb_faults() -> Iterator[Fault]:
    online = ("--run.wandb", "online")
    offline = ("--run.wandb", "offline")
    key = {"WANDB_API_KEY": _KEY, "WANDB_BASE_URL": "http://127.0.0.1:{port}"}
    for server, what in (
        ("closed", "a closed port"),
        ("silent", "a server that never answers"),
        ("500", "a server that fails"),
        ("401", "a server that refuses the key"),
        ("nonsense", "a server that answers nonsense"),
    ):
        yield Fault("W&B", f"online, {what}", online, key, server)
    yield Fault(
        "W&B", "online, no key", online, {"HOME": "{folder}", "WANDB_BASE_URL": "http://127.0.0.1:{port}"}, "closed"
    )
    yield Fault(
        "W&B", "online, a key of the wrong form", online, {**key, "WANDB_API_KEY": "short"}, "closed", may_refuse=True
    )
    yield Fault(
        "W&B",
        "online, an unknown host",
        online,
        {"WANDB_API_KEY": _KEY, "WANDB_BASE_URL": "http://no.such.host.invalid"},
    )
    yield Fault(
        "W&B",
        "online, an address that is none",
        online,
        {"WANDB_API_KEY": _KEY, "WANDB_BASE_URL": "nowhere"},
        may_refuse=True,
    )
    for name in (
        "HOME",
        "WANDB_DIR",
        "WANDB_CACHE_DIR",
        "WANDB_CONFIG_DIR",
        "WANDB_DATA_DIR",
        "WANDB_ARTIFACT_DIR",
        "TMPDIR",
    ):
        yield Fault("W&B", f"offline, {name} cannot be written", offline, {name: "{file}/below"})
    for mode in ("offline", "disabled", "dryrun", "shared", "nonsense", ""):
        yield Fault(
            "W&B", f"offline, WANDB_MODE is {mode!r}", offline, {"WANDB_MODE": mode}, may_refuse=mode == "nonsense"
        )
    for mode in ("online", "run"):
        yield Fault(
            "W&B", f"offline, WANDB_MODE is {mode!r}, a closed port", offline, {**key, "WANDB_MODE": mode}, "closed"
        )
    yield Fault(
        "W&B",
        "offline, WANDB_RUN_ID leads out of the folder",
        offline,
        {"WANDB_RUN_ID": "../../outside"},
        may_refuse=True,
    )
    yield Fault("W&B", "offline, WANDB_RESUME is must", offline, {"WANDB_RESUME": "must"}, may_refuse=True)
    yield Fault("W&B", "offline, a service that is not there", offline, {"WANDB_SERVICE": "2-1-tcp-localhost-1"})
    yield Fault("W&B", "offline, wandb-core is killed", offline, during=functools.partial(_signal_core, signal.SIGKILL))
    yield Fault(
        "W&B", "offline, wandb-core is stopped", offline, during=functools.partial(_signal_core, signal.SIGSTOP)
    )
    yield Fault("W&B", "offline, its folder is removed", offline, during=_remove_wandb)
    yield Fault("W&B", "online, the server goes away", online, key, "then closed")
    yield Fault("disk", "fit: files of at most 100 kB", offline, file_size=100_000, may_refuse=True)
    yield Fault("disk", "fit: the folder is a file", (*offline, "--run.folder", CONFIG), may_refuse=True)


def _train(fault: Fault, patience: float) -> dict[str, Any]:
    """Train in the working folder with a fault, in a process of its own; what came of it."""
    folder = Path.cwd()
    write_config(folder, _TRAINING)
    (folder / "file").write_text("a file\n", encoding="utf-8")
    (folder / "home").mkdir()
    with _server(fault.server) as port:
        filled = {"port": str(port), "folder": str(folder / "home"), "file": str(folder / "file")}
        variables = {key: None if value is None else value.format(**filled) for key, value in fault.environment.items()}
        started = time.monotonic()
        words = ("fit", "--config", CONFIG, *fault.words)
        with Marked(words, folder, folder / "said.txt", {**_NEUTRAL, **variables}, fault.file_size) as process:
            if fault.during is not None:
                fault.during(process, folder)
            status = process.wait(patience)
            seconds = time.monotonic() - started
            left = [name_of(each) for each in process.relatives()]
            said = process.said()
    return {"status": status, "seconds": seconds, "said": said, "left": left, "complete": _complete(folder)}


def _complete(folder: Path) -> str:
    """What a training lacks; empty if it has all."""
    (run,) = list(folder.glob("runs/*/version_0")) or [folder / "none"]
    table = run / "metrics.csv"
    epochs = set()
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            epochs = {row["epoch"] for row in csv.DictReader(file) if row.get("train/loss")}
    lacking = [f"epoch {epoch}" for epoch in range(EPOCHS) if str(epoch) not in epochs]
    files = (
        "checkpoints/last.ckpt",
        "scores.json",
        "panels/test.png",
        *(f"panels/val_epoch_{k}.png" for k in range(EPOCHS)),
    )
    lacking += [name for name in files if not (run / name).is_file()]
    return ", ".join(lacking)


def _row_of_training(fault: Fault, ended: Ended) -> Row:
    found = ended.value or {}
    said = str(found.get("said", ended.said))
    detail = plain(last_line(said))
    seconds = f"{found.get('seconds', ended.seconds):.1f}"
    if ended.how != "returned":
        outcome, detail = "harness", plain(ended.said)
    elif found["status"] is None:
        outcome = "hang"
    elif found["status"] == 0:
        outcome = "went on" if not found["complete"] else "lost"
        detail = f"lacks {found['complete']}" if found["complete"] else ""
    elif "Traceback (most recent call last)" in said:
        outcome = "ended"
    else:
        outcome = "message" if fault.may_refuse else "ended"
    left = f"{len(found.get('left', []))} processes left" if found.get("left") else ""
    return Row(fault.name, fault.kind, ", ".join(fault.words) or fault.kind, outcome, detail, left, seconds)


def _signal_core(number: signal.Signals, process: Marked, folder: Path) -> None:
    """Send a signal to W&B's own process once there is a checkpoint."""
    _until_trained(process, folder)
    for each in process.relatives():
        if "wandb-core" in name_of(each):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


def _remove_wandb(process: Marked, folder: Path) -> None:
    _until_trained(process, folder)
    for path in folder.glob("runs/*/version_0/wandb"):
        shutil.rmtree(path, ignore_errors=True)


def _until_trained(process: Marked, folder: Path) -> None:
    """Wait until the first epoch is over."""
    while process.process.poll() is None and time.monotonic() - process.started < 600:
        if list(folder.glob("runs/*/version_0/checkpoints/last.ckpt")):
            return
        time.sleep(0.02)


@contextlib.contextmanager
def _server(kind: str) -> Iterator[int]:
    """A server on a free port; its port. `closed` has none, `silent` accepts and says nothing."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if kind in ("", "closed"):
        listener.close()
        yield port
        return
    listener.listen(50)
    taken: list[socket.socket] = []
    answers = {
        "500": _answer("500 Internal Server Error"),
        "401": _answer("401 Unauthorized"),
        "nonsense": _answer("200 OK", "<html>no</html>"),
    }

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                if kind in answers:
                    connection.settimeout(2)
                    with contextlib.suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(answers[kind])
                        connection.close()
                elif kind == "then closed" and len(taken) > 3:
                    listener.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield port
    finally:
        listener.close()
        for connection in taken:
            connection.close()


def _answer(status: str, body: str = "") -> bytes:
    """What a web server answers."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"{head}\r\n\r\n{body}".encode()


# Disks


def _disk_faults() -> Iterator[DiskFault]:
    explain = (
        "explain",
        "--checkpoint",
        str(RUN),
        "--images",
        "images/train",
        "--methods",
        "grad_cam",
        "--out",
        "disk/out",
    )
    evaluate = ("evaluate", "--checkpoint", str(RUN), *EVALUATION, "--batch_size", "2", "--out", "disk/out")
    ablate = (*ABLATE, "--out", "disk/out")
    commands: list[tuple[str, str, tuple[str, ...], Sequence[str]]] = [
        ("explain", "run", explain, ("8", "40", "read-only")),
        ("evaluate", "run", evaluate, ("8", "20", "60", "read-only")),
        ("ablate", "run", ablate, ("8", "200", "read-only")),
        ("report", "study", ("report", "disk/out"), ("8", "200", "read-only")),
        ("fit", "run", ("fit", "--config", CONFIG, "--run.folder", "disk/out"), ("8", "200", "read-only")),
        (
            "predict",
            "run",
            (
                "predict",
                "--config",
                CONFIG,
                "--ckpt_path",
                str(RUN / "checkpoints/last.ckpt"),
                "--run.folder",
                "disk/out",
            ),
            ("8", "read-only"),
        ),
    ]
    for name, source, words, hows in commands:
        for how in hows:
            shown = "a read-only disk" if how == "read-only" else f"a disk with room for {how} kB"
            yield DiskFault("disk", f"{name}: {shown}", source, words, "disk/out", how)


def _row_of_disk(fault: DiskFault, folder: Path, place: Workplace) -> Row:
    """Run a command on a failing disk, and again on one with room."""
    shutil.copytree(place.run if fault.source == "run" else place.study, folder, dirs_exist_ok=True)
    write_images(folder / "images")
    (folder / "disk").mkdir()
    started = time.monotonic()
    ended = run_child(Call(functools.partial(_on_disk, fault), folder, 4 * LEAST_PATIENCE))
    seconds = f"{time.monotonic() - started:.1f}"
    found = ended.value or {}
    said = plain(found.get("message") or last_line(str(found.get("said", ""))), folder)

    def row(outcome: str, detail: str) -> Row:
        return Row(fault.name, fault.kind, f"{fault.how} on disk/out", outcome, detail, found.get("mount", ""), seconds)

    if ended.how != "returned":
        return row({"hung": "hang"}.get(ended.how, "harness"), plain(last_line(ended.said), folder))
    if found["torn"]:
        return row("torn files", f"{', '.join(found['torn'])[:120]}; {said}")
    if found["again"]:
        return row("not resumed", plain(found["again"], folder))
    if found["how"] == "raised" or found["traceback"]:
        return row("traceback", said)
    if found["status"] == 0:
        return row("went on", "")
    if fault.output not in found["said"] and "disk" not in found["said"].lower():
        return row("vague", said)
    return row("message", said)


def _on_disk(fault: DiskFault) -> dict[str, Any]:
    """In a child: mount a small disk, run the command, look at what is there, make room, run it again."""
    disk = Path("disk").absolute()
    mount = _mounted(disk, 64 if fault.how == "read-only" else 2 * 1024)
    output = disk / "out"
    if fault.source == "study":
        shutil.copytree(
            STUDY, output, ignore=shutil.ignore_patterns("report.html", "figures", "results.*", "checkpoints")
        )
    output.mkdir(exist_ok=True)
    filler = disk / "filler"
    if fault.how == "read-only":
        _remount(disk, read_only=True)
    else:
        room = int(fault.how) * 1024
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > room:
                file.write(bytes(4096))
    found = _outcome(fault.words)
    found["torn"] = [] if fault.how == "read-only" else _torn(output)
    if fault.how == "read-only":
        _remount(disk, read_only=False)
    filler.unlink(missing_ok=True)
    _enlarge(disk)
    again = _outcome(fault.words)
    failed = again["how"] == "raised" or again["status"]
    found["again"] = f"{again['message']} {last_line(again['said'])}" if failed else ""
    return {**found, "mount": mount}


def _outcome(words: tuple[str, ...]) -> dict[str, Any]:
    """Run a command in this process; how it ended and what it said."""
    sys.stdout.flush()
    sys.stderr.flush()
    said = Path(f"/proc/self/fd/{sys.stderr.fileno()}").resolve()
    start = said.stat().st_size
    found: dict[str, Any] = {"how": "returned", "status": 0, "message": ""}
    try:
        command(*words)
    except SystemExit as stop:
        found |= {"how": "exited", "status": stop.code if isinstance(stop.code, int) else int(stop.code is not None)}
    except BaseException as error:
        traceback.print_exc()
        found |= {"how": "raised", "message": f"{type(error).__name__}: {error}"}
    sys.stdout.flush()
    sys.stderr.flush()
    with said.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    return {**found, "said": text, "traceback": "Traceback (most recent call last)" in text}


def _torn(folder: Path) -> list[str]:
    """Files that are empty or that cannot be read as what they are."""
    torn = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.stat().st_size == 0 and path.name not in (".lock",) and path.suffix not in (".log", ".wandb"):
            torn.append(f"{path.name} is empty")
        elif path.suffix == ".png":
            try:
                with Image.open(path) as image:
                    image.load()
            except (OSError, SyntaxError):
                torn.append(f"{path.name} is cut")
        elif path.name.startswith(".") and path.name not in (".lock", ".study.json"):  # it is a study's copy
            torn.append(f"{path.name} is left over")
    return torn


_NEW_MOUNTS, _MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 0x00020000, 1, 32, 16384, 1 << 18


def _mounted(disk: Path, kilobytes: int) -> str:
    """Mount a small file system that this process alone sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "a small disk needs the right to mount one (root in a container has it)")
    libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    size = max(kilobytes, 2048)
    if libc.mount(b"tmpfs", str(disk).encode(), b"tmpfs", 0, f"size={size}k".encode()):
        raise OSError(ctypes.get_errno(), "cannot mount a small disk")
    os.chdir(Path.cwd())
    return "tmpfs"


def _remount(disk: Path, *, read_only: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _MS_REMOUNT | (_MS_RDONLY if read_only else 0)
    if libc.mount(b"tmpfs", str(disk).encode(), b"tmpfs", flags, b"size=2048k"):
        raise OSError(ctypes.get_errno(), "cannot remount the small disk")


def _enlarge(disk: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount(b"tmpfs", str(disk).encode(), b"tmpfs", _MS_REMOUNT, b"size=512m")


if __name__ == "__main__":
    main()
