from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torchvision import tv_tensors

from camtrain.batch import collate
from camtrain.data.annotated_samples import AnnotatedSamples, annotated_indices

LABELS = [0] * 300 + [1] * 200 + [2] * 100


def test_smaller_fractions_are_among_larger_ones():
    fractions = (0, 0.01, 0.1, 0.25, 0.5, 1)
    chosen = [annotated_indices(LABELS, fraction, seed=3) for fraction in fractions]
    assert [len(indices) for indices in chosen] == [0, 6, 60, 150, 300, 600]
    for few, more in pairwise(chosen):
        assert set(few) < set(more)
    assert chosen[1] == annotated_indices(LABELS, 0.01, seed=3) != annotated_indices(LABELS, 0.01, seed=4)
    assert [[LABELS[index] for index in indices].count(0) for indices in chosen] == [0, 3, 30, 75, 150, 300]


@pytest.mark.parametrize(("fraction", "count"), [(1e-9, 1), (0.0024, 1), (0.0026, 2), (0.0, 0)])
def test_at_least_one_above_zero(fraction, count):
    assert len(annotated_indices(LABELS, fraction, seed=0)) == count


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=rf"`annotated_fraction`: expected a fraction in \[0, 1\], got {fraction}"):
        annotated_indices(LABELS, fraction, seed=0)


def annotated(label, boxes=True, mask=True):
    sample = {"image": tv_tensors.Image(torch.full((3, 4, 6), label, dtype=torch.uint8)), "label": label}
    if boxes:
        corners = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
        sample["boxes"] = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(4, 6))
    if mask:
        sample["mask"] = tv_tensors.Mask(torch.ones(4, 6, dtype=torch.bool))
    return sample


def test_hidden_ones_are_unknown_and_the_source_is_left_as_it_was():
    source = [annotated(label) for label in range(3)]
    samples = AnnotatedSamples(source, [1, 2])
    batch = collate([samples[index] for index in range(3)])
    assert [len(boxes) for boxes in batch.boxes] == [0, 2, 2]
    assert batch.masks.sum((1, 2)).tolist() == [0, 24, 24]
    assert (batch.labels.tolist(), batch.images[:, 0, 0, 0].tolist()) == ([0, 1, 2], [0, 1, 2])
    assert samples[0]["boxes"].canvas_size == (4, 6)
    assert samples[0]["boxes"].shape == (0, 4)
    assert samples[0]["mask"].dtype == torch.bool
    assert len(samples[-3]["boxes"]) == 0
    assert len(samples[-1]["boxes"]) == 2
    assert len(source[0]["boxes"]) == 2
    assert source[0]["mask"].all()


def test_ignored_pixels_are_hidden_with_the_mask():
    source = [{**annotated(label), "ignored": tv_tensors.Mask(torch.ones(4, 6, dtype=torch.bool))} for label in (0, 1)]
    batch = collate([AnnotatedSamples(source, [1])[index] for index in (0, 1)])
    assert batch.ignored.sum((1, 2)).tolist() == [0, 24]
    assert source[0]["ignored"].all()


def test_what_is_not_there_is_not_added():
    assert "mask" not in AnnotatedSamples([annotated(0, mask=False)], [])[0]
    assert "boxes" not in AnnotatedSamples([annotated(0, boxes=False)], [])[0]
