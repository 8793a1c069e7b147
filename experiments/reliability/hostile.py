"""Files that somebody made to do harm: they run code, write elsewhere, fill the memory, or put themselves on a page.

What runs code here only makes the file `canary`, whose path it is given.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


class RunsCode:
    """Its pickle writes a file when it is read.

    Args:
        canary: The file.
        way: The name of the function that the pickle calls: one of `WAYS`.
    """

    def __init__(self, canary: Path, way: str = "exec") -> None:
        self.canary, self.way = str(canary), way

    def __reduce__(self) -> tuple[Any, ...]:
        import os
        import subprocess

        source = f"open({self.canary!r}, 'w').close()"
        if self.way == "os.system":
            return os.system, (f"touch '{self.canary}'",)
        if self.way == "subprocess.Popen":
            return subprocess.Popen, (["touch", self.canary],)
        if self.way == "eval":
            return eval, (f"__import__('pathlib').Path({self.canary!r}).touch()",)
        if self.way == "Path.touch":
            return Path.touch, (Path(self.canary),)
        return exec, (source,)


WAYS = ("exec", "eval", "os.system", "subprocess.Popen", "Path.touch")

Maker = Callable[[Path, Path], None]
"""Makes a hostile file of a good checkpoint in its place; it is given the path of the file and that of the canary."""


def _in(key: str, way: str) -> Maker:
    def make(path: Path, canary: Path) -> None:
        saved = torch.load(path, weights_only=True)
        place = saved
        *outer, last = key.split("/")
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = RunsCode(canary, way)
        torch.save(saved, path)

    return make


def _legacy(path: Path, canary: Path) -> None:
    torch.save({"state_dict": RunsCode(canary)}, path, _use_new_zipfile_serialization=False)


def _plain(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": RunsCode(canary, "os.system")}))


def _script(path: Path, canary: Path) -> None:
    """A TorchScript archive whose constants are a pickle that runs code."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl"):
            archive.writestr(f"archive/{name}", pickle.dumps(RunsCode(canary)))
        archive.writestr("archive/version", "3\n")


def _instantiator(name: str) -> Maker:
    """Lightning imports the function of this name and calls it with the checkpoint's settings."""

    def make(path: Path, canary: Path) -> None:
        saved = torch.load(path, weights_only=True)
        saved["hyper_parameters"]["_instantiator"] = name
        saved["hyper_parameters"]["network"] = str(canary)
        torch.save(saved, path)

    return make


def _class_path(class_path: str, arguments: Callable[[Path], Any]) -> Maker:
    """The network is an arbitrary class, made with the arguments of the stranger."""

    def make(path: Path, canary: Path) -> None:
        saved = torch.load(path, weights_only=True)
        described = {"class_path": class_path, "init_args": arguments(canary)}
        saved["hyper_parameters"]["network"] = described
        torch.save(saved, path)

    return make


HOSTILE_CHECKPOINTS: dict[str, Maker] = {
    **{f"a pickle with {way} beside the weights": _in("evil", way) for way in WAYS},
    "a pickle among the weights": _in("state_dict/network.fc.bias", "exec"),
    "a pickle among the settings": _in("hyper_parameters/stem", "exec"),
    "a pickle among the callbacks": _in("callbacks/evil", "exec"),
    "a pickle of the old format": _legacy,
    "a bare pickle": _plain,
    "a TorchScript archive": _script,
    "settings that name a function": _instantiator("os.system"),
    "settings that name a module's function": _instantiator("shutil.rmtree"),
    "a class that starts a process": _class_path("subprocess.Popen", lambda canary: {"args": ["touch", str(canary)]}),
    "a function of the shell": _class_path("os.system", lambda canary: {"command": f"touch '{canary}'"}),
}


