"""The classification losses by hand, against PyTorch and torchvision, and each on every path of the objective."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import AttentionBranch, CIFARResNet, attention_heads
from camtrain.objective import BinaryCrossEntropy, ClassificationLoss, CrossEntropy, FocalLoss
from camtrain.objective.classification_losses import CLASSIFICATION_LOSSES
from camtrain.objective.focal_loss import odds_of_all
from camtrain.regularizers import AttentionBranchLoss, GradientNorm, InterpretableGradient, RightForRightReasons
from tests.far_device import far_device
from tests.regularizers.smooth_network import batch, smooth_network

NAMES = pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
ENGINES = pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
SEVERAL = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]])  # several classes in an image, or none


def logits_of(num_images=5, num_classes=4, scale=3.0):
    return scale * torch.randn(num_images, num_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_values_by_hand():
    """Sigmoids of (1/2, 3/4, 1/4) and (3/4, 1/2, 1/2), the labels 1 and 2."""
    logits = torch.tensor([[0.0, math.log(3), -math.log(3)], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([1, 2])
    first = -math.log(1 / 2) - math.log(3 / 4) - math.log(3 / 4)
    second = -math.log(1 / 4) - math.log(1 / 2) - math.log(1 / 2)
    assert BinaryCrossEntropy()(logits, labels).item() == pytest.approx((first + second) / 2)
    assert BinaryCrossEntropy(over_classes="mean")(logits, labels).item() == pytest.approx((first + second) / 6)
    # The softmaxes of the labels are 3 / (1 + 3 + 1/3) and 1 / (3 + 1 + 1).
    assert CrossEntropy()(logits, labels).item() == pytest.approx((-math.log(9 / 13) - math.log(1 / 5)) / 2)
    focal = -((4 / 13) ** 2) * math.log(9 / 13) - (4 / 5) ** 2 * math.log(1 / 5)
    assert FocalLoss()(logits, labels).item() == pytest.approx(focal / 2)


@pytest.mark.parametrize("num_classes", [2, 100])
def test_the_gradient_at_a_logit_is_as_large_for_both(num_classes):
    """σ(z_k) − t_k and softmax(z)_k − t_k over N, however many classes there are."""
    torch.manual_seed(0)
    logits = torch.randn(4, num_classes, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(4) % num_classes
    targets = F.one_hot(labels, num_classes).double()
    (binary,) = torch.autograd.grad(BinaryCrossEntropy()(logits, labels), logits)
    torch.testing.assert_close(binary, (logits.sigmoid() - targets) / 4)
    (other,) = torch.autograd.grad(CrossEntropy()(logits, labels), logits)
    torch.testing.assert_close(other, (logits.softmax(dim=1) - targets) / 4)


@NAMES
def test_smoothing_and_probabilities_are_those_of_the_formula(name):
    loss, labels = CLASSIFICATION_LOSSES[name], torch.tensor([1, 0, 2])
    logits = logits_of(3)
    hard = F.one_hot(labels, 4).double()
    assert torch.equal(loss()(logits, hard), loss()(logits, labels))
    smooth = loss(label_smoothing=0.3)
    torch.testing.assert_close(loss()(logits, 0.7 * hard + 0.3 / 4), smooth(logits, labels))
    torch.testing.assert_close(smooth(logits, hard), smooth(logits, labels))
    assert smooth(logits, labels) != loss()(logits, labels)


def test_class_weights_are_those_of_pytorch_but_for_the_divisor():
    logits, labels, weights = logits_of(), torch.tensor([0, 3, 3, 1, 2]), [0.5, 1.0, 2.0, 4.0]
    w = torch.tensor(weights, dtype=torch.float64)
    for smoothing in (0.0, 0.2):
        loss = CrossEntropy(weights, smoothing)
        expected = F.cross_entropy(logits, labels, w, reduction="sum", label_smoothing=smoothing) / 5
        torch.testing.assert_close(loss(logits, labels), expected)
        torch.testing.assert_close(loss.of_images(logits, labels).mean(), expected)
        # An image adds what depends on itself alone, whatever else is in the batch.
        torch.testing.assert_close(loss(logits[:1], labels[:1]), loss.of_images(logits, labels)[0])
    shown = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0]]).double()
    binary = F.binary_cross_entropy_with_logits(logits, shown, pos_weight=w, reduction="none")
    torch.testing.assert_close(BinaryCrossEntropy(weights)(logits, shown), binary.sum(dim=1).mean())
    torch.testing.assert_close(BinaryCrossEntropy(weights, over_classes="mean")(logits, shown), binary.mean())
    torch.testing.assert_close(BinaryCrossEntropy(weights).of_images(logits, shown), binary.sum(dim=1))
    torch.testing.assert_close(
        BinaryCrossEntropy(weights, over_classes="mean").of_images(logits, shown), binary.mean(dim=1)
    )


def test_balanced_weights_make_all_classes_count_alike():
    frequencies = torch.tensor([0.5, 0.3, 0.2])
    loss = CrossEntropy("balanced")
    with pytest.raises(RuntimeError, match="`class_weights`: balanced weights are computed from the training images"):
        loss(torch.zeros(1, 3), torch.tensor([0]))
    assert loss.needs_class_frequencies
    loss.set_class_frequencies(frequencies)
    assert not loss.needs_class_frequencies
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    logits = torch.zeros(10, 3)
    # Every class adds up to the same, and the mean weight is 1.
    sums = [loss.of_images(logits, labels)[labels == label].sum().item() for label in range(3)]
    assert sums == pytest.approx([10 / 3 * math.log(3)] * 3, rel=1e-6)
    binary = BinaryCrossEntropy("balanced")
    binary.set_class_frequencies(frequencies)
    assert binary.positive_weights.values.tolist() == pytest.approx([1, 7 / 3, 4])
    for kind, expected in ((FocalLoss, loss), (lambda w: FocalLoss(class_weights=w, independent_classes=True), binary)):
        focal = kind("balanced") if kind is not FocalLoss else FocalLoss(class_weights="balanced")
        focal.set_class_frequencies(frequencies)
        (weights,) = (module.values for module in expected.modules() if hasattr(module, "given"))
        torch.testing.assert_close(focal.class_weights.values, weights)
    with pytest.raises(ValueError, match=r"`positive_weights`: expected training images .* none of class 1"):
        binary.set_class_frequencies(torch.tensor([0.5, 0.0, 0.5]))


def test_a_loss_with_weights_can_be_moved_where_there_is_no_float64():
    """As on an Apple GPU, to which no float64 tensor of a module can go."""
    loss = CrossEntropy([1.0, 4.0])
    balanced = BinaryCrossEntropy("balanced")
    balanced.set_class_frequencies(torch.tensor([0.5, 0.5]))
    for each in (loss, balanced):
        assert [name for name, held in each.named_buffers() if held.dtype == torch.float64] == []


def test_balanced_weights_are_in_the_state_dict_and_given_ones_are_not():
    first, second = (Objective(classification_loss=CrossEntropy("balanced")) for _ in range(2))
    first.loss_function.set_class_frequencies(torch.tensor([0.25, 0.75]))
    second.load_state_dict(first.state_dict())
    assert second.loss_function.class_weights.values.tolist() == [2.0, pytest.approx(2 / 3)]
    plain, given = Objective(), Objective(classification_loss=CrossEntropy([1.0, 2.0]))
    assert not [key for key in (*plain.state_dict(), *given.state_dict()) if "loss" in key]
    for other in (plain, given):  # a checkpoint with balanced weights can be gone on with otherwise, and the reverse
        other.load_state_dict(first.state_dict())
        second.load_state_dict(other.state_dict())
    assert second.loss_function.class_weights.values.tolist() == [2.0, pytest.approx(2 / 3)]


def test_the_focal_loss_is_torchvisions():
    logits, shown = logits_of(), (logits_of(scale=1.0) > 0).double()
    loss = FocalLoss(gamma=1.5, class_weights=[3.0] * 4, independent_classes=True)
    # α = 3/4: positives count 3/4 and negatives 1/4.
    expected = 4 * sigmoid_focal_loss(logits, shown, alpha=0.75, gamma=1.5, reduction="sum") / 5
    torch.testing.assert_close(loss(logits, shown), expected)
    torch.testing.assert_close(FocalLoss(1.5, [3.0] * 4, True, "mean")(logits, shown), expected / 4)


def test_the_focal_loss_is_the_cross_entropy_if_gamma_is_zero():
    logits, labels, weights = logits_of(), torch.tensor([0, 3, 3, 1, 2]), [0.5, 1.0, 2.0, 4.0]
    shown = F.one_hot(labels, 4).double()
    soft = torch.full((5, 4), 0.25, dtype=torch.float64)
    for target in (labels, shown, soft):
        torch.testing.assert_close(FocalLoss(0, weights)(logits, target), CrossEntropy(weights)(logits, target))
        torch.testing.assert_close(
            FocalLoss(0, weights, independent_classes=True)(logits, target), BinaryCrossEntropy(weights)(logits, target)
        )


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_the_focal_loss_of_a_confident_image_is_finite_and_so_are_its_derivatives(gamma, independent):
    loss = FocalLoss(gamma, independent_classes=independent)
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([[1e4, -1e4], [0.0, 0.0], [60.0, -60.0]], dtype=dtype, requires_grad=True)
        for labels in (torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])):
            (gradient,) = torch.autograd.grad(loss(logits, labels), logits, create_graph=True)
            (second,) = torch.autograd.grad(gradient.square().sum(), logits)
            assert gradient.isfinite().all()
            assert second.isfinite().all()


def test_log_odds_of_all_classes_are_those_of_the_softmax():
    logits = logits_of()
    p = logits.softmax(dim=1)
    torch.testing.assert_close(odds_of_all(logits), p.log() - torch.log1p(-p))
    assert torch.autograd.gradcheck(odds_of_all, logits.requires_grad_())


def test_a_label_that_is_none_is_not_left_out_where_labels_are_not_checked(monkeypatch):
    """As on an accelerator, where the kernel has to notice it: -100 is what PyTorch leaves out by default."""
    monkeypatch.setattr("camtrain.objective.cross_entropy.check_labels", lambda *_: None)
    with pytest.raises(IndexError, match="-100"):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor([0, -100]))


def test_mixed_labels_of_one_class_are_not_taken_for_several():
    """Else the penalties of a training with CutMix would be of sigmoids in mixed batches, of the softmax in others."""
    objective = Objective(classification_loss="binary_cross_entropy")
    mixed, several = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]]), torch.tensor([[1.0, 0.0, 1.0]])
    assert objective.shown_classes(mixed) is None
    assert objective.shown_classes(several).tolist() == [[True, False, True]]
    # Mixed images of several labels may each show one class by chance.
    assert objective.shown_classes(mixed).tolist() == [[True, False, False], [False, False, True]]
    assert objective.shown_classes(0.7 * several).tolist() == [[True, False, True]]
    assert objective.shown_classes(torch.tensor([2, 0])) is None
    assert not objective.several_labels
    assert objective.shown_classes(mixed) is None


def test_an_image_may_have_several_labels_or_none():
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    found = BinaryCrossEntropy()(torch.tensor([[2.0, 0.0], [0.0, -1.0]]), labels)
    expected = (math.log1p(math.exp(-2)) + 2 * math.log(2) + math.log1p(math.exp(-1))) / 2
    assert found.item() == pytest.approx(expected)


def test_labels_of_a_single_logit_are_checked_on_every_device():
    """No kernel of an accelerator would notice them."""
    with far_device() as far, pytest.raises(ValueError, match="`labels`: expected classes from 0 to 1, got 2"):
        BinaryCrossEntropy()(torch.zeros(2, 1).to(far), torch.tensor([0, 2]).to(far))


def test_a_single_logit_says_yes_or_no():
    logits, labels = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 0, 0])
    expected = F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())
    for loss in (BinaryCrossEntropy(), FocalLoss(0, independent_classes=True)):
        torch.testing.assert_close(loss(logits, labels), expected)
        torch.testing.assert_close(loss(logits, labels.float().unsqueeze(1)), expected)
    # Smoothing is that of the two classes that the logit stands for.
    two = torch.cat([-logits / 2, logits / 2], dim=1)
    torch.testing.assert_close(
        BinaryCrossEntropy(label_smoothing=0.2)(logits, labels), CrossEntropy(label_smoothing=0.2)(two, labels)
    )
    for loss in (CrossEntropy(), FocalLoss()):
        with pytest.raises(ValueError, match="`classification_loss`: expected binary_cross_entropy for a network of a"):
            loss(logits, labels)
    with pytest.raises(ValueError, match="`labels`: expected classes from 0 to 1, got 2"):
        BinaryCrossEntropy()(logits, labels + 1)


def test_a_confident_image_has_a_finite_loss_and_gradient():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    for label, expected in ((0, 0.0), (1, 2e4)):
        loss = BinaryCrossEntropy()(logits, torch.tensor([label]))
        assert loss.item() == expected
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


@NAMES
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([3]), "expected classes from 0 to 1, got 3"),
        (
            torch.zeros(1, 3),
            r"expected \(1,\) class indices or \(1, 2\) .*, got shape \(1, 3\)",
        ),
        (torch.zeros(1, 2).long(), "expected int64 class indices or floating point (probabilities|numbers in)"),
    ],
)
def test_bad_labels_are_named(name, labels, message):
    with pytest.raises(ValueError, match=f"`labels`: {message}"):
        CLASSIFICATION_LOSSES[name]()(torch.zeros(1, 2), labels)


@pytest.mark.parametrize("loss", [CrossEntropy(), FocalLoss()])
@pytest.mark.parametrize(
    ("row", "total"),
    [([1.0, 1.0], "2"), ([0.0, 0.0], "0"), ([2.0, -1.0], "1"), ([math.nan, 1], "nan")],
)
def test_labels_that_are_no_probabilities_are_refused_where_classes_compete(loss, row, total):
    labels = torch.tensor([[0.5, 0.5], row])
    message = (
        f"`labels`: expected probabilities that sum to 1 .* got a sum of {total} for image 1 .*binary_cross_entropy"
    )
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 2), labels)
    assert loss(torch.zeros(2, 2), torch.tensor([[0.5, 0.5], [0.333, 0.666]]).bfloat16().float()) > 0


@pytest.mark.parametrize("bad", [2.0, -0.5, math.nan])
def test_labels_of_independent_classes_are_fractions(bad):
    with pytest.raises(ValueError, match=r"`labels`: expected numbers in \[0, 1\], 1 for a class that is shown, got"):
        BinaryCrossEntropy()(torch.zeros(1, 2), torch.tensor([[1.0, bad]]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CrossEntropy([1.0, -1.0]), ValueError, "`class_weights`: expected one number of at least 0 for each"),
        (lambda: CrossEntropy([0.0, 0.0]), ValueError, "`class_weights`: .* got only zeros"),
        (lambda: CrossEntropy("even"), TypeError, "`class_weights`: .* or balanced, got 'even'"),
        (lambda: CrossEntropy([1.0])(torch.zeros(1, 2), torch.tensor([0])), ValueError, "expected 2 numbers, .* got 1"),
        (lambda: BinaryCrossEntropy([math.nan]), ValueError, "`positive_weights`"),
        (lambda: BinaryCrossEntropy(over_classes="max"), ValueError, "`over_classes`: expected sum or mean, got 'max'"),
        (lambda: FocalLoss(over_classes="mean"), ValueError, "`over_classes`: expected sum for classes that"),
        (lambda: FocalLoss(-1), ValueError, "`gamma`"),
        (lambda: CrossEntropy(label_smoothing=2), ValueError, "`label_smoothing`"),
    ],
)
def test_bad_settings_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def by_hand(logits, labels, smoothing=0.0):
    targets = labels.double() if labels.dim() == 2 else F.one_hot(labels, logits.shape[1]).double()
    targets = (1 - smoothing) * targets + smoothing / logits.shape[1]
    return -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).sum(dim=1).mean()


def weighted_by_hand(logits, labels):
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    return -(weights[labels] * logits.log_softmax(dim=1)[range(len(labels)), labels]).mean()


def focal_by_hand(logits, labels):
    p = logits.softmax(dim=1)[range(len(labels)), labels]
    return -((1 - p) ** 2 * p.log()).mean()


def several_focal_by_hand(logits, labels):
    p, t = logits.sigmoid(), labels.double()
    losses = t * (1 - p) ** 2 * F.logsigmoid(logits) + (1 - t) * p**2 * F.logsigmoid(-logits)
    return -losses.sum(dim=1).mean()


class Squared(nn.Module):
    """A loss of a user's own, with a buffer and, if it is learned, a parameter in float32."""

    independent_classes = False

    def __init__(self, learned=False):
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 0.5, 2.0]))
        self.shift = nn.Parameter(torch.tensor(0.25)) if learned else 0.25

    def forward(self, logits, labels):
        targets = F.one_hot(labels, 3).to(logits.dtype)
        return (self.scale * (logits - targets - self.shift) ** 2).sum(dim=1).mean()


