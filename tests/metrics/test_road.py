from __future__ import annotations

import pytest
import torch
from pytorch_grad_cam.metrics.road import ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import nn

from camtrain.evaluation.imputed import removed_and_imputed
from camtrain.evaluation.removal_path import removal_ranks
from camtrain.metrics import ROAD, road

SHARES = (0.2, 0.4, 0.6, 0.8)


def test_by_hand():
    most, least = torch.tensor([[0.5, 0.1], [0.9, 0.9]]), torch.tensor([[0.9, 0.7], [0.9, 0.9]])
    torch.testing.assert_close(road(most, least), torch.tensor([0.25, 0.0]))
    metric = ROAD(2)
    metric.update(most, least)
    assert float(metric.compute()) == pytest.approx(0.125)
    torch.testing.assert_close(metric.curves, torch.tensor([[0.7, 0.5], [0.9, 0.8]]))


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of NumPy, about the library
def test_it_is_the_library_s_on_the_same_maps():
    """Compare with ROADCombined of pytorch-grad-cam: percentiles of the map, its own imputation, noise of 1 %."""
    torch.manual_seed(0)
    # A linear network and a map of its weights: the score moves by much more than the noise moves it.
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)).eval()
    images = torch.randn(3, 3, 16, 16)
    cams = network[1].weight[0].detach().view(3, 16, 16).abs()
    library = ROADCombined(percentiles=[round(100 * share) for share in SHARES])
    targets = [ClassifierOutputSoftmaxTarget(index) for index in (0, 1, 2)]
    expected = torch.as_tensor(library(images, cams.numpy(), targets, network))
    ways = [
        network(one).softmax(dim=1).gather(1, torch.arange(3).unsqueeze(1)).squeeze(1).detach()
        for one in removed_and_imputed(images, removal_ranks(cams), SHARES)
    ]
    most, least = torch.stack(ways[:4], dim=1), torch.stack(ways[4:], dim=1)
    # The library draws other noise, and subtracts the image's own score, which cancels.
    torch.testing.assert_close(road(most, least), expected.to(torch.float32), atol=5e-3, rtol=0)
    assert float(road(most, least).abs().max()) > 5e-2


def test_curves_end_where_probabilities_do():
    metric = ROAD(1)
    metric.update(torch.tensor([[1.0005]]), torch.tensor([[-0.0005]]))
    assert metric.curves.tolist() == [[1.0], [0.0]]
    assert float(metric.compute()) == -0.5


@pytest.mark.parametrize(
    ("most", "least", "message"),
    [
        (
            torch.rand(2, 3),
            torch.rand(2, 4),
            r"`least_relevant_first`: expected the shape of `most_relevant_first`, \(2, 3\), got \(2, 4\)",
        ),
        (
            torch.rand(2, 4),
            torch.rand(2, 4),
            r"`most_relevant_first`: .* of shape \(N, 3\), got torch.float32 of shape \(2, 4\)",
        ),
        (torch.full((2, 3), 2.0), torch.rand(2, 3), "expected probabilities"),
    ],
)
def test_bad_input_is_named(most, least, message):
    with pytest.raises(ValueError, match=message):
        ROAD(3).update(most, least)
