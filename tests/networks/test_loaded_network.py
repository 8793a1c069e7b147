"""A network with its preprocessing: assumptions, first passes, devices, class names."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from camtrain.messages import CamtrainWarning
from camtrain.networks import CIFARResNet, LoadedNetwork
from camtrain.networks.preprocessing import Preprocessing


def loaded(network: nn.Module, class_names=None) -> LoadedNetwork:
    preprocessing = Preprocessing(lambda photo: torch.zeros(3, 6, 8), (0, 0, 0), (1, 1, 1))
    return LoadedNetwork(network, "it", preprocessing, class_names)


def test_a_module_gets_assumptions_and_a_loaded_network_is_itself():
    module = CIFARResNet(depth=8, num_classes=3, width=4)
    found = LoadedNetwork.of(module)
    assert (found.network, found.title, found.num_classes, found.class_names) == (module, "CIFARResNet", None, None)
    assert found.preprocessing.assumed
    assert "224 pixels and ImageNet's mean and std are assumed" in found.preprocessing.remarks[0]
    assert found.input(Image.new("RGB", (300, 250))).shape == (1, 3, 224, 224)
    assert LoadedNetwork.of(found) is found
    with pytest.raises(TypeError, match=r"`network`: expected an nn\.Module or what camtrain"):
        LoadedNetwork.of("resnet18")


def test_a_first_pass_finds_the_number_of_classes_and_leaves_the_network_as_found():
    module = CIFARResNet(depth=8, num_classes=3, width=4).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert LoadedNetwork.of(module).on("cpu").num_classes == 3
    assert all(each.training for each in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_probabilities_are_those_of_evaluation_mode():
    module = CIFARResNet(depth=8, num_classes=3, width=4)
    image = torch.rand(1, 3, 16, 16)
    found = LoadedNetwork.of(module.train()).probabilities(image)
    torch.testing.assert_close(found, module.eval()(image).detach().softmax(dim=1)[0])


def test_class_names_that_do_not_fit_are_left_out():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.warns(CamtrainWarning, match="2 class names for 3 classes: they are left out"):
        moved = loaded(network, ["a", "b"]).on("cpu")
    assert (moved.num_classes, moved.class_names) == (3, None)
    assert moved.remarks == ["2 class names for 3 classes: they are left out"]
    moved = loaded(network, ["a", "b", "c"]).on("cpu")
    assert (moved.class_names, moved.remarks) == (["a", "b", "c"], ())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(7, 2), "`size`: it cannot be run on images of 6×8 pixels, give another: mat1"),
        (nn.Identity(), r"`network`: expected \(1, K\) logits of one image from it, got \(1, 3, 6, 8\)"),
    ],
)
def test_networks_that_are_no_classifiers_of_these_images(network, message):
    network.train()
    with pytest.raises(ValueError, match=message):
        loaded(network).on("cpu")
    assert network.training


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="`device`: cannot use 'cuda:99'"):
        loaded(nn.Linear(1, 1)).on("cuda:99")


def test_photographs_that_cannot_be_prepared_are_named():
    preprocessing = Preprocessing(lambda photo: torch.zeros(2).reshape(5), (0, 0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match="a photograph of 5×7 pixels cannot be prepared"):
        LoadedNetwork(nn.Identity(), "it", preprocessing).input(Image.new("RGB", (7, 5)))
