from __future__ import annotations

import gc

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from camtrain.evaluation.randomized_layers import randomized_layers


class Tied(nn.Module):
    """Weights that are used twice, a parameter of the module's own, normalization, dropout, a buffer."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 6))
        self.first = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.register_buffer("unsaved", torch.randn(3), persistent=False)

    def forward(self, features):
        return self.second(self.drop(self.norm(self.first(features + self.token))))


def state(network):
    return {name: value.clone() for name, value in [*network.named_parameters(), *network.named_buffers()]}


def same(first, second):
    return {name for name in first if torch.equal(first[name], second[name])}


def test_layers_are_randomized_from_the_top_down_and_stay_random():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2)
    )
    nn.init.normal_(network[1].weight)
    network[1].running_mean.normal_()
    before = state(network)
    stages = [(names, same(before, state(network))) for names in randomized_layers(network, num_stages=4)]
    counted = "1.num_batches_tracked"  # 0 before and after
    # What is as it was: layers below, and what begins alike in every network. (The bias of BatchNorm was not touched.)
    conv, norm = {"0.weight", "0.bias"}, {"1.weight", "1.bias", "1.running_mean", "1.running_var", counted}
    assert stages == [
        (["5"], conv | norm | {"3.weight", "3.bias"}),
        (["3"], conv | norm),
        (["1"], conv | {"1.bias", "1.running_var", counted}),
        (["0"], {"1.bias", "1.running_var", counted}),
    ]
    assert same(before, state(network)) == set(before)


def test_groups_are_even_and_hold_every_layer_once():
    network = models.resnet18(weights=None, num_classes=4)
    groups = list(randomized_layers(network, num_stages=4))
    layers = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    assert [name for group in reversed(groups) for name in group] == layers
    assert groups[0][-1] == "fc"
    assert {len(group) for group in groups} <= {len(layers) // 4, len(layers) // 4 + 1}


@pytest.mark.parametrize(
    "make",
    [
        Tied,
        lambda: models.mobilenet_v2(weights=None, num_classes=4),
        lambda: models.VisionTransformer(32, 16, 1, 2, 8, 16),
        lambda: timm.create_model("convnext_atto", num_classes=4),
    ],
    ids=["tied", "mobilenet_v2", "vit", "convnext"],
)
def test_the_network_is_what_it_was(make):
    torch.manual_seed(0)
    network = make()
    network.train()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    next(network.parameters()).requires_grad_(False)
    before, objects, modes = state(network), list(network.parameters()), [m.training for m in network.modules()]
    generator = torch.get_rng_state()
    changed = set(before)
    for _ in randomized_layers(network, num_stages=2):
        changed -= set(before) - same(before, state(network))
    # All parameters have changed but those that begin the same in every network, such as biases of zeros.
    assert all(bool((before[name] == before[name].flatten()[0]).all()) for name in changed if "unsaved" not in name)
    assert same(before, state(network)) == set(before)
    assert all(one is other for one, other in zip(objects, network.parameters(), strict=True))
    assert [m.training for m in network.modules()] == modes
    assert not objects[0].requires_grad
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in objects)
    assert torch.equal(generator, torch.get_rng_state())


def test_it_is_restored_after_an_error_and_where_the_loop_is_left():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    before = state(network)

    def fail() -> None:
        for _ in randomized_layers(network, num_stages=2):
            raise RuntimeError("of mine")

    with pytest.raises(RuntimeError, match="of mine"):
        fail()
    gc.collect()
    assert same(before, state(network)) == set(before)
    for _ in randomized_layers(network, num_stages=2):
        break
    gc.collect()
    assert same(before, state(network)) == set(before)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(5 + 0.1 * torch.randn(20000))


def test_what_cannot_reset_itself_keeps_its_mean_and_spread():
    network = Scale()
    before = network.scale.detach().clone()
    for _ in randomized_layers(network, 1):
        assert not torch.equal(network.scale, before)
        assert float(network.scale.detach().mean()) == pytest.approx(5, abs=0.01)
        assert float(network.scale.detach().std()) == pytest.approx(0.1, rel=0.05)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm], ids=["old", "new"])
def test_a_weight_made_of_other_parameters_is_randomized(norm):
    network = nn.Sequential(norm(nn.Linear(6, 4, bias=False))).eval()
    features = torch.ones(1, 6)
    before = network(features)
    for _ in randomized_layers(network, 1):
        assert not torch.isclose(network(features), before).any()
    assert torch.equal(network(features), before)


def test_the_generators_of_other_devices_are_not_touched(monkeypatch):
    """`torch.manual_seed` seeds them all, and only those of the network's device are restored."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    list(randomized_layers(nn.Linear(3, 3), 1))
    assert not seeded


def test_a_buffer_that_appears_in_the_loop_does_no_harm():
    network = Tied()
    before = state(network)
    for _ in randomized_layers(network, 1):
        network.first.register_buffer("late", torch.zeros(2))
    assert same(before, state(network)) == set(before)


def test_the_seed_decides():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))

    def weights(seed):
        (found,) = [network[1].weight.clone() for _ in randomized_layers(network, 1, seed)]
        return found

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_more_groups_than_layers():
    with pytest.raises(ValueError, match="`num_stages`: expected at most the 1 layers with parameters, got 2"):
        next(randomized_layers(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), num_stages=2))
