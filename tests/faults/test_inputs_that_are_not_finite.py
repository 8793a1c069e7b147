"""NaN or infinity in an image is found at the first batch, and the image is named."""

from __future__ import annotations

import math
import re

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from camtrain import Classifier, Objective
from camtrain.batch import are_finite
from camtrain.data import ImageFolderData
from camtrain.messages import DataError
from camtrain.networks import CIFARResNet
from camtrain.regularizers import GradientNorm


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return Classifier(CIFARResNet(depth=8, num_classes=2, width=4), num_classes=2, regularizer=GradientNorm())


def trainer(tmp_path):
    return pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip


def loader(value, shape=(3, 16, 16)):
    images = torch.randn(8, *shape)
    images[6, 1, 2, 3] = value
    return DataLoader(list(zip(images, torch.arange(8) % 2, strict=True)), batch_size=4)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_the_batch_and_the_image_are_named(classifier, tmp_path, stage, value):
    name = {"fit": "train", "validate": "val"}.get(stage, stage)
    expected = f"{name} batch 1 of epoch 0: `images`: expected finite values, got NaN or infinity in image 2 of 4"
    before = [parameter.detach().clone() for parameter in classifier.parameters()]
    with pytest.raises(DataError, match=expected):
        getattr(trainer(tmp_path), stage)(classifier, loader(value))
    assert all(bool(each.isfinite().all()) for each in classifier.parameters())
    if stage != "fit":
        assert all(map(torch.equal, before, classifier.parameters()))


class Logarithm(v2.Transform):
    """Leaves infinity where a pixel is black."""

    def transform(self, image, params):
        is_image = isinstance(image, torch.Tensor) and image.dtype == torch.uint8 and image.dim() == 3
        return image.float().log() if is_image else image


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later, of any worker
@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_module_names_the_file(classifier, fake_image_folder, tmp_path, workers):
    data = ImageFolderData(
        str(fake_image_folder / "images"), image_size=40, extra_train_transform=[Logarithm()], batch_size=4,
        num_workers=workers,
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        trainer(tmp_path).fit(classifier, data)
    message = r"/.*/train/(circle|square)/\d.png holds NaN or infinity after its transforms"
    assert re.fullmatch(message, str(caught.value))


def test_a_plain_loop_is_told_too():
    images = torch.zeros(3, 3, 16, 16)
    images[[0, 2], 0] = math.nan
    with pytest.raises(ValueError, match=r"`images`: expected finite values, got NaN or infinity in images 0, 2 of 3"):
        Objective()(CIFARResNet(depth=8), images, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_large_values_are_finite(dtype):
    large = torch.full((2, 3, 4, 4), torch.finfo(dtype).max, dtype=dtype)
    assert are_finite(large)
    assert are_finite(large[:, :, ::2])
    assert are_finite(torch.zeros(0, 3, 4, 4, dtype=dtype))
    for value in (math.nan, math.inf, -math.inf):
        for place in range(0, 96, 19):
            broken = large.clone()
            broken.view(-1)[place] = value
            assert not are_finite(broken)
