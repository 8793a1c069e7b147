from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from torch import nn
from torch.utils.checkpoint import checkpoint

from camtrain.gradients import guided_gradient

# At -1 the forward gate is closed, at 7 only that of a ReLU6; at 3 the gradient arrives negative.
X, SLOPES = [-1.0, 2.0, 3.0, 7.0], [1.0, 2.0, -3.0, 4.0]
RELU, RELU6 = [0.0, 2.0, 0.0, 4.0], [0.0, 2.0, 0.0, 0.0]


class LossPerImage(nn.Module):
    """What captum explains: a network whose output is one cross-entropy per image."""

    def __init__(self, network, labels):
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, images):
        return F.cross_entropy(self.network(images), self.labels, reduction="none")


def leaf(values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1).requires_grad_()


def images_and_labels(size=64):
    torch.manual_seed(2)
    return torch.randn(2, 3, size, size, dtype=torch.float64), torch.tensor([3, 8])


def loss_of(network, images, labels):
    """The summed cross-entropy and the images that it hangs on."""
    images = images.clone().requires_grad_()
    return F.cross_entropy(network(images), labels, reduction="sum"), images


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_equals_captum(name, reference):
    network = reference.network_under_test(name, seed=0).eval()
    images, labels = images_and_labels()
    loss, with_graph = loss_of(network, images, labels)
    found = guided_gradient(loss, with_graph)
    plain = torch.autograd.grad(loss, with_graph)[0]
    with pytest.warns(UserWarning, match="Setting backward hooks on ReLU activations"):
        expected = GuidedBackprop(LossPerImage(network, labels)).attribute(images.clone().requires_grad_())
    assert reference.relative_difference(found, expected) < 1e-12
    assert reference.relative_difference(found, plain) > 0.5


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121"])
def test_relu6_and_functional_relus_are_guided(name, training, reference):
    network = reference.network_under_test(name, seed=0).train(training)
    images, labels = images_and_labels()
    expected = reference.reference_guided_gradient(network, images, labels, seed=4)
    torch.manual_seed(4)
    loss, with_graph = loss_of(network, images, labels)
    found = guided_gradient(loss, with_graph)
    plain = torch.autograd.grad(loss, with_graph)[0]
    assert reference.relative_difference(found, expected) < 1e-12
    assert reference.relative_difference(found, plain) > 0.5


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU(), RELU),
        (nn.ReLU(inplace=True), RELU),
        (F.relu, RELU),
        (torch.relu, RELU),
        (torch.Tensor.relu_, RELU),
        (nn.ReLU6(), RELU6),
        (nn.ReLU6(inplace=True), RELU6),
        (F.relu6, RELU6),
        (nn.Hardtanh(0, 6), RELU6),
        (lambda x: F.hardtanh(x, 0.0, 6.0, inplace=True), RELU6),
        (nn.Threshold(0, 0), RELU),
        (nn.Threshold(0, 0, inplace=True), RELU),
        (lambda x: x.clamp(min=0), RELU),
        (lambda x: x.clamp(0, 6), RELU6),
        (lambda x: x.clamp_(min=0), RELU),
        (lambda x: torch.clamp_min(x, 0), RELU),
    ],
)
def test_every_relu_counts(activation, expected):
    images = leaf(X)
    loss = (activation(images * 1) * torch.tensor(SLOPES)).sum()
    assert torch.equal(guided_gradient(loss, images), leaf(expected))


def test_a_reused_relu_is_guided_each_time():
    relu, images = nn.ReLU(), leaf([1.0, 2.0])
    loss = relu(3 - relu(images)).sum()  # the gradient is 1 behind the outer ReLU and -1 behind the inner one
    assert torch.equal(torch.autograd.grad(loss, images, retain_graph=True)[0], leaf([-1.0, -1.0]))
    assert torch.equal(guided_gradient(loss, images), leaf([0.0, 0.0]))
    loss = relu(relu(images) - 1.5).sum()
    assert torch.equal(guided_gradient(loss, images), leaf([0.0, 1.0]))


