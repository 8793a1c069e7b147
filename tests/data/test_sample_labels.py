from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import Subset

from camtrain.data import CIFAR10, OxfordPet
from camtrain.data.data_summary import split_counts
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.sample_labels import sample_labels


class Spy:
    """Samples without `labels`."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.read.append(index)
        return {"image": torch.zeros(3, 2, 2), "label": 10 - index}


class Labelled(Spy):
    labels = (5, 6, 7, 8)


def test_samples_are_read_only_where_they_do_not_say():
    spy, labelled = Spy(), Labelled()
    assert sample_labels(spy) == [10, 9, 8, 7]
    assert sample_labels(Subset(Spy(), [3, 1])) == [7, 9]
    assert sample_labels(labelled) == [5, 6, 7, 8]
    assert sample_labels(Subset(Subset(labelled, [3, 2, 0]), [2, 0])) == [5, 8]
    assert (spy.read, labelled.read) == ([0, 1, 2, 3], [])


def test_they_are_those_of_the_samples(fake_cifar10, fake_oxford_pet):
    for data in (CIFAR10(root=str(fake_cifar10)), OxfordPet(root=str(fake_oxford_pet))):
        samples = data.samples("val")
        assert sample_labels(samples) == [samples[index]["label"] for index in range(len(samples))]
        assert len(set(sample_labels(samples))) == data.num_classes


def test_images_with_several_objects_have_all_their_classes_or_that_of_the_largest():
    files = [ImageFile(Path("a.jpg"), 2, classes=(2, 0, 2)), ImageFile(Path("b.jpg"), 1)]
    several, one = ImageFileSamples(files, num_classes=3), ImageFileSamples(files)
    assert sample_labels(several) == sample_labels(one) == [2, 1]
    assert sample_labels(Subset(several, [1, 0])) == [1, 2]
    assert sample_labels(several, of_all_classes=True) == [(0, 2), (1,)]
    assert sample_labels(one, of_all_classes=True) == [2, 1]


def test_several_labels_in_memory_are_counted_class_by_class():
    shown = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, 0, 0]])
    samples = InMemorySamples(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), shown)
    assert sample_labels(samples) == [(0, 2), (2,), ()]
    assert split_counts(samples).of_class == {0: 1, 2: 2}
