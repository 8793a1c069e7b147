from __future__ import annotations

import torch
from torch.utils.data import Subset

from camtrain.data import CIFAR10, OxfordPet
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
