"""`IntegratedGradients` in closed form, its completeness, its extra steps, and captum."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from torch import Tensor, nn

from camtrain.attributions import IntegratedGradients, completeness_error, integrated_gradients
from camtrain.gradients import Contrast
from camtrain.messages import CamtrainWarning
from camtrain.networks import CIFARResNet
from tests.attributions.lifelike_network import lifelike_network, untrained_network
from tests.attributions.plain_weights import check_gradients


class Score(nn.Module):
    """One logit, a function of Σ w x; counts the images that it was run on with a graph."""

    def __init__(self, function, weights: list[float]) -> None:
        super().__init__()
        self.function, self.weights, self.images = function, torch.tensor(weights, dtype=torch.float64), 0

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images) if torch.is_grad_enabled() else 0
        return self.function((images.flatten(1) * self.weights).sum(dim=1)).unsqueeze(1)


def image(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


# The formula -------------------------------------------------------------------------------------


def test_hand_values():
    found = integrated_gradients(torch.tensor([[[[3.0, 1.0]]]]), torch.tensor(1.0), torch.tensor([[[[0.5, 7.0]]]]))
    assert torch.equal(found, torch.tensor([[[[1.0, 0.0]]]]))


def test_closed_form_of_a_square():
    network = Score(torch.square, [1.0, -2.0, 3.0])
    x, baseline = image(1.0, 0.5, 2.0), image(0.0, 1.0, 1.0)
    # The gradient 2 s w is linear on the way, so that the mean is (s + s') w with s = 6 and s' = 1.
    expected = (x - baseline) * torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1) * (6 + 1)
    for steps in (1, 2, 5):
        found = IntegratedGradients(network, baseline, steps)(x)
        torch.testing.assert_close(found, expected)
        assert found.sum() == pytest.approx(36 - 1)


def test_closed_form_of_an_exponential():
    network = Score(torch.exp, [1.0, -0.5])
    x = image(1.0, 3.0)
    # s = -0.5, s' = 0: the mean of exp(α s) is (exp(s) - 1) / s.
    expected = x * torch.tensor([1.0, -0.5]).view(1, 2, 1, 1) * (math.exp(-0.5) - 1) / -0.5
    torch.testing.assert_close(IntegratedGradients(network, num_steps=200)(x), expected, rtol=1e-6, atol=0)
    # Midpoints: an error that falls with the square of the number of steps.
    errors = [
        float(IntegratedGradients(network, num_steps=n, tolerance=None)(x).sum() - expected.sum()) for n in (10, 20)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(
    "baseline",
    [
        (0.2, 0.3, 0.4),
        [0.2, 0.3, 0.4],
        torch.tensor([0.2, 0.3, 0.4]),
        image(0.2, 0.3, 0.4),
        image(0.2, 0.3, 0.4).expand(2, 3, 2, 2),
    ],
)
def test_baselines(baseline):
    network = Score(lambda s: s, [1.0] * 12)
    x = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(
        IntegratedGradients(network, baseline, 2)(x), x - torch.tensor([0.2, 0.3, 0.4]).double().view(3, 1, 1)
    )
    torch.testing.assert_close(IntegratedGradients(network, 0.25, 2)(x), x - 0.25)
    torch.testing.assert_close(IntegratedGradients(network, num_steps=2)(x), x)


def test_gradcheck_end_to_end():
    check_gradients(lambda network: IntegratedGradients(network, 0.2, 2, tolerance=None, differentiable=True))


def test_gradcheck_with_more_steps_for_some_images():
    network = Score(torch.exp, [1.0, -0.5])
    method = IntegratedGradients(network, 0.1, 1, tolerance=0.02, differentiable=True)
    images = torch.cat([image(2.0, 0.0), image(1.0, 3.0), image(5.0, 0.0)]).requires_grad_()
    method(images)
    assert network.images == 3 + 2 * 2 + 6  # one image is complete with one step, two need three, one of them nine
    assert torch.autograd.gradcheck(method, images)


# Completeness ------------------------------------------------------------------------------------


def test_completeness_error_by_hand():
    attributions = torch.tensor([[0.5, 1.0], [2.0, -2.0], [0.0, 0.0], [1.0, 0.5]]).view(4, 1, 1, 2)
    scores, baseline_scores = torch.tensor([4.0, 3.0, 1.0, 2.0]), torch.tensor([2.0, 2.0, 1.0, 2.0])
    found = completeness_error(attributions, scores, baseline_scores)
    # 1.5 of 2; 0 of 1; 0 of 0, which is complete; 1.5 of 0.
    assert found.tolist() == [0.25, 1.0, 0.0, math.inf]


def test_default_is_complete_to_a_thousandth():
    torch.manual_seed(2)
    network = CIFARResNet(depth=8, width=8, num_classes=10).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # without biases the logits are proportional to the image, and one step is exact
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(0, 0.01, generator=generator)
                module.running_mean.normal_(0, 0.01, generator=generator)
    coarse = 2 * torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(2))[:1]
    images = F.interpolate(coarse, size=16, mode="bilinear").double()
    method = IntegratedGradients(network.double())
    attributions = method(images)
    with torch.no_grad():
        logits = network(images)
        gain = (logits - network(torch.zeros_like(images))).gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)
    error = (attributions.sum(dim=(1, 2, 3)) - gain).abs() / gain.abs()
    assert error.amax() <= 1e-3
    torch.testing.assert_close(method.completeness_error(attributions, images), error, rtol=0, atol=1e-6)
    # It is no accident: without a tolerance the attributions are not complete.
    fixed = IntegratedGradients(network, tolerance=None)
    assert fixed.completeness_error(fixed(images), images).amin() > 3e-3


def test_one_step_is_complete_on_a_network_without_biases():
    network, images = untrained_network("resnet18"), torch.rand(2, 3, 64, 64)  # but for the last, which is constant
    method = IntegratedGradients(network, num_steps=1, max_steps=1)
    assert method.completeness_error(method(images), images).amax() < 1e-5


def test_completeness_error_of_a_contrast_and_in_evaluation_loops():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3))
    method, contrast = IntegratedGradients(network, 0.5, num_steps=20), Contrast(0, torch.tensor([1, 2]))
    with torch.inference_mode():
        images = torch.rand(2, 3, 2, 2)
        error = method.completeness_error(method(images, contrast), images, contrast)
    assert error.shape == (2,)
    assert (error < 1e-3).all()
    assert method.completeness_error(2 * method(images, contrast), images, contrast).tolist() == pytest.approx(
        [1.0, 1.0], rel=1e-2
    )


# More steps --------------------------------------------------------------------------------------


def test_images_that_are_not_complete_get_more_steps_and_the_others_do_not():
    network = Score(lambda s: torch.relu(s - 0.3), [1.0])
    kinked, smooth = image(1.0), image(-1.0)
    # From 0 to 1 the gradient is 0 up to 0.3 and 1 from there: the sum of midpoints is 1, 2/3, 6/9, 19/27 of 0.7.
    both = IntegratedGradients(network, num_steps=1, tolerance=0.02, max_steps=27)(torch.cat([kinked, smooth]))
    assert both.flatten().tolist() == pytest.approx([19 / 27, 0.0])
    assert network.images == 2 + 2 + 6 + 18
    for steps in (9, 27):
        without = IntegratedGradients(network, num_steps=steps, tolerance=None)(kinked)
        refined = IntegratedGradients(
            network, num_steps=steps // 3, tolerance=0.02 if steps == 27 else 0.04, max_steps=27
        )
        assert refined(kinked).item() == pytest.approx(19 / 27)
        assert without.item() == pytest.approx({9: 6 / 9, 27: 19 / 27}[steps])


def test_refinement_is_the_same_as_that_many_steps_at_once():
    network = Score(torch.exp, [1.0, -2.0])
    x = torch.cat([image(1.0, 1.0), image(3.0, -2.0)])
    expected = IntegratedGradients(network, num_steps=27, tolerance=None)(x)
    assert not torch.allclose(IntegratedGradients(network, num_steps=9, tolerance=None)(x), expected)
    with pytest.warns(CamtrainWarning, match="Integrated Gradients"):
        found = IntegratedGradients(network, num_steps=3, tolerance=1e-9, max_steps=80)(x)
    torch.testing.assert_close(found, expected)


def test_attributions_that_stay_incomplete_are_told():
    network = Score(lambda s: torch.relu(s - 0.3), [1.0])
    message = r"attributions of 1 of 2 images are not complete to 0.001, the worst to 4.8e-02; raise `max_steps`"
    with pytest.warns(CamtrainWarning, match=message):
        IntegratedGradients(network, num_steps=1, max_steps=9)(torch.cat([image(1.0), image(-1.0)]))


def test_a_gain_of_nothing_asks_for_no_more_steps():
    network = Score(lambda s: 0 * s + 5.0, [1.0])
    assert IntegratedGradients(network, num_steps=2)(image(1.0)).item() == 0
    assert network.images == 2


def test_a_gain_below_the_precision_of_the_scores_asks_for_no_more_steps():
    network = Score(lambda s: 1000 + (1e-4 * s).float(), [1.0]).float()
    gain = network(image(1.0)) - network(image(0.0))
    assert abs(float(gain) / 1e-4 - 1) > 0.1  # rounded
    attributions = IntegratedGradients(network, num_steps=2)(image(1.0))
    assert attributions.item() == pytest.approx(1e-4)
    assert network.images == 2 + 2  # the two above too


def test_images_that_get_more_steps_keep_their_classes():
    class Network(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean(dim=(1, 2, 3))
            return torch.stack([2 * mean, torch.exp(3 * mean), torch.relu(mean - 0.3)], dim=1)

    images, classes = torch.linspace(0.5, 1.5, 5).view(5, 1, 1, 1).expand(5, 3, 2, 2), torch.tensor([0, 2, 1, 0, 1])
    method = IntegratedGradients(Network(), num_steps=2, tolerance=0.05)
    alone = torch.cat([method(images[n : n + 1], int(classes[n])) for n in range(5)])
    torch.testing.assert_close(method(images, classes), alone)
    fixed = IntegratedGradients(Network(), num_steps=2, tolerance=None)(images, classes)
    different = (alone - fixed).flatten(1).abs().amax(dim=1) > 1e-4
    assert different.tolist() == [False, True, True, False, True]


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("max_batch", [1, 2, 5, 100])
def test_size_of_a_pass_changes_nothing(max_batch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 4))
    images, sizes = torch.rand(3, 3, 4, 4), []
    expected = IntegratedGradients(network, num_steps=2, tolerance=None)(images)
    network.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    method = IntegratedGradients(network, num_steps=2, tolerance=None, max_batch=max_batch)
    torch.testing.assert_close(method(images), expected)
    assert max(sizes) == {1: 3, 2: 3, 5: 3, 100: 6}[max_batch]  # 3 where the class is found


# Captum, wrong arguments -------------------------------------------------------------------------


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "size", "steps"),
    [
        ("resnet18", 32, 4),
        pytest.param("vgg11", 64, 4, marks=pytest.mark.slow),
        ("mobilenet_v2", 32, 4),
        pytest.param("resnet18", 224, 3, marks=pytest.mark.slow),
    ],
)
def test_equals_captum(name, size, steps):
    network = lifelike_network(name)
    images, classes = torch.randn(2, 3, size, size), torch.tensor([3, 7])
    baselines = torch.full((1, 3, 1, 1), -0.5).expand(1, 3, size, size)
    theirs = CaptumIntegratedGradients(network).attribute(
        images, baselines, target=classes, n_steps=steps, method="riemann_middle"
    )
    ours = IntegratedGradients(network, -0.5, steps, tolerance=None)(images, classes)
    scale = theirs.abs().amax()
    # Captum rounds its step sizes to float32, by 6e-8 of each at most.
    torch.testing.assert_close(ours / scale, theirs.to(ours) / scale, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "`num_steps`: expected a positive integer, got 0"),
        ({"num_steps": 2.5}, "`num_steps`: expected a positive integer, got 2.5"),
        ({"max_batch": 0}, "`max_batch`: expected a positive integer, got 0"),
        ({"tolerance": 0.0}, "`tolerance`: expected a positive relative error, or None, got 0.0"),
        ({"tolerance": math.nan}, "`tolerance`: expected a positive relative error, or None, got nan"),
        ({"num_steps": 10, "max_steps": 9}, "`max_steps`: expected at least `num_steps`, 10, got 9"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        IntegratedGradients(Score(torch.exp, [1.0]), **arguments)


@pytest.mark.parametrize("baseline", [[0.1, 0.2], torch.zeros(3, 5, 5)])
def test_baseline_that_does_not_fit(baseline):
    with pytest.raises(ValueError, match=r"`baseline`: expected .* broadcasts to the images, \(1, 3, 1, 1\), got"):
        IntegratedGradients(Score(torch.exp, [1.0] * 3), baseline)(image(1.0, 2.0, 3.0))