def squared_by_hand(logits, labels):
    scale = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    return (scale * (logits - F.one_hot(labels, 3) - 0.25) ** 2).sum(dim=1).mean()


HARD = torch.tensor([0, 1, 2, 1])
WEIGHTS = torch.tensor([1.0, 2.0, 5.0])
ALL_LOSSES = {
    "cross_entropy": ({}, F.cross_entropy, HARD),
    "smooth": ({"label_smoothing": 0.2}, lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2), HARD),
    "weights": ({"classification_loss": CrossEntropy([1, 2, 5])}, weighted_by_hand, HARD),
    "binary": ({"classification_loss": "binary_cross_entropy"}, by_hand, HARD),
    "smooth_binary": (
        {"classification_loss": "binary_cross_entropy", "label_smoothing": 0.2},
        lambda z, t: by_hand(z, t, 0.2),
        HARD,
    ),
    "several": ({"classification_loss": BinaryCrossEntropy()}, by_hand, SEVERAL),
    "positive_weights": (
        {"classification_loss": BinaryCrossEntropy([1, 2, 5], over_classes="mean")},
        lambda z, t: F.binary_cross_entropy_with_logits(z, t.double(), pos_weight=WEIGHTS.double()),
        SEVERAL,
    ),
    "focal": ({"classification_loss": "focal"}, focal_by_hand, HARD),
    "several_focal": (
        {"classification_loss": FocalLoss(independent_classes=True)},
        several_focal_by_hand,
        SEVERAL,
    ),
    "function": ({"classification_loss": lambda z, t: (z.sigmoid() - t).square().mean()}, None, SEVERAL),
    "torch": (
        {"classification_loss": nn.BCEWithLogitsLoss(pos_weight=WEIGHTS)},
        lambda z, t: F.binary_cross_entropy_with_logits(z, t.double(), pos_weight=WEIGHTS.double()),
        SEVERAL,
    ),
    "module": ({"classification_loss": Squared()}, squared_by_hand, HARD),
}


