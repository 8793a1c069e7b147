"""A checkpoint cannot choose what is imported."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from camtrain.loading import load_network, needs_name
from camtrain.loading.named_code import foreign_code
from camtrain.networks import CIFARResNet

OWN = "my_nets.Net"
NETS = """
import pathlib
pathlib.Path("imported").touch()
from camtrain.networks import CIFARResNet
class Net(CIFARResNet):
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with a module `my_nets` that leaves a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_nets.py").write_text(NETS)
    yield tmp_path
    sys.modules.pop("my_nets", None)


def saved(path: str, network: object = None) -> str:
    """A checkpoint of a CIFAR ResNet that says it is of another network."""
    described = network or {"class_path": OWN, "init_args": {"depth": 8, "num_classes": 10, "width": 4}}
    weights = CIFARResNet(8, 10, width=4).state_dict()
    content = {
        "state_dict": {f"network.{name}": value for name, value in weights.items()},
        "hyper_parameters": {"num_classes": 10, "network": described, "_instantiator": "os.system"},
        "pytorch-lightning_version": "2.6.0",
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


GIVEN = {"mean": (0, 0, 0), "std": (1, 1, 1), "size": 16}


def test_a_checkpoint_alone_imports_nothing_of_ones_own():
    with pytest.raises(ValueError, match=r"is of a network of other code, my_nets\.Net, which is not imported on the"):
        load_network(saved("alone.ckpt"), **GIVEN)
    assert not Path("imported").exists()


def test_code_that_somebody_vouches_for_is_imported():
    path = saved("runs/a/checkpoints/last.ckpt")
    config = Path("runs/a/config.yaml")
    data = "data: {class_path: camtrain.data.DecoyDigits}\n"
    config.write_text(data)
    with pytest.raises(ValueError, match="of other code"):
        load_network(path)
    config.write_text(data + f"model: {{network: {{class_path: {OWN}}}}}\n")
    assert type(load_network(path).network).__name__ == "Net"
    assert type(load_network(saved("alone.ckpt"), config=config).network).__name__ == "Net"


def test_code_that_is_imported_already_may_be_named():
    import my_nets

    assert isinstance(load_network(saved("alone.ckpt"), **GIVEN).network, my_nets.Net)


def test_a_network_by_name_is_taken_where_the_checkpoint_s_own_is_not():
    Path("made.py").write_text("import my_nets\ndef net(): return my_nets.Net(8, 10, width=4)\n")
    assert load_network(saved("alone.ckpt"), name="made.net", **GIVEN).num_classes == 10
    sys.modules.pop("made", None)


def test_a_network_of_code_that_is_not_here_is_made_by_who_loads_it():
    Path("made.py").write_text("import my_nets\ndef net(): return my_nets.Net(8, 10, width=4)\n")
    path = saved("theirs.ckpt", {"class_path": "their_nets.Net", "init_args": {"depth": 8}})
    assert needs_name(path)
    with pytest.raises(ValueError, match=r"their_nets\.Net, which is not on this machine; pass its .*`name`"):
        load_network(path, **GIVEN)
    assert load_network(path, name="made.net", **GIVEN).num_classes == 10
    assert not needs_name(saved("described.ckpt", {"class_path": "camtrain.networks.CIFARResNet"}))
    sys.modules.pop("made", None)


@pytest.mark.parametrize(
    "described",
    [
        {"class_path": "os.system", "init_args": {"command": "touch imported"}},
        {"class_path": "my_nets.Net"},
        {"class_path": "torch.nn.Sequential", "init_args": {"modules": [{"class_path": "my_nets.Net"}]}},
        {"class_path": "torchvision.ops.MLP", "init_args": {"in_channels": 3, "norm_layer": "os._exit"}},
        {"class_path": "torchvision.ops.MLP", "init_args": {"norm_layer": '{"class_path": "my_nets.Net"}'}},
        {"class_path": "torchvision.ops.MLP", "init_args": {"norm_layer": '{"class_path": "my_nets\\u002eNet"}'}},
        {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "a/b", "model": "c"}},
    ],
)
def test_no_part_of_a_description_imports_code(described):
    assert foreign_code(described, None) is not None
    with pytest.raises(ValueError, match="of other code"):
        load_network(saved("alone.ckpt", described), **GIVEN)
    assert not Path("imported").exists()


@pytest.mark.parametrize("described", ["os.system", "my_nets.Net", "timm:os.system", 3, ["my_nets.Net"]])
def test_a_name_is_one_of_a_list(described):
    with pytest.raises(ValueError, match="`checkpoint`"):
        load_network(saved("alone.ckpt", described), **GIVEN)
    assert not Path("imported").exists()


def test_aliases_that_stand_for_gigabytes_vouch_for_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    names = "abcdefghij"
    lines = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    config.write_text("\n".join([f"a: &a [{OWN}]", *lines]))
    assert foreign_code({"class_path": OWN}, config) == OWN
