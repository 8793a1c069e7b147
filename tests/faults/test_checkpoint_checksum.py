"""A checkpoint says whether it is as it was written."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from camtrain.networks.checkpoint_file import CHECKSUM, checkpoint_content, checksum_of, is_intact

CONTENT = {
    "epoch": 3,
    "state_dict": OrderedDict(weight=torch.arange(6.0).view(2, 3), half=torch.ones(2, dtype=torch.bfloat16)),
    "optimizer_states": [{"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 1)}]}],
    "callbacks": {"best": {"path": "runs/ä/best.ckpt", "score": None, "flag": True, "raw": b"\x00\x01"}},
    "empty": torch.zeros(0, 3),
    "complex": torch.tensor([1 + 2j]).conj(),
    "sparse": torch.eye(3).to_sparse(),
    "strided": torch.arange(12.0).view(3, 4).T[::2],
}


def written(path: Path, content: dict) -> Path:
    torch.save({**content, CHECKSUM: checksum_of(content)}, path)
    return path


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_is_the_same_after_a_file_was_written_and_read(tmp_path):
    read = checkpoint_content(written(tmp_path / "a.ckpt", CONTENT))
    assert read[CHECKSUM] == checksum_of(CONTENT)
    assert is_intact(read)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 4},
        {"epoch": 3.0},
        {"epoch": "3"},
        {"state_dict": OrderedDict(weight=torch.arange(6.0).view(3, 2), half=torch.ones(2, dtype=torch.bfloat16))},
        {"state_dict": OrderedDict(weight=torch.arange(6.0).view(2, 3), half=torch.ones(2, dtype=torch.float16))},
        {"callbacks": {"best": {"path": "runs/a/best.ckpt", "score": None, "flag": True, "raw": b"\x00\x01"}}},
        {"strided": torch.arange(12.0).view(3, 4).T[1::2]},
        {"sparse": 2 * torch.eye(3).to_sparse()},
        {"one_more": None},
    ],
)
def test_any_change_changes_it(change):
    assert checksum_of({**CONTENT, **change}) != checksum_of(CONTENT)


def test_a_flipped_bit_of_a_tensor_is_found(tmp_path):
    path = written(tmp_path / "a.ckpt", {"state_dict": {"weight": torch.full((1000,), 0.5)}})
    with zipfile.ZipFile(path) as archive:
        data = next(each for each in archive.infolist() if each.filename.endswith("data/0"))
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((4,), 0.5).numpy().tobytes(), data.header_offset)
    content[place + 400] ^= 64
    path.write_bytes(content)
    read = torch.load(path, weights_only=True)  # torch says nothing
    assert not is_intact(read)


def test_a_checkpoint_without_a_checksum_passes():
    assert is_intact(CONTENT)
