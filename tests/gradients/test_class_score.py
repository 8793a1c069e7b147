from __future__ import annotations

import pytest
import torch

from camtrain.gradients import Against, Contrast, class_score, fixed_class, repeated_class, selected_class

LOGITS = [[1.0, 2.0, 0.0], [4.0, 3.0, 5.0]]
# The predicted classes are 1 and 2; the runners-up are 0 and 0.


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (None, [2.0, 5.0]),
        (0, [1.0, 4.0]),
        (torch.tensor(1), [2.0, 3.0]),
        (torch.tensor([2, 0]), [0.0, 4.0]),
        (torch.tensor([2, 0], dtype=torch.int32), [0.0, 4.0]),
        (Against(), [-2.0, -5.0]),
        (Against(0), [-1.0, -4.0]),
        (Against(torch.tensor([2, 0])), [0.0, -4.0]),
        (Contrast(), [2.0 - 1.0, 5.0 - 4.0]),
        (Contrast(0), [1.0 - 2.0, 4.0 - 5.0]),  # the runner-up of a class that is not predicted is the predicted one
        (Contrast(1), [2.0 - 1.0, 3.0 - 5.0]),
        (Contrast(None, 2), [2.0 - 0.0, 0.0]),  # the second image is predicted as 2 itself
        (Contrast(torch.tensor([2, 0]), torch.tensor([0, 1])), [0.0 - 1.0, 4.0 - 3.0]),
        (Contrast(2, against=torch.tensor(1)), [0.0 - 2.0, 5.0 - 3.0]),
    ],
)
def test_by_hand(class_idx, expected):
    assert class_score(torch.tensor(LOGITS), class_idx).tolist() == expected


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (None, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (Against(), [[0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]),
        (Contrast(), [[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]),
        (Contrast(None, 2), [[0.0, 1.0, -1.0], [0.0, 0.0, 0.0]]),
    ],
)
def test_stays_in_the_graph(class_idx, expected):
    logits = torch.tensor(LOGITS, requires_grad=True)
    class_score(logits, class_idx).sum().backward()
    assert logits.grad.tolist() == expected


@pytest.mark.parametrize(
    ("logits", "runner_up"),
    [
        ([[3.0, 3.0, 1.0]], 1),  # a tie for the first place
        ([[-torch.inf, 0.0, -torch.inf]], 0),
        ([[0.0, -torch.inf, -torch.inf]], 1),  # and not 0, which is as low as the others once it is masked
    ],
)
def test_the_runner_up_is_another_class(logits, runner_up):
    fixed = fixed_class(torch.tensor(logits), Contrast())
    assert fixed.against.tolist() == [runner_up]
    assert fixed.class_idx.tolist() != fixed.against.tolist()


# Fixed classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (None, [1, 2]),
        (0, [0, 0]),
        (torch.tensor(1), [1, 1]),
        (torch.tensor([2, 0], dtype=torch.int16), [2, 0]),
        (Against(), Against([1, 2])),
        (Contrast(), Contrast([1, 2], [0, 0])),
        (Contrast(torch.tensor([0, 1])), Contrast([0, 1], [1, 2])),
        (Contrast(None, 1), Contrast([1, 2], [1, 1])),
    ],
)
def test_fixed_class(class_idx, expected):
    fixed = fixed_class(torch.tensor(LOGITS), class_idx)
    assert _lists(fixed) == _lists(expected)
    # Other logits, of which other classes are the highest, are scored for the same classes.
    others = -torch.tensor(LOGITS)
    assert torch.equal(class_score(others, fixed), -class_score(torch.tensor(LOGITS), class_idx))
    assert _lists(fixed_class(others, fixed)) == _lists(expected)


def test_a_choice_is_repeated_or_selected_along_the_batch():
    logits = torch.arange(12.0).view(3, 4)
    for class_idx in (None, 1, torch.tensor([3, 0, 2]), Against(), Contrast(None, torch.tensor([0, 1, 2])), Contrast()):
        fixed = fixed_class(logits, class_idx)
        score = class_score(logits, fixed)
        variants = logits.unsqueeze(1).repeat(1, 2, 1).flatten(0, 1)
        assert torch.equal(class_score(variants, repeated_class(fixed, 2)), score.repeat_interleave(2))
        for images in (slice(1, 3), torch.tensor([2, 2, 0]), torch.tensor([True, False, True])):
            assert torch.equal(class_score(logits[images], selected_class(fixed, images)), score[images])


