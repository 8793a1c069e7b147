"""The entry of a finished trial, `row.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camtrain.files import SEAL, DamagedFileError, is_plain_name, read_sealed, write_sealed

Entry = dict[str, Any]
"""What `row.json` holds: `hash` of the trial; `evaluation`, `validation`, `test` and `keys` of the plan that it was run
by; `row`, the result by column; `files`, the hashes of the files of its evaluation."""

_KINDS: dict[str, tuple[type, ...]] = {
    "hash": (str,),
    "row": (dict,),
    "test": (bool,),
    "keys": (list,),
    "files": (dict,),
}
_ALWAYS = ("hash", "row", "evaluation")
_ENDED = "training_ended"


def write_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Write the entry of a trial whose training reached its end.

    Args:
        path: The file.
        entry: Its content.
    """
    write_sealed(path, {**entry, _ENDED: True})


def read_entry(path: Path) -> Entry:
    """Read the entry of a trial, also one of an earlier version.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it is no such entry.
    """
    found = read_sealed(path)
    for name in _ALWAYS:
        if name not in found:
            raise DamagedFileError(path, f"it has no {name!r}")
    for name, kinds in _KINDS.items():
        if name in found and not isinstance(found[name], kinds):
            raise DamagedFileError(path, f"expected {kinds[0].__name__} as {name!r}, got {found[name]!r}")
    if not all(isinstance(key, str) for key in found.get("keys", ())):
        raise DamagedFileError(path, f"expected texts as 'keys', got {found['keys']!r}")
    for name, value in found.get("files", {}).items():
        if not (all(map(is_plain_name, name.split("/"))) and isinstance(value, str)):
            raise DamagedFileError(path, f"expected names of files with their hashes as 'files', got {name!r}")
    found.pop(SEAL, None)
    return {"test": True, "files": {}, **found}


def is_half_trained(entry: Entry) -> bool:
    """Whether an entry may be that of a training that was stopped, which an earlier version took for finished.

    It was to be tested, and has no score of a test: a stopped training never came to it. A data module without test
    images leaves the same entry; then the training is taken up, is found to be at its end, and the trial is scored.
    """
    return not entry.get(_ENDED) and bool(entry["test"]) and not any(key.startswith("test/") for key in entry["row"])