def test_is_of_the_loss_and_not_linear():
    # The logit grows with the image, so the loss falls: guided backpropagation of the one is 1, of the other 0.
    images = leaf([1.0])
    logit = images.relu().sum()
    assert guided_gradient(logit, images).item() == 1
    assert guided_gradient(-logit, images).item() == 0


def test_only_activations_that_cut_at_zero_count():
    images = leaf(X)
    loss = (F.hardtanh(images, -1, 1) + F.threshold(images, 1, 0) + images.clamp(min=-1)).sum()
    with pytest.raises(ValueError, match="no ReLU-like activation"):
        guided_gradient(loss, images)


@pytest.mark.parametrize(
    ("activation", "named"),
    [
        (nn.LeakyReLU(), "2 LeakyRelu"),
        (nn.LeakyReLU(inplace=True), "2 LeakyRelu"),
        (nn.SiLU(), "2 Silu"),
        (nn.GELU(), "2 Gelu"),
        (nn.ELU(inplace=True), "2 Elu"),
        (nn.PReLU(), "2 PreluKernel"),
        (nn.Hardswish(), "2 Hardswish"),
        (nn.Tanh(), "no known activation"),
    ],
)
def test_a_network_without_relus_is_an_error_that_names_its_activations(activation, named):
    network = nn.Sequential(nn.Conv2d(1, 2, 1), activation, nn.Conv2d(2, 2, 1), activation)
    images = torch.randn(1, 1, 2, 2, requires_grad=True)
    with pytest.raises(ValueError, match=f"Found: {named}.*ReLU or ReLU6"):
        guided_gradient(network(images).sum(), images)


def test_other_activations_beside_relus_pass_their_plain_derivative_with_a_warning():
    images = leaf([-2.0, 1.0])
    # The leaky ReLU passes what is negative, by its own slope; the ReLU does not.
    loss = -(F.leaky_relu(images, 0.5) + images.relu() + F.elu(images * 1, inplace=True).detach()).sum()
    with pytest.warns(UserWarning, match="1 ReLU-like activations are guided, 1 LeakyRelu pass"):
        found = guided_gradient(loss, images)
    assert torch.equal(found, leaf([-0.5, -1.0]))


def test_mobilenet_v3_warns_and_guides_its_relus(reference):
    network = reference.network_under_test("mobilenet_v3_small", seed=0).eval()
    images, labels = images_and_labels()
    loss, with_graph = loss_of(network, images, labels)
    with pytest.warns(UserWarning, match="Hardswish pass their plain derivative"):
        found = guided_gradient(loss, with_graph)
    expected = reference.reference_guided_gradient(network, images, labels, seed=0)
    assert reference.relative_difference(found, expected) < 1e-12


@pytest.mark.parametrize("in_place", [lambda x: x.flatten().relu_(), lambda x: F.relu6(x[..., 2:], inplace=True)])
def test_an_in_place_relu_on_a_view_is_an_error(in_place):
    # Autograd wraps it into a node of its own and runs it past every hook: silently a plain gradient.
    images = leaf(X)
    loss = (images.relu().sum() + in_place(images * 1)).sum()
    with pytest.raises(ValueError, match=r"hides 1 activation.*inplace=False"):
        guided_gradient(loss, images)


def test_relus_of_a_branch_that_does_not_lead_to_the_images_do_not_matter():
    """As in the position bias of a Swin transformer, whose ReLUs work in place on a view."""
    images, weight = leaf(X), leaf([1.0, -1.0])
    bias = (weight * 1).flatten().relu_().sum()
    expected = guided_gradient(-images.relu().sum(), images)
    assert torch.equal(guided_gradient(bias - images.relu().sum(), images), expected)
    with pytest.raises(ValueError, match=r"no ReLU-like activation.*such as GradientNorm, RightForRightReasons"):
        guided_gradient(weight.relu().sum() + images.sigmoid().sum(), images)