def test_one_class_for_all_images_needs_no_repeating():
    assert repeated_class(2, 3) == selected_class(2, slice(1)) == 2
    assert repeated_class(Against(torch.tensor(2)), 3).class_idx.tolist() == 2


@pytest.mark.parametrize("class_idx", [None, Against(), Contrast(1), Contrast(None, 1)])
def test_a_choice_that_depends_on_the_logits_is_not_repeated(class_idx):
    for change in (lambda: repeated_class(class_idx, 2), lambda: selected_class(class_idx, slice(1))):
        with pytest.raises(ValueError, match=r"`class_idx`: expected classes, got None; .*`fixed_class`"):
            change()


def test_classes_of_a_test_loop():
    """Labels made under inference mode cannot be saved for the backward as they are."""
    with torch.inference_mode():
        labels = torch.tensor([2, 0])
    logits = torch.tensor(LOGITS, requires_grad=True)
    for class_idx, expected in [
        (labels, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        (Against(labels), [[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]),
        (Contrast(labels), [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0]]),
        (Contrast(None, labels), [[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]),
    ]:
        (gradient,) = torch.autograd.grad(class_score(logits, class_idx).sum(), logits)
        assert gradient.tolist() == expected


def _lists(class_idx):
    """The same with lists in the place of tensors."""
    parts = vars(class_idx).values() if isinstance(class_idx, (Against, Contrast)) else [class_idx]
    return type(class_idx).__name__ * (len(parts) > 1), [
        part.tolist() if isinstance(part, torch.Tensor) else part for part in parts
    ]


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", [lambda index: index, Against, Contrast, lambda index: Contrast(0, index)])
@pytest.mark.parametrize(
    ("class_idx", "message"),
    [
        (3, "expected classes from 0 to 2, got 3"),
        (torch.tensor([0, -1]), "expected classes from 0 to 2, got -1"),
        (torch.tensor([0, 1, 2]), "one for each of 2 images"),
        (0.5, "expected integers"),
        (torch.tensor([True, False]), "expected integers"),
    ],
)
def test_bad_classes(class_idx, message, around):
    with pytest.raises(ValueError, match=f"`class_idx`: .*{message}"):
        class_score(torch.tensor(LOGITS), around(class_idx))


@pytest.mark.parametrize("class_idx", ["dog", [0, 1], Contrast(Against(1)), Against("dog"), Contrast(0, Contrast(1))])
def test_no_class(class_idx):
    with pytest.raises(TypeError, match="`class_idx`: expected an integer, a tensor of integers"):
        class_score(torch.tensor(LOGITS), class_idx)


def test_no_logits():
    with pytest.raises(ValueError, match=r"`network`: expected \(N, K\) logits, got \(3,\)"):
        class_score(torch.zeros(3))
    with pytest.raises(ValueError, match=r"`network`: expected \(N, K\) logits, got tuple"):
        fixed_class((torch.zeros(3, 2),))


def test_a_single_logit_is_the_score_of_yes_and_its_negative_that_of_no():
    logits = torch.tensor([[2.0], [-3.0], [0.5]], requires_grad=True)
    assert fixed_class(logits).tolist() == [1, 0, 1]
    assert class_score(logits).tolist() == [2.0, 3.0, 0.5]
    assert class_score(logits, 1).tolist() == [2.0, -3.0, 0.5]
    assert class_score(logits, torch.tensor([0, 0, 1])).tolist() == [-2.0, 3.0, 0.5]
    assert class_score(logits, Against()).tolist() == [-2.0, -3.0, -0.5]
    assert class_score(logits, Contrast()).tolist() == [4.0, 6.0, 1.0]  # yes rather than no, and no rather than yes
    (gradient,) = torch.autograd.grad(class_score(logits).sum(), logits)
    assert gradient.flatten().tolist() == [1.0, -1.0, 1.0]
    with pytest.raises(ValueError, match="`class_idx`: expected classes from 0 to 1, got 2"):
        class_score(logits, 2)