@ENGINES
@pytest.mark.parametrize("case", ALL_LOSSES)
def test_every_path_of_the_objective_uses_it(case, engine):
    """The penalized gradient and the parameters' gradient against float64 autograd of the formulas written out."""
    settings, formula, labels = ALL_LOSSES[case]
    formula = formula or settings["classification_loss"]
    network, (images, _, _) = smooth_network(), batch()
    twin, leaf = copy.deepcopy(network), images.clone().requires_grad_()
    classification = formula(twin(leaf), labels)
    (gradients,) = torch.autograd.grad(classification * len(leaf), leaf, create_graph=True)
    norms = gradients.flatten(1).square().sum(1).mean()
    expected = torch.autograd.grad(classification + 5 * norms, list(twin.parameters()))
    plain = torch.autograd.grad(formula(twin(images), labels), list(twin.parameters()))

    regularized = Objective(GradientNorm(), 5.0, engine(), **settings)
    for objective, gradients_by_hand in ((regularized, expected), (Objective(**settings), plain)):
        network.zero_grad()
        step = objective(network, images, labels)
        measured = objective.measure(network, images, labels)
        step.loss.backward()
        for parameter, gradient in zip(network.parameters(), gradients_by_hand, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
        for each in (step, measured):
            torch.testing.assert_close(each.classification, classification.detach().float())
            if objective is regularized:
                torch.testing.assert_close(each.regularization, norms.detach().float())


@pytest.mark.parametrize("case", ALL_LOSSES)
def test_a_network_of_single_precision_has_its_loss_in_double_where_its_gradient_is_penalized(case):
    settings, formula, labels = ALL_LOSSES[case]
    formula = formula or settings["classification_loss"]
    network, (images, _, _) = smooth_network().float(), batch()
    with torch.no_grad():
        expected = formula(network(images.float()).double(), labels)
    for regularizer in (InterpretableGradient(), RightForRightReasons("loss")):
        objective = Objective(InterpretableGradient() if regularizer is None else GradientNorm(), 1.0, **settings)
        step = objective(network, images.float(), labels)
        assert step.classification.item() == pytest.approx(expected.item(), rel=1e-6)
        step.loss.backward()


def test_a_parameter_of_a_loss_is_trained():
    loss = Squared(learned=True)
    network, (images, _, _) = smooth_network().float(), batch()
    plain = Objective(classification_loss=loss)
    for objective in (plain, Objective(GradientNorm(), 1.0, DoubleBackprop(), classification_loss=loss)):
        loss.zero_grad()
        objective(network, images.float(), HARD).loss.backward()
        assert loss.shift.grad.abs() > 0
        assert any(parameter is loss.shift for parameter in objective.parameters())


def test_the_losses_of_single_images_are_those_whose_mean_is_the_loss():
    logits = logits_of(4, 3)
    for settings, _, labels in ALL_LOSSES.values():
        objective = Objective(**settings)
        loss = objective._loss_of(labels)
        each = loss.of_images(logits)
        assert each.shape == (4,)
        torch.testing.assert_close(each.mean(), loss.precise(logits))


def test_the_branch_of_a_network_is_trained_with_the_same_loss():
    torch.manual_seed(0)
    network = AttentionBranch(CIFARResNet(depth=8, num_classes=3), 3).eval()
    (head,) = attention_heads(network).values()
    outputs = []
    handle = head.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.logits))
    objective = Objective(AttentionBranchLoss(), 1.0, classification_loss="binary_cross_entropy")
    step = objective.measure(network, torch.rand(4, 3, 16, 16), SEVERAL)
    handle.remove()
    torch.testing.assert_close(step.regularization, by_hand(outputs[-1].double(), SEVERAL).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"classification_loss": "binary_cros_entropy"},
            ValueError,
            "`classification_loss`: .* 'binary_cross_entropy'",
        ),
        ({"classification_loss": CrossEntropy}, TypeError, "`classification_loss`: expected a name, a loss such as"),
        ({"classification_loss": 3}, TypeError, "`classification_loss`: .* got 3"),
        ({"classification_loss": "focal", "label_smoothing": 0.1}, ValueError, "`label_smoothing`: expected 0 for the"),
        (
            {"classification_loss": CrossEntropy(), "label_smoothing": 0.1},
            ValueError,
            "`label_smoothing`: expected 0 beside a `classification_loss` that is not a name, got 0.1",
        ),
    ],
)
def test_what_is_no_loss_is_named(settings, error, message):
    with pytest.raises(error, match=message):
        Objective(**settings)
    assert "classification_loss=binary_cross_entropy" in str(Objective(classification_loss="binary_cross_entropy"))


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (
            nn.CrossEntropyLoss(reduction="none"),
            ValueError,
            r"expected a function .* 0-dim, got shape \(4,\)",
        ),
        (lambda logits, labels: 3.0, TypeError, "expected a function .* got 3.0"),
    ],
)
def test_a_loss_that_is_no_mean_is_named(loss, error, message):
    network, (images, labels, _) = smooth_network(), batch()
    with pytest.raises(error, match=f"`classification_loss`: {message}"):
        Objective(classification_loss=loss)(network, images, labels)


