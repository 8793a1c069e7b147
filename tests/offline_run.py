"""Reads back what the W&B client wrote offline."""

from __future__ import annotations

import json
import struct
import time

from wandb.proto import wandb_internal_pb2


class OfflineRun:
    """What a `.wandb` file holds: name, group, tags, configuration, history rows, summary, metrics and artifacts.

    The file is a LevelDB log (blocks of 32 KiB, records of checksum, length, type and data) of protocol buffers, behind
    a header of 7 bytes.
    """

    def __init__(self, folder):
        self.config, self.history, self.summary, self.metrics, self.artifacts = {}, [], {}, [], []
        for record in self._all_records(folder):
            kind = record.WhichOneof("record_type")
            if kind == "config":
                self.config.update(self._values(record.config.update))
            elif kind == "history":
                self.history.append(self._values(record.history.item))
            elif kind == "summary":
                self.summary.update(self._values(record.summary.update))
            elif kind == "run":
                self.name, self.group = record.run.display_name, record.run.run_group
                self.tags = list(record.run.tags)
                self.config.update(self._values(record.run.config.update))
            elif kind == "metric":
                self.metrics.append(record.metric)
            elif kind == "artifact":
                self.artifacts.append(record.artifact)

    def _all_records(self, folder):
        # W&B's own process may still write when `finish()` returns; its last record is the exit.
        end = time.monotonic() + 60
        while time.monotonic() < end:
            records = [record for path in folder.glob("*.wandb") for record in self._records(path.read_bytes())]
            if records and records[-1].WhichOneof("record_type") == "exit":
                return records
            time.sleep(0.1)
        raise TimeoutError(f"{folder} has no exit record")

    @staticmethod
    def _values(items):
        values = {}
        for item in items:
            *outer, last = item.nested_key or [item.key]
            inner = values
            for key in outer:
                inner = inner.setdefault(key, {})
            inner[last] = json.loads(item.value_json)
        return values

    @staticmethod
    def _records(data):
        assert data[:4] in (b":W&B", b"")
        position, parts = 7, b""
        while position + 7 <= len(data):
            left = 32768 - position % 32768
            _, length, part = struct.unpack("<IHB", data[position : position + 7])
            if left >= 7 and position + 7 + length > len(data):
                return  # still being written
            if left < 7 or part == 0:
                position += left
                continue
            parts += data[position + 7 : position + 7 + length]
            position += 7 + length
            if part in (1, 4):  # a whole record, or the last part of one
                record = wandb_internal_pb2.Record()
                record.ParseFromString(parts)
                yield record
                parts = b""
