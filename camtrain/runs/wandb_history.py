"""The rows that W&B's files of a run hold, and those that a kill has cost them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from camtrain.runs.metrics_table import MetricsTable, rows_of

_STEP = "trainer/global_step"
_BLOCK = 32768  # bytes


@rank_zero_only
def log_missing_rows(logger: WandbLogger, table: MetricsTable) -> None:
    """Log the rows of a resumed run's table that W&B's files of the run do not have.

    W&B writes its files in blocks, from a process of its own: a kill costs it the last rows.

    Args:
        logger: The logger of the run, which has been opened.
        table: The table of the run, as it goes on.
    """
    rows = rows_of(table.path.read_text(encoding="utf-8")) if table.path.is_file() else []
    folders = Path(table.log_dir, "wandb").glob(f"*run-*-{logger.version}")
    known = {_identity(row) for folder in folders for path in folder.glob("*.wandb") for row in wandb_rows(path)}
    for row in rows:
        values: dict[str, Any] = {key: float(value) for key, value in row.items() if key != "step"}
        if "epoch" in values:
            values["epoch"] = int(values["epoch"])
        step = int(row["step"])
        if _identity({**values, _STEP: step}) not in known:
            logger.log_metrics(values, step)


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a row from the others: its step and its columns, without those of W&B."""
    return row.get(_STEP), *sorted(key for key in row if key != _STEP and not key.startswith("_"))


def wandb_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows in a file of W&B, `run-<id>.wandb`, as far as it can be read.

    The file is a LevelDB log (blocks of 32 KiB, records of checksum, length, type and data) of protocol buffers, behind
    a header of 7 bytes.

    Args:
        path: The file.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined, unused-ignore]

    for data in _records(path.read_bytes()):
        record = Record()
        try:
            record.ParseFromString(data)
        except DecodeError:
            return
        if record.WhichOneof("record_type") == "history":
            yield {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}


def _records(data: bytes) -> Iterator[bytes]:
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        _, length, part = struct.unpack("<IHB", data[position : position + 7])
        if left < 7 or part == 0:  # the rest of a block is not used
            position += left
            continue
        if position + 7 + length > len(data):
            return  # cut
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if part in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""
