from __future__ import annotations

import inspect

import pytest
import torch

import camtrain.regularizers
from camtrain import Objective
from camtrain.regularizers import EnergyInside, MapL1, MapRegularizer, RightForRightReasons, annotated_regions
from tests.regularizers.smooth_network import batch, smooth_network

SIZE = (2, 3)
LEFT, NONE = torch.tensor([[0.0, 0.0, 1.0, 2.0]]), torch.zeros(0, 4)
MASKS = torch.tensor([[[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]).bool()


def test_any_is_masks_where_an_image_has_one_otherwise_its_boxes():
    both = [LEFT, LEFT, NONE]
    left = [[1, 0, 0], [1, 0, 0]]
    nothing = [[0, 0, 0], [0, 0, 0]]
    assert annotated_regions(both, MASKS, SIZE).int().tolist() == [[[0, 0, 1], [0, 0, 0]], left, nothing]
    assert annotated_regions(both, MASKS, SIZE, "boxes").int().tolist() == [left, left, nothing]
    assert annotated_regions(both, MASKS, SIZE, "masks").equal(MASKS)
    assert annotated_regions(both, None, SIZE, "masks") is None
    assert annotated_regions(None, None, SIZE) is None


@pytest.mark.parametrize(("boxes", "count"), [([LEFT], 1), ([LEFT] * 4, 4)])
def test_boxes_and_masks_of_different_numbers_of_images(boxes, count):
    with pytest.raises(ValueError, match=rf"`boxes`: expected one \(M, 4\) tensor for each of 3 masks, got {count}"):
        annotated_regions(boxes, MASKS, SIZE)


@pytest.mark.parametrize("annotation", [{"boxes": [LEFT]}, {"masks": MASKS[:1]}])
def test_annotation_of_one_image_is_not_broadcast(annotation):
    message = "`boxes` and `masks`: expected those of 2 images, got 1"
    with pytest.raises(ValueError, match=message):
        RightForRightReasons()(torch.ones(2, 3, *SIZE), None, **annotation)
    with pytest.raises(ValueError, match=message):
        MapL1().of_cams(torch.ones(2, *SIZE), annotation.get("boxes"), annotation.get("masks"))


class Brightness(MapRegularizer):
    """A user's own, which does not look for images without annotation."""

    needs_annotation = True

    def forward(self, cams, regions=None):
        return (cams * regions).flatten(1).sum(1) + 1


@pytest.mark.parametrize("method", ["grad_cam", "input_gradient"])
def test_images_without_annotation_do_not_count_in_a_users_own_penalty(method):
    network, (images, labels, masks) = smooth_network(), batch()
    layer = None if method == "input_gradient" else "4"
    objective = Objective(Brightness(method=method, target_layer=layer), 1.0)
    term = objective(network, images, labels, masks=masks).terms["brightness"]
    assert int(term.counted) == 3
    of_three = Objective(Brightness(method=method, target_layer=layer), 1.0)
    expected = of_three(network, images[:3], labels[:3], masks=masks[:3]).terms["brightness"]
    torch.testing.assert_close(term.value, expected.value)
    assert int(objective.measure(network, images, labels).terms["brightness"].counted) == 0


def test_a_box_around_the_object_is_used_where_there_is_no_mask():
    network, (images, labels, masks) = smooth_network(), batch()
    boxes = [torch.tensor([[1.0, 2.0, 5.0, 6.0]])] * 4  # the same pixels as the masks of the first three
    everywhere = masks.clone()
    everywhere[3] = masks[0]
    found = Objective(EnergyInside(target_layer="4"), 1.0)(network, images, labels, boxes=boxes, masks=masks)
    expected = Objective(EnergyInside(target_layer="4"), 1.0)(network, images, labels, masks=everywhere)
    assert torch.equal(found.loss, expected.loss)
    assert int(found.terms["energy_inside"].counted) == 4


def test_settings_have_one_order_in_all_constructors():
    order = ["distance", "explained", "floor", "annotation", "batch_norm_statistics"]
    exported = (getattr(camtrain.regularizers, name) for name in camtrain.regularizers.__all__)
    with_statistics = [
        found for each in exported
        if inspect.isclass(each) and "batch_norm_statistics" in (found := list(inspect.signature(each).parameters))
    ]  # fmt: skip
    assert sum("floor" in names for names in with_statistics) == 2
    for names in with_statistics:
        assert names == sorted(names, key=order.index)
