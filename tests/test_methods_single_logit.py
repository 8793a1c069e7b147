"""Every method explains a single logit as it explains the two that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.gradients import Against, Contrast
from camtrain.methods import METHODS, method_named, normalized_maps

QUESTIONS = {
    "yes": 1,
    "no": 0,
    "prediction": None,
    "each": torch.tensor([0, 1]),
    "against": Against(1),
    "why": Contrast(),
}
OF_PROBABILITIES = ("score_cam", "ss_cam", "taylor_cam")


def network_of(head):
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double().eval()


def networks(scale):
    """A network of a single logit z, and one of the logits (−scale · z, scale · z)."""
    torch.manual_seed(1)
    single, both = nn.Linear(5, 1), nn.Linear(5, 2)
    with torch.no_grad():
        both.weight.copy_(scale * torch.cat([-single.weight, single.weight]))
        both.bias.copy_(scale * torch.cat([-single.bias, single.bias]))
    return network_of(single), network_of(both)


@pytest.mark.filterwarnings("ignore:Integrated Gradients")
@pytest.mark.filterwarnings("ignore:.*are not complete")
@pytest.mark.parametrize("name", [name for name in METHODS if name != "attention_map"])
def test_a_single_logit_is_explained_as_two(name):
    """The scores of the two are z and −z; their probabilities are those of the logits z/2 and −z/2."""
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for class_idx in QUESTIONS.values():
        found = []
        for network in networks(0.5 if name in OF_PROBABILITIES else 1.0):
            method = method_named(name, network, "3", seed=0)
            found.append(normalized_maps(method, images, class_idx))
        assert found[0].isfinite().all()
        torch.testing.assert_close(*found, rtol=1e-6, atol=1e-8)