def test_the_name_of_a_loss():
    class Mine(ClassificationLoss):
        def of_images(self, logits, labels):
            return logits[:, 0]

    class Overridden(Objective):
        def classification_loss(self, logits, labels):
            return logits.sum()

    given = [
        Objective(),
        Objective(classification_loss=FocalLoss(1)),
        Objective(classification_loss=Mine()),
        Overridden(),
    ]
    assert [objective.loss_name for objective in given] == ["cross_entropy", "focal", "Mine", "Overridden"]
    assert Objective(classification_loss=F.mse_loss).loss_name == "mse_loss"
    assert [objective.independent_classes for objective in given] == [False, False, False, True]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.NLLLoss(), F.cross_entropy, F.nll_loss])
def test_mixed_labels_of_torchs_own_losses_are_those_of_one_class(loss):
    """They have no attribute that says so. Mixed images, none of whose classes has half, would lose their penalty."""
    objective = Objective(classification_loss=loss)
    assert not objective.independent_classes
    assert objective.shown_classes(torch.tensor([[0.4, 0.3, 0.3]])) is None
    assert Objective(classification_loss=nn.BCEWithLogitsLoss()).independent_classes


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
def test_the_weights_of_torchs_own_loss_follow_the_precision_of_the_logits(engine):
    """PyTorch refuses weights of another precision than that of the logits."""
    network, (images, _, _) = smooth_network().float(), batch()
    loss = nn.CrossEntropyLoss(weight=WEIGHTS)
    expected = F.cross_entropy(network(images.float()).double(), HARD, WEIGHTS.double()).item()
    step = Objective(GradientNorm(), 1.0, engine(), classification_loss=loss)(network, images.float(), HARD)
    step.loss.backward()
    assert step.classification.item() == pytest.approx(expected, rel=1e-6)
    assert loss.weight.dtype == torch.float32
