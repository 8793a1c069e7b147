from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.networks import CIFARResNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=5, width=4).eval()


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("max_batch", [1, 2, 3, 7, 64])
def test_each_variant_gets_its_own_probabilities_whatever_the_batches(network, max_batch):
    images = torch.randn(3, 3, 8, 8)
    variants = [images * factor for factor in (0.0, 0.5, 1.0, 2.0, -1.0)]
    classes = torch.tensor([4, 0, 2])
    found = list(ClassProbabilities(network, max_batch).of_class(iter(variants), classes))
    assert len(found) == len(variants)
    for one, variant in zip(found, variants, strict=True):
        expected = [network(variant[i : i + 1]).softmax(dim=1)[0, classes[i]] for i in range(3)]
        torch.testing.assert_close(one, torch.stack(expected).detach())


def test_passes_are_as_full_as_they_may_be(network):
    sizes = []
    network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    probabilities = ClassProbabilities(network, max_batch=10)
    list(probabilities.of_class([torch.zeros(3, 3, 8, 8)] * 7, torch.zeros(3, dtype=torch.long)))
    assert sizes == [9, 9, 3]
    assert probabilities.images_run == 21


def test_variants_are_drawn_as_they_are_needed(network):
    drawn = []

    def variants():
        for number in range(6):
            drawn.append(number)
            yield torch.zeros(2, 3, 8, 8)

    found = ClassProbabilities(network, max_batch=4).of_class(variants(), torch.zeros(2, dtype=torch.long))
    next(found)
    assert drawn == [0, 1]


def test_no_variants_and_no_images(network):
    probabilities = ClassProbabilities(network)
    assert list(probabilities.of_class([], torch.tensor([0]))) == []
    (one,) = probabilities.of_class([torch.zeros(0, 3, 8, 8)], torch.zeros(0, dtype=torch.long))
    assert one.shape == (0,)


def test_no_graph_and_at_least_float32(network):
    probabilities = ClassProbabilities(network.bfloat16()).of_all(torch.randn(2, 3, 8, 8, dtype=torch.bfloat16))
    assert probabilities.dtype == torch.float32
    assert not probabilities.requires_grad
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    assert ClassProbabilities(network.double()).of_all(torch.randn(2, 3, 8, 8).double()).dtype == torch.float64


def test_bad_input_is_named(network):
    with pytest.raises(ValueError, match="`max_batch`"):
        ClassProbabilities(network, 0)
    with pytest.raises(ValueError, match=r"`network`: expected \(2, K\) logits, got \(2, 3, 8, 8\)"):
        ClassProbabilities(nn.Identity()).of_all(torch.zeros(2, 3, 8, 8))