def hostile_yaml(canary: Path) -> dict[str, str]:
    """Values of a YAML file that run code where its reader lets them, by what they are."""
    touch = f"touch '{canary}'"
    return {
        "python/object/apply": f'!!python/object/apply:os.system ["{touch}"]',
        "python/object/new": f'!!python/object/new:os.system ["{touch}"]',
        "python/name in apply": f'!!python/object/apply:subprocess.Popen [["touch", "{canary}"]]',
        "python/module": "!!python/module:antigravity",
        "eval": f"!!python/object/apply:eval [\"__import__('os').system('{canary}')\"]",
        "resolver": "${python:" + f"open('{canary}', 'w')" + "}",
        "class_path of a process": f"{{class_path: subprocess.Popen, init_args: {{args: [touch, '{canary}']}}}}",
        "class_path of the shell": f'{{class_path: os.system, init_args: {{command: "{touch}"}}}}',
        "laughs": "[&a [x,x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b,*b],"
        " &d [*c,*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e,*e],"
        " &g [*f,*f,*f,*f,*f,*f,*f,*f,*f], [*g,*g,*g,*g,*g,*g,*g,*g,*g]]",
        "brackets": "[" * 5000 + "]" * 5000,
    }


ESCAPES = {
    "above the folder": "x/../../../escaped",
    "an absolute path": "/tmp/camtrain_escaped",
    "a backslash": "..\\..\\escaped",
    "a NUL": "esc\0aped",
    "a very long name": "e" * 5000,
    "a home": "~/escaped",
    "a device": "/dev/full",
    "only dots": "..",
    "a line end": "esc\naped",
}
"""Names that lead out of a folder, or that no file can have."""


def npz_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An `.npz` file with members of any name, which numpy would not write."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=True)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
    return found.getvalue()


def npz_bomb(arrays: Mapping[str, np.ndarray], name: str, gigabytes: int = 8) -> bytes:
    """An `.npz` file of some megabytes with one array of many gigabytes of zeros."""
    found = io.BytesIO(npz_of(arrays))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1, 2**15, gigabytes * 2**15)}
    )
    with (
        zipfile.ZipFile(found, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(gigabytes * 2**10):
            member.write(bytes(2**20))
    return found.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one color, whose size on the disk is a thousandth of that in the memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    line = bytes(1 + 3 * width)
    packed = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def png_text_bomb(size: int = 2**28) -> bytes:
    """A small PNG with a compressed text of many megabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    text = b"comment\0\0" + zlib.compress(bytes(size), 9)
    pixels = zlib.compress((b"\0" + bytes(24)) * 8)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"zTXt", text)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def checkpoint_bomb(path: Path, canary: Path, gigabytes: int = 8) -> None:
    """A checkpoint whose one tensor takes gigabytes, and whose file is small, since it is packed."""
    torch.save({"state_dict": {"network.fc.bias": torch.zeros(4)}, "hyper_parameters": {"num_classes": 4}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    big = next(name for name in members if "/data/" in name)
    content = members[next(name for name in members if name.endswith("data.pkl"))]
    count = gigabytes * 2**28
    # The number of elements and the shape, as the pickle has them: the small integer 4.
    content = content.replace(b"K\x04tq", b"\x8a\x05" + count.to_bytes(5, "little") + b"tq")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            if name == big:
                with archive.open(name, "w", force_zip64=True) as member:
                    for _ in range(gigabytes * 2**10):
                        member.write(bytes(2**20))
            else:
                archive.writestr(name, content if name.endswith("data.pkl") else data)


HOSTILE_NAMES = {
    "a script": "<script>alert(1)</script>",
    "an image with a handler": "<img src=x onerror=alert(1)>",
    "a closed attribute": '"><svg onload=alert(1)>',
    "a closed attribute in single quotes": "'><body onload=alert(1)>",
    "a link": '<a href="javascript:alert(1)">x</a>',
    "a template": "{{ 7 * 191 }}{% raw %}",
    "the end of a style": "</style><script>alert(1)</script>",
    "the end of a title": "</title><script>alert(1)</script>",
    "a comment": "<!-- <script>alert(1)</script> -->",
    "an entity": "&lt;script&gt;&#60;script&#62;",
    "a formula": "=cmd|'/C calc'!A0",
    "a formula with a plus": "+1+cmd|'/C calc'!A0",
    "a formula with a minus": "-1+cmd|'/C calc'!A0",
    "a formula with an at": "@SUM(1+1)*cmd|'/C calc'!A0",
    "a formula behind a tab": "\t=1+1",
    "math that is no math": "$\\frac{1}{$",
    "an unclosed brace": "\\input{/etc/passwd}",
}
"""Names that a page or a spreadsheet may take for something else."""


def rewritten_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file."""
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
