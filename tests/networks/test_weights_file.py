"""Networks with the weights of a file: safetensors, and what torch.save wrote in one of several forms."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from camtrain import Classifier, load_network
from camtrain.networks import CIFARResNet, build_network, last_linear, load_initial_weights
from camtrain.networks.weights_file import with_weights_of_file


@pytest.fixture(scope="module")
def trained():
    """A network with weights and statistics of its own."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=5)
    network(torch.randn(4, 3, 8, 8))
    return network.eval()


def written(folder, network, form):
    weights, path = network.state_dict(), folder / f"{form}.pth"
    match form:
        case "safetensors":
            path = folder / "some.safetensors"
            save_file(weights, path)
        case "parallel":
            torch.save({f"module.{name}": value for name, value in weights.items()}, path)
        case "state_dict" | "model" | "model_state_dict":
            torch.save({form: weights, "epoch": 3}, path)
        case "lightning":
            path = folder / "some.ckpt"
            torch.save({"state_dict": {f"network.{name}": value for name, value in weights.items()}}, path)
        case "bare":
            torch.save(weights, path)
    return path


@pytest.mark.parametrize(
    "form", ["safetensors", "bare", "state_dict", "model", "model_state_dict", "parallel", "lightning"]
)
def test_every_form_of_a_file(tmp_path, trained, form):
    path = written(tmp_path, trained, form)
    images = torch.rand(2, 3, 8, 8)
    made = build_network("cifar_resnet8", 5, weights=str(path)).eval()
    torch.testing.assert_close(made(images), trained(images), rtol=0, atol=0)


def test_another_number_of_classes_keeps_all_but_the_head(tmp_path, trained):
    path = str(written(tmp_path, trained, "safetensors"))
    torch.manual_seed(7)
    fresh = build_network("cifar_resnet8", 3)
    torch.manual_seed(7)
    made = build_network("cifar_resnet8", 3, weights=path)
    head = last_linear(made)
    for name, value in made.state_dict().items():
        other = fresh if name.startswith(head) else trained
        assert torch.equal(value, other.state_dict()[name]), name
    assert build_network("cifar_resnet8", weights=path).state_dict()[f"{head}.weight"].shape[0] == 5


def test_a_file_of_a_network_with_auxiliary_heads(tmp_path):
    with pytest.warns(FutureWarning, match="initialization"):  # torchvision's
        whole = models.googlenet(weights=None, num_classes=3)
    assert any(name.startswith("aux1.") for name in whole.state_dict())
    made = build_network("googlenet", 3, weights=str(written(tmp_path, whole, "bare")))
    assert torch.equal(made.conv1.conv.weight, whole.conv1.conv.weight)


def test_a_training_and_a_loaded_network_take_a_file(tmp_path, trained):
    path = str(written(tmp_path, trained, "safetensors"))
    expected = trained.state_dict()
    module = Classifier("cifar_resnet8", 5, weights=path)
    loaded = load_network(name="cifar_resnet8", weights=path, device="cpu", mean=(0, 0, 0), std=(1, 1, 1))
    begun = CIFARResNet(depth=8, num_classes=5)
    assert str(load_initial_weights(begun, path)) == path
    for network in (module.network, loaded.network, begun):
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    assert loaded.num_classes == 5


def test_a_file_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_convnext", num_classes=4)
    path = str(written(tmp_path, network, "safetensors"))
    made = build_network("timm:test_convnext", 9, weights=path)
    assert torch.equal(made.stem[0].weight, network.stem[0].weight)
    assert made.head.fc.out_features == 9


def _no_weights(path):
    torch.save({"epoch": 3}, path)


def _of_another_network(path):
    torch.save(CIFARResNet(depth=14, num_classes=5).state_dict(), path)


def _diverged(path):
    weights = CIFARResNet(depth=8, num_classes=5).state_dict()
    next(iter(weights.values())).fill_(torch.nan)
    torch.save(weights, path)


def _code(path):
    with path.open("wb") as file:
        pickle.dump(nn.Linear(2, 2), file)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.pth", lambda path: None, "`weights`: no such file"),
        ("none.pth", _no_weights, "holds no state dict, neither alone nor under state_dict, model"),
        ("other.pth", _of_another_network, "are of another network"),
        ("nan.pth", _diverged, "of a network that has diverged: parameter .* is NaN or infinite"),
        ("text.safetensors", lambda path: path.write_text("no weights"), "text.safetensors: "),
        ("code.pt", _code, "code.pt: it "),
    ],
)
def test_files_that_do_not_serve(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_network("cifar_resnet8", 5, weights=str(path))
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("`weights`", "`initial_weights`")):
        load_initial_weights(CIFARResNet(depth=8, num_classes=5), path)


def test_an_address_is_no_file():
    with pytest.raises(ValueError, match="`weights`"):
        build_network("cifar_resnet8", 5, weights="https://example.org/weights.pth")


class Named(nn.Module):
    """A network whose layers are called as what weights are wrapped in, or as auxiliary heads."""

    def __init__(self, *names):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("names", "form"),
    [
        (["network"], "bare"),
        (["network"], "lightning"),
        (["network"], "parallel"),
        (["network", "fc"], "bare"),
        (["module"], "bare"),
        (["module"], "parallel"),
        (["module"], "lightning"),
        (["aux1", "fc"], "bare"),
        (["aux1", "fc"], "lightning"),
    ],
)
def test_layers_that_are_called_so_are_kept(tmp_path, names, form):
    saved, begun = Named(*names), Named(*names)
    path = written(tmp_path, saved, form)
    made = with_weights_of_file(lambda _: Named(*names), 3, path)
    # A `.ckpt` of initial weights is one of `camtrain fit`.
    load_initial_weights(begun, path.rename(path.with_suffix(".pth")))
    for network in (made, begun):
        assert all(torch.equal(value, saved.state_dict()[name]) for name, value in network.state_dict().items())
