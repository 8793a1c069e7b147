"""Tiny data sets on disk, made once per session."""

from __future__ import annotations

import gc
import os
import sys
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from camtrain.data import decoy_digits
from tests.data.fake_data import make_cifar10, make_cifar100, make_image_folder, make_oxford_pet

# `tests/processors.py` turns oneDNN off; scripts that tests start do the same for themselves.
torch.backends.mkldnn.enabled = os.environ.get("CAMTRAIN_TEST_ONEDNN") != "0"


def pytest_collection_finish() -> None:
    """Keep what is imported by now, a million things, from each collection of garbage: that takes a second or more."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def my_code_forgotten():
    """Forget a user's own module after each test, since the next one may write another under the same name."""
    yield
    sys.modules.pop("my_code", None)


@pytest.fixture(scope="session", autouse=True)
def scenes_drawn_once():
    """Draw the images of DecoyDigits once for each process, which takes seconds; each test gets a copy of its own."""
    drawn = lru_cache(maxsize=12)(decoy_digits.digit_scenes)

    def copied(digits, **options):
        return deepcopy(drawn(tuple(digits), **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoy_digits, "digit_scenes", copied)
        yield


@pytest.fixture
def double_by_default():
    """New tensors are float64, for two ways to the same number.

    In float32 they differ by the order of their sums, which depends on the processor, on the number of threads and on
    the size of a batch, and by much more where a ReLU is so near its kink that the order decides on its side.
    """
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def no_checksums():
    """Torchvision accepts CIFAR files of any content, as long as all are there."""
    with pytest.MonkeyPatch.context() as patch:
        for source in (datasets.CIFAR10, datasets.CIFAR100):
            patch.setattr(source, "train_list", [[name, None] for name, _ in source.train_list])
            patch.setattr(source, "test_list", [[name, None] for name, _ in source.test_list])
            patch.setattr(source, "meta", {**source.meta, "md5": None})
        yield


@pytest.fixture(scope="session")
def fake_cifar10(tmp_path_factory, no_checksums) -> Path:
    """The `root` of a CIFAR-10 with 50 training and 10 test images per class."""
    root = tmp_path_factory.mktemp("cifar10")
    make_cifar10(root)
    return root


@pytest.fixture(scope="session")
def fake_cifar100(tmp_path_factory, no_checksums) -> Path:
    """The `root` of a CIFAR-100 with 10 training and 2 test images per class."""
    root = tmp_path_factory.mktemp("cifar100")
    make_cifar100(root)
    return root


@pytest.fixture(scope="session")
def fake_oxford_pet(tmp_path_factory) -> Path:
    """The `root` of an Oxford-IIIT Pet with three breeds and 10 images of each in trainval and in test."""
    root = tmp_path_factory.mktemp("oxford_pet")
    make_oxford_pet(root)
    return root


@pytest.fixture(scope="session")
def fake_image_folder(tmp_path_factory) -> Path:
    """A folder with `images`, the root of a tree of two classes, and their `boxes.csv` and `masks`."""
    root = tmp_path_factory.mktemp("image_folder")
    make_image_folder(root)
    return root
