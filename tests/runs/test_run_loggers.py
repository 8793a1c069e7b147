"""Which run of W&B a run that is resumed goes on with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camtrain.runs.run_loggers import _wandb_id


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ([], None),
        (["offline-run-20261129_120000-ab12cd34"], "ab12cd34"),
        (["offline-run-20261129_120000-my-run-1"], "my-run-1"),
        (["run-20261129_120000-first", "offline-run-20261129_130000-second", "latest-run"], "second"),
    ],
)
def test_it_is_the_newest_one_by_its_whole_id(tmp_path, folders, expected):
    for folder in folders:
        (tmp_path / "wandb" / folder).mkdir(parents=True)
    assert _wandb_id(SimpleNamespace(log_dir=tmp_path)) == expected