def test_a_slice_assignment_beside_relus_is_no_error():
    images = leaf(X)
    shifted = images * 1
    shifted[..., 0] = 5 * images[..., 1]
    loss = -shifted.sum() - images.relu().sum()
    assert torch.equal(guided_gradient(loss, images), leaf([0.0, -6.0, -1.0, -1.0]))


def small_network():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 10)
    )
    return network.double()


@pytest.mark.parametrize(("backend", "hidden"), [("eager", False), ("aot_eager", True)])
def test_a_compiled_network_is_right_or_an_error(backend, hidden):
    network = small_network()
    images, labels = images_and_labels(8)
    expected = guided_gradient(*loss_of(network, images, labels))
    loss, with_graph = loss_of(torch.compile(network, backend=backend), images, labels)
    if hidden:
        with pytest.raises(ValueError, match=r"hides activations.*Call the network without torch\.compile"):
            guided_gradient(loss, with_graph)
    else:
        assert torch.equal(guided_gradient(loss, with_graph), expected)


class Checkpointed(nn.Module):
    def __init__(self, network, use_reentrant):
        super().__init__()
        self.network, self.use_reentrant = network, use_reentrant

    def forward(self, images):
        return self.network[2:](checkpoint(self.network[:2], images, use_reentrant=self.use_reentrant))


def test_checkpointing():
    network = small_network()
    images, labels = images_and_labels(8)
    expected = guided_gradient(*loss_of(network, images, labels))
    found = guided_gradient(*loss_of(Checkpointed(network, use_reentrant=False), images, labels))
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="checkpoint with use_reentrant=False"):
        guided_gradient(*loss_of(Checkpointed(network, use_reentrant=True), images, labels))


def test_leaves_the_graph_and_the_network_as_found():
    network = small_network()
    loss, images = loss_of(network, *images_and_labels(8))
    (plain,) = torch.autograd.grad(loss, images, retain_graph=True)
    first, second = guided_gradient(loss, images), guided_gradient(loss, images)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert images.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())
    loss.backward()
    assert torch.equal(images.grad, plain)
    assert not torch.equal(first, plain)


def test_hooks_are_removed_after_an_error():
    network = small_network()
    loss, images = loss_of(network, *images_and_labels(8))
    (plain,) = torch.autograd.grad(loss, images, retain_graph=True)
    with pytest.raises(ValueError, match="was not computed from `images`"):
        guided_gradient(loss, images.detach().clone().requires_grad_())
    assert torch.equal(torch.autograd.grad(loss, images)[0], plain)


def test_is_the_same_whether_the_plain_gradient_keeps_a_graph():
    network = small_network()
    loss, images = loss_of(network, *images_and_labels(8))
    before = guided_gradient(loss, images)
    torch.autograd.grad(loss, images, create_graph=True)
    assert torch.equal(guided_gradient(loss, images), before)


def test_one_image_of_a_batch_does_not_change_another(reference):
    network = copy.deepcopy(small_network())
    images, labels = images_and_labels(8)
    both = guided_gradient(*loss_of(network, images, labels))
    alone = [guided_gradient(*loss_of(network, images[i : i + 1], labels[i : i + 1])) for i in range(2)]
    assert reference.relative_difference(both, torch.cat(alone)) < 1e-12


def test_bad_arguments():
    images = leaf(X)
    with pytest.raises(ValueError, match=r"`loss`: expected one number \(0-dim\), got shape \(1, 1, 1, 4\)"):
        guided_gradient(images.relu(), images)
    with pytest.raises(ValueError, match="`images`: expected images that require grad"):
        guided_gradient(images.relu().sum(), images.detach())
    with pytest.raises(ValueError, match="`loss`: expected a loss with a graph"):
        guided_gradient(images.relu().sum().detach(), images)
    with torch.no_grad(), pytest.raises(ValueError, match="`loss`: expected a loss with a graph"):
        guided_gradient(images.relu().sum(), images)
    with pytest.raises(ValueError, match="`loss` was not computed from `images`"):
        guided_gradient(leaf(X).relu().sum(), images)
