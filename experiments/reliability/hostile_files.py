"""Gives commands hostile files, and says if one ran code, wrote outside its folder or filled the memory; see README.md.

    python -m experiments.reliability.hostile_files [--small] [--seed 0] [--only http]

Every case has a folder `outside/inside` and runs in `inside`. Code that runs makes a file in `outside`. A case is
*refused* if the command ends with a message, and *harmless* if it works and nothing happened; a *traceback* is
harmless too, but nothing that a user should see.
"""

from __future__ import annotations

import csv
import functools
import http.server
import os
import re
import shutil
import signal
import socketserver
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import yaml

from experiments.reliability import hostile
from experiments.reliability.children import Call, Ended, last_line, plain, run_children
from experiments.reliability.parts import Part, Row, chosen, kept, part_settings, run_part
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
    write_images,
)
from experiments.reliability.wrong_commands import ONE_BATCH, folder_config

PART = Part(
    "hostile_files",
    "hostile files (at least 40)",
    "0 run code, 0 leave their folder, 0 take more than 1.5 GB",
    ("refused", "harmless", "traceback"),
    None,
    14,
)
MOST_MEMORY = 1.5e9  # bytes at the peak, of which half are torch and Lightning themselves
SECONDS = 240.0
FIT_FOLDER = (
    *("fit", "--config", "folder.yaml", "--data", "ImageFolderData", "--data.root", "images"),
    *("--data.image_size", "32", "--data.batch_size", "2", *ONE_BATCH),
)
"""The words that train on a folder of images."""
_LAST = str(RUN / "checkpoints/last.ckpt")
_BAD = str(RUN / "checkpoints/bad.ckpt")


@dataclass(frozen=True)
class HostileFile:
    """A hostile file and the call that reads it.

    Attributes:
        kind: What it tries.
        name: The name of the case.
        of: `run`, `study` or `images`: what the folder of the case is a copy of.
        prepare: Makes the file, in the folder of the case; it is given the path of the canary.
        body: Reads it, in the same folder.
    """

    kind: str
    name: str
    of: str
    prepare: Callable[[Path], None]
    body: Callable[[], object]


def main(words: Sequence[str] | None = None) -> None:
    """Run the cases that have no row yet."""
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    preload()
    place = Workplace(settings.work)
    with served(place.folder / "served") as address:
        found = chosen(list(all_cases(address, place.folder / "served")), settings.size, settings.seed, _kind_of)
        cases = kept(PART, settings, found, lambda case: case.name)
        run_part(PART, settings, rows(cases, place, settings.jobs), len(cases))


def _kind_of(case: HostileFile) -> str:
    return case.kind


def all_cases(address: str, served_folder: Path) -> list[HostileFile]:
    """All cases.

    Args:
        address: Where the files of a folder are served.
        served_folder: The folder.
    """
    return [
        *_checkpoints(),
        *_remote_checkpoints(address, served_folder),
        *_yaml(),
        *_escapes(),
        *_bombs(),
        *_names(),
    ]


def rows(cases: Sequence[HostileFile], place: Workplace, jobs: int) -> Iterator[Row]:
    """Run the cases, and yield a row for each."""

    def calls() -> Iterator[tuple[tuple[HostileFile, Path, set[str]], Call]]:
        for number, case in enumerate(cases):
            outside = place.empty(f"hostile_{number}")
            inside = outside / "inside"
            if case.of == "images":
                inside.mkdir()
                write_images(inside / "images")
            else:
                shutil.copytree(place.study if case.of == "study" else place.run, inside)
                write_images(inside / "images")
            (inside / "folder.yaml").write_text(folder_config(), encoding="utf-8")

            def body(case: HostileFile = case, canary: Path = outside / "canary") -> object:
                case.prepare(canary)
                _forget_peak()  # the makers of bombs are none themselves
                return case.body()

            yield (case, outside, _files(outside)), Call(body, inside, SECONDS, memory=12 * 2**30)

    for (case, outside, before), ended in run_children(calls(), jobs):
        outcome, detail = classified(case, ended, outside, before)
        figure = f"{ended.peak / 1e9:.2f} GB" if ended.peak else ""
        yield Row(case.name, case.kind, case.kind, outcome, detail, figure, f"{ended.seconds:.1f}")
        shutil.rmtree(outside, ignore_errors=True)


