"""Values by hand of the penalties on an input gradient, and their gradients by `gradcheck`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from camtrain import Objective
from camtrain.gradients import DoubleBackprop
from camtrain.regularizers import GradientNorm, GradientSmoothness, RightForRightReasons
from camtrain.regularizers.regularizer import as_penalty
from tests.regularizers.smooth_network import batch, smooth_network

GRADIENTS = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])
MASKS = torch.tensor([[[True, False], [False, True]]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (GradientNorm(), 14.0),
        (GradientSmoothness(), (3 + 3 + 2 + 2) / 6),
        (RightForRightReasons(), 4.0 + 9.0),
    ],
)
def test_by_hand(regularizer, expected):
    values, counted, _ = as_penalty(regularizer(GRADIENTS, None, masks=MASKS))
    assert values.tolist() == pytest.approx([expected])
    assert counted.tolist() == [True]


@pytest.mark.parametrize("regularizer", [GradientNorm(), GradientSmoothness(), RightForRightReasons()])
def test_gradient(regularizer):
    torch.manual_seed(0)
    gradients = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 4, 5) > 0.5
    assert torch.autograd.gradcheck(lambda each: as_penalty(regularizer(each, None, masks=masks)).values, gradients)


@pytest.mark.parametrize("regularizer", [GradientNorm(), GradientSmoothness(), RightForRightReasons()])
def test_a_gradient_of_zero(regularizer):
    gradients = torch.zeros(1, 1, 2, 2, requires_grad=True)
    values = as_penalty(regularizer(gradients, None, masks=MASKS)).values
    values.sum().backward()
    assert values.tolist() == [0.0]
    assert torch.equal(gradients.grad, torch.zeros_like(gradients))


def test_boxes_and_masks():
    box = [torch.tensor([[0.0, 0.0, 2.0, 1.0]])]
    assert RightForRightReasons()(GRADIENTS, None, boxes=box).values.tolist() == [9.0]
    assert RightForRightReasons()(GRADIENTS, None, boxes=box, masks=MASKS).values.tolist() == [13.0]
    assert RightForRightReasons(annotation="boxes")(GRADIENTS, None, boxes=box, masks=MASKS).values.tolist() == [9.0]
    unknown = torch.zeros_like(MASKS)
    assert RightForRightReasons()(GRADIENTS, None, boxes=box, masks=unknown).values.tolist() == [9.0]
    assert RightForRightReasons()(GRADIENTS, None, masks=unknown).counted.tolist() == [False]


def test_right_for_right_reasons_is_that_of_all_log_probabilities():
    """Against the formula of the paper, written out for one batch."""
    network, (images, labels, masks) = smooth_network(), batch()
    images = images.requires_grad_()
    total = F.log_softmax(network(images), dim=1).sum()
    (gradients,) = torch.autograd.grad(total, images)
    outside = (~masks[:3]).unsqueeze(1)
    expected = (outside * gradients[:3]).square().sum() / 3
    step = Objective(RightForRightReasons(), 1.0, DoubleBackprop())(network, images.detach(), labels, masks=masks)
    torch.testing.assert_close(step.regularization, expected.float())


def test_white_noise_is_about_as_rough_as_is_said():
    torch.manual_seed(0)
    noise = torch.randn(1, 3, 200, 200)
    assert GradientSmoothness()(noise, None).values.item() == pytest.approx(2 * 2**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RightForRightReasons("logits"), "`explained`: expected log_probabilities or loss, got 'logits'"),
        (lambda: RightForRightReasons(annotation="x"), "`annotation`: expected any, masks or boxes, got 'x'"),
        (lambda: GradientSmoothness(floor=-1), "`floor`: expected a positive, finite number, got -1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