def classified(case: HostileFile, ended: Ended, outside: Path, before: set[str]) -> tuple[str, str]:
    """Say what a case came to, the worst first, and the words that it said."""
    new = sorted(_files(outside) - before)
    elsewhere = [path for path in (Path("/tmp/camtrain_escaped"), Path("/tmp/camtrain_escaped.png")) if path.exists()]
    for path in elsewhere:
        path.unlink()
    if "canary" in new:
        return "ran code", plain(last_line(ended.said), outside)
    if new or elsewhere:
        return "left its folder", plain(", ".join([*new, *map(str, elsewhere)]), outside)
    said = plain(f"{ended.error}: {ended.message}" if ended.error else last_line(ended.said), outside)
    if ended.peak > MOST_MEMORY or ended.error == "MemoryError":
        return "memory", said
    if ended.how in ("hung", "killed"):
        return {"hung": "hang", "killed": "memory"}[ended.how], said
    if ended.value:
        return "active", plain(str(ended.value), outside)
    if ended.how == "raised" and not isinstance(case.body, functools.partial):
        # A function of the package may raise what it says it raises.
        known = ended.error in ("ValueError", "TypeError", "FileNotFoundError", "OSError") and "`" in ended.message
        return ("refused" if known else "traceback"), said
    if ended.how == "raised" or ended.printed_a_traceback:
        return "traceback", said
    return ("refused" if ended.status else "harmless"), said if ended.status else ""


def _files(folder: Path) -> set[str]:
    """The names of all that is in a folder, apart from what is in `inside`."""
    return {path.name for path in folder.iterdir() if path.suffix not in (".said", ".json")} - {"inside"}


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class served:  # noqa: N801  it is used as a function
    """A server of the files of a folder, in a process of its own, on a port that is free.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

        class Silent(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *words: object) -> None:
                """Nothing."""

        handler = functools.partial(Silent, directory=str(folder))
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        self._process = os.fork()
        if self._process == 0:
            try:
                self._server.serve_forever()
            finally:
                os._exit(0)
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        self._server.server_close()


# Checkpoints


def _readers(path: str) -> dict[str, functools.partial[None]]:
    """The commands that read a checkpoint."""
    asked = ("--config", CONFIG, *ONE_BATCH, "--ckpt_path", path)
    words: dict[str, tuple[str, ...]] = {
        **{name: (name, *asked) for name in ("fit", "validate", "test", "predict")},
        "evaluate": ("evaluate", "--checkpoint", path, "--config", CONFIG, *EVALUATION),
        "evaluate --compare": ("evaluate", "--checkpoint", _LAST, "--compare", path, *EVALUATION),
        "explain": ("explain", "--checkpoint", path, "--config", CONFIG, "--images", "images/train/cat/0.png"),
        "fit --model.initial_weights": ("fit", "--config", CONFIG, *ONE_BATCH, "--model.initial_weights", path),
    }
    return {name: functools.partial(command, *each) for name, each in words.items()}


def _checkpoints() -> Iterator[HostileFile]:
    readers = _readers(_BAD)
    for number, (shown, make) in enumerate(hostile.HOSTILE_CHECKPOINTS.items()):
        # Every checkpoint is read by the training, by Lightning's other commands in turn, and by one of the package's.
        lightning = ("validate", "test", "predict")[number % 3]
        own = ("evaluate", "explain", "evaluate --compare", "fit --model.initial_weights")[number % 4]
        for reader in dict.fromkeys(("fit", lightning, own, "evaluate")):
            yield HostileFile(
                "code in a checkpoint", f"{reader}: {shown}", "run", _bad_checkpoint(make), readers[reader]
            )
        yield HostileFile("code in a checkpoint", f"load_network: {shown}", "run", _bad_checkpoint(make), _load_network)
    resume = functools.partial(
        command, "fit", "--config", CONFIG, *ONE_BATCH, "--run.resume", "true", "--trainer.max_epochs", "3"
    )
    for shown in ("a pickle with exec beside the weights", "a pickle among the callbacks"):
        make = hostile.HOSTILE_CHECKPOINTS[shown]
        yield HostileFile(
            "code in a checkpoint", f"resume: {shown}", "run", functools.partial(make, Path(_LAST)), resume
        )
    batch = functools.partial(command, *ABLATE, "--out", str(STUDY))
    yield HostileFile("code in a checkpoint", "ablate: rows of an evaluation are a pickle", "study", _bad_rows, batch)
    yield HostileFile("code in a checkpoint", "report: a gallery with objects", "study", _pickled_gallery, _report)


def _bad_checkpoint(make: hostile.Maker) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        shutil.copy(_LAST, _BAD)
        make(Path(_BAD), canary)

    return prepare


def _load_network() -> None:
    import camtrain

    camtrain.load_network(_BAD)


def _report() -> object:
    command("report", str(STUDY))


def _remote_checkpoints(address: str, folder: Path) -> Iterator[HostileFile]:
    """The same from elsewhere: Lightning reads any path that fsspec knows."""

    def prepare(name: str) -> Callable[[Path], None]:
        def make(canary: Path) -> None:
            # The canary is the case's own, so the file is too.
            shutil.copy(_LAST, _BAD)
            hostile.HOSTILE_CHECKPOINTS["a pickle with exec beside the weights"](Path(_BAD), canary)
            shutil.copy(_BAD, folder / name)

        return make

    schemes = {
        "http": f"{address}/NAME",
        "file": "file://INSIDE/" + _BAD,
        "local": "local://INSIDE/" + _BAD,
        "simplecache": f"simplecache::{address}/NAME",
        "zip": "zip://bad.ckpt::INSIDE/bad.zip",
    }
    for scheme, template in schemes.items():
        for reader in ("fit", "validate", "test", "predict", "evaluate", "explain"):
            name = f"{scheme}_{reader}.ckpt"

            def body(reader: str = reader, template: str = template, name: str = name) -> object:
                inside = Path.cwd()
                if "bad.zip" in template:
                    import zipfile

                    with zipfile.ZipFile("bad.zip", "w") as archive:
                        archive.write(_BAD, "bad.ckpt")
                path = template.replace("NAME", name).replace("INSIDE", str(inside))
                return _readers(path)[reader]()

            yield HostileFile("code in a remote checkpoint", f"{reader}: {scheme}://", "run", prepare(name), body)

    def load(canary: Path) -> None:
        prepare("load_network.ckpt")(canary)

    def load_network() -> None:
        import camtrain

        camtrain.load_network(f"{address}/load_network.ckpt")

    yield HostileFile("code in a remote checkpoint", "load_network: http://", "run", load, load_network)


def _bad_rows(canary: Path) -> None:
    import torch

    for path in STUDY.glob("trials/*/evaluated_*/rows/*.pt"):
        torch.save({"x": hostile.RunsCode(canary)}, path)
    for path in STUDY.glob("trials/*/row.json"):
        path.unlink()


# YAML


def _yaml() -> Iterator[HostileFile]:
    for shown in hostile.hostile_yaml(Path("canary")):
        for where in ("model.network", "data", "the end"):

            def prepare(canary: Path, shown: str = shown, where: str = where) -> None:
                value = hostile.hostile_yaml(canary)[shown]
                lines = SMALL.splitlines()
                if where == "model.network":
                    lines[1] = f"  network: {value}"
                elif where == "data":
                    lines[lines.index("data:")] = f"data: {value}"
                    del lines[lines.index(f"data: {value}") + 1 : lines.index("trainer:")]
                else:
                    lines.append(f"extra: {value}")
                Path("hostile.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
                shutil.copy("hostile.yaml", RUN / "config.yaml")

            fit = functools.partial(command, "fit", "--config", "hostile.yaml", *ONE_BATCH)
            if where == "model.network":
                yield HostileFile("code in YAML", f"fit: {shown} in {where}", "run", prepare, fit)
            elif where == "data":
                evaluate = functools.partial(command, "evaluate", "--checkpoint", str(RUN), *EVALUATION)
                yield HostileFile("code in YAML", f"evaluate: {shown} in {where}", "run", prepare, evaluate)
            else:

                def trial(canary: Path, prepare: Callable[[Path], None] = prepare) -> None:
                    shutil.copytree(STUDY / "trials", RUN.parents[1] / "trials", dirs_exist_ok=True)
                    RUN.mkdir(parents=True, exist_ok=True)
                    prepare(canary)
                    for path in STUDY.glob("trials/*/config.yaml"):
                        shutil.copy("hostile.yaml", path)

                yield HostileFile("code in YAML", f"report: {shown} in a trial's config.yaml", "study", trial, _report)


# Names that lead elsewhere


def _escapes() -> Iterator[HostileFile]:
    for shown, name in hostile.ESCAPES.items():
        yield HostileFile(
            "names that leave", f"report: a gallery's member is {shown}", "study", _gallery(name), _report
        )
        yield HostileFile(
            "names that leave", f"report: a trial is called {shown}", "study", _trial_called(name), _report
        )
        ablate = functools.partial(command, *ABLATE, "--out", str(STUDY))
        yield HostileFile("names that leave", f"ablate: fitted.json names {shown}", "study", _fitted(name), ablate)
        boxes = functools.partial(
            command,
            *FIT_FOLDER,
            "--data.boxes_csv",
            "boxes.csv",
        )
        yield HostileFile("names that leave", f"fit: boxes of {shown}", "images", _boxes_of(name), boxes)
        if "\0" not in name:
            named = functools.partial(command, "fit", "--config", CONFIG, *ONE_BATCH, "--run.name", name)
            yield HostileFile("names that leave", f"fit: a run called {shown}", "run", _nothing, named)
    for shown, target in (("a link to a file above", "../secret"), ("a link to a folder above", "..")):

        def link(canary: Path, target: str = target) -> None:
            (canary.parent / "inside" / "secret_dir").mkdir(exist_ok=True)
            for path in STUDY.glob("trials/*/evaluated_*/gallery.npz"):
                path.unlink()
                path.symlink_to(target)

        yield HostileFile("names that leave", f"report: a gallery is {shown}", "study", link, _report)


def _gallery(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        for path in STUDY.glob("trials/*/evaluated_*/gallery.npz"):
            with np.load(path) as arrays:
                found = dict(arrays)
            found[f"cam/{name}"] = found["cam/grad_cam"]
            path.write_bytes(hostile.npz_of(found))

    return prepare


def _pickled_gallery(canary: Path) -> None:
    for path in STUDY.glob("trials/*/evaluated_*/gallery.npz"):
        with np.load(path) as arrays:
            found = dict(arrays)
        found["class_names"] = np.array([hostile.RunsCode(canary)], dtype=object)
        path.write_bytes(hostile.npz_of(found))


def _trial_called(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        def change(study: dict[str, list[dict[str, object]]]) -> object:
            study["trials"][0]["name"] = name
            return study

        hostile.rewritten_json(STUDY / "study.json", change)

    return prepare


def _fitted(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        for path in STUDY.glob("trials/*/fitted.json"):
            hostile.rewritten_json(path, lambda found: {**found, "run": name})
            (path.parent / "row.json").unlink()

    return prepare


def _boxes_of(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        text = f'path,x0,y0,x1,y1\ntrain/cat/0.png,2,2,20,20\n"{name}",2,2,20,20\n'
        Path("boxes.csv").write_text(text, encoding="utf-8")

    return prepare


def _nothing(canary: Path) -> None:
    """Nothing to make."""


# Bombs


def _bombs() -> Iterator[HostileFile]:
    explain = functools.partial(command, "explain", "--checkpoint", str(RUN), "--images", "images/train/cat/0.png")
    fit = functools.partial(
        command,
        *FIT_FOLDER,
    )
    pictures = {
        "13,000 x 13,000 pixels": lambda: hostile.png_bomb(13_000, 13_000),
        "9,000 x 9,000 pixels": lambda: hostile.png_bomb(9_000, 9_000),
        "1 x 150,000,000 pixels": lambda: hostile.png_bomb(150_000_000, 1),
        "20,000 x 20,000 pixels": lambda: hostile.png_bomb(20_000, 20_000),
        "a text of 256 MB": hostile.png_text_bomb,
    }
    for shown, make in pictures.items():

        def prepare(canary: Path, make: Callable[[], bytes] = make) -> None:
            Path("images/train/cat/0.png").write_bytes(make())

        yield HostileFile("bombs", f"explain: an image of {shown}", "run", prepare, explain)
        yield HostileFile("bombs", f"fit: an image of {shown}", "images", prepare, fit)

    def gallery(canary: Path) -> None:
        for path in STUDY.glob("trials/*/evaluated_*/gallery.npz"):
            with np.load(path) as arrays:
                found = dict(arrays)
            path.write_bytes(hostile.npz_bomb(found, "cam/layer_cam", 4))

    yield HostileFile("bombs", "report: a gallery with an array of 4 GB", "study", gallery, _report)

    def checkpoint(canary: Path) -> None:
        hostile.checkpoint_bomb(Path(_BAD), canary, 4)

    for reader in ("evaluate", "test"):
        yield HostileFile(
            "bombs", f"{reader}: a checkpoint with a tensor of 4 GB", "run", checkpoint, _readers(_BAD)[reader]
        )

    def deep(canary: Path) -> None:
        for path in STUDY.glob("trials/*/row.json"):
            path.write_text("[" * 200_000 + "]" * 200_000, encoding="utf-8")

    yield HostileFile("bombs", "report: a row.json of 200,000 brackets", "study", deep, _report)

    def wide(canary: Path) -> None:
        Path("boxes.csv").write_text("path,x0,y0,x1,y1\n" + "x" * 50_000_000 + ",1,1,2,2\n", encoding="utf-8")

    boxes = functools.partial(command, *fit.args, "--data.boxes_csv", "boxes.csv")
    yield HostileFile("bombs", "fit: a CSV with a cell of 50 MB", "images", wide, boxes)


# Names on pages and in tables


def _names() -> Iterator[HostileFile]:
    for shown, name in hostile.HOSTILE_NAMES.items():
        yield HostileFile(
            "active names", f"report: values and study called {shown}", "study", _study_called(name), _page
        )
        if "/" not in name:
            yield HostileFile("active names", f"explain: a file called {shown}", "run", _file_called(name), _explained)


def _study_called(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        def change(study: dict[str, dict[str, object]]) -> object:
            study["plan"]["name"] = name
            study["plan"]["config"] = f"{name}.yaml"
            study["plan"]["command"] = ["camtrain", "ablate", name]
            axes = study["plan"]["axes"]
            axes.append({"key": "model.stem", "values": [name, "b"]})  # type: ignore[attr-defined]
            for trial in study["trials"]:
                trial["point"]["model.stem"] = name  # type: ignore[index]
            return study

        hostile.rewritten_json(STUDY / "study.json", change)
        for path in STUDY.glob("trials/*/row.json"):
            hostile.rewritten_json(
                path, lambda found: {**found, "row": {**found["row"], "model.stem": name, "device": name}}
            )
        for path in STUDY.glob("trials/*/evaluated_*/gallery.npz"):
            with np.load(path) as arrays:
                found = dict(arrays)
            found["class_names"] = np.array([name] * 10)
            path.write_bytes(hostile.npz_of(found))

    return prepare


def _file_called(name: str) -> Callable[[Path], None]:
    def prepare(canary: Path) -> None:
        shutil.copy("images/train/cat/0.png", f"images/train/cat/{name}.png")
        config = yaml.safe_load((RUN / "config.yaml").read_text(encoding="utf-8"))
        (RUN / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    return prepare


def _explained() -> object:
    command("explain", "--checkpoint", str(RUN), "--images", "images/train/cat")
    return ""


def _page() -> object:
    """Make the report and the table, and return what in them is active."""
    command("report", str(STUDY))
    from camtrain.study import Study

    Study.opened(STUDY).write_results()
    found = active_elements((STUDY / "report.html").read_text(encoding="utf-8"))
    for path in STUDY.glob("figures/*.svg"):
        found += [f"{path.name}: {each}" for each in active_elements(path.read_text(encoding="utf-8"))]
    return "; ".join([*found, *formulas(STUDY / "results.csv")])


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what could run something."""
        if tag in ("script", "iframe", "object", "embed", "base", "meta") and not (
            tag == "meta" and _is_charset(attrs)
        ):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or re.match(r"\s*javascript:", value or "", re.IGNORECASE):
                self.found.append(f"{tag} {name}={value}")


def _is_charset(attrs: list[tuple[str, str | None]]) -> bool:
    return any(name in ("charset", "name") for name, _ in attrs)


def active_elements(page: str) -> list[str]:
    """Elements and attributes of a page that could run something.

    Example:
        >>> active_elements("<p onclick='x'>&lt;script&gt;</p><script>1</script>")
        ['p onclick=x', '<script>']
    """
    parser = _Elements()
    parser.feed(page)
    return parser.found


def formulas(path: Path) -> list[str]:
    """Cells of a CSV file that a spreadsheet would take for a formula; numbers are none."""
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    is_number = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?").fullmatch
    return [f"cell {cell!r}" for cell in cells if re.match(r"\s*[=+\-@]", cell) and not is_number(cell)]


if __name__ == "__main__":
    main()
