"""A training begins with the weights of another one, of the same network or of its backbone."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from camtrain import Classifier, load_network
from camtrain.networks import AttentionBranch, CIFARResNet, last_linear, load_initial_weights


def network(width=4):
    return CIFARResNet(depth=8, num_classes=3, width=width)


@pytest.fixture
def saved(tmp_path):
    """A network with weights and statistics of its own, and its checkpoint."""
    trained = network()
    trained(3 * torch.randn(4, 3, 8, 8) + 1)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(Classifier(trained, 3))
    path = tmp_path / "runs" / "first" / "version_0" / "checkpoints" / "last.ckpt"
    trainer.save_checkpoint(path)
    return trained, path


def same(first, second):
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_weights_and_statistics_of_a_checkpoint_or_of_a_run(saved):
    trained, path = saved
    assert not same(trained, network())
    for source in (path, path.parents[1], path.parents[2]):
        other = network()
        assert load_initial_weights(other, source) == path
        assert same(trained, other)
    assert same(trained, Classifier(network(), 3, initial_weights=str(path)).network)


def test_those_of_a_backbone(saved):
    trained, path = saved
    attended = AttentionBranch(network(), 3, image_size=8, width=4)
    head = {name: value.clone() for name, value in attended.attention_head.state_dict().items()}
    load_initial_weights(attended, path)
    assert same(trained, attended.backbone)
    assert all(torch.equal(value, attended.attention_head.state_dict()[name]) for name, value in head.items())


def test_a_checkpoint_needs_the_initial_weights_no_more(tmp_path):
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    module = Classifier("cifar_resnet8", 3)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    second = Classifier("cifar_resnet8", 3, initial_weights=str(tmp_path / "plain.ckpt"))
    trainer.strategy.connect(second)
    trainer.save_checkpoint(tmp_path / "second.ckpt")
    (tmp_path / "plain.ckpt").unlink()
    assert same(module.network, load_network(tmp_path / "second.ckpt", mean=(0, 0, 0), std=(1, 1, 1)).network)
    assert same(module.network, Classifier.load_from_checkpoint(tmp_path / "second.ckpt", weights_only=True).network)


def test_what_does_not_fit_is_named(saved, tmp_path):
    _, path = saved
    with pytest.raises(ValueError, match=r"`initial_weights`: those of .*last\.ckpt are of another network: .*size"):
        load_initial_weights(network(width=8), path)
    with pytest.raises(ValueError, match=r"`initial_weights`: those of .* are of another network: .*Missing key"):
        load_initial_weights(nn.Linear(2, 2), path)
    with pytest.raises(FileNotFoundError, match="`initial_weights`: no such file: absent"):
        Classifier(network(), 3, initial_weights="absent")
    with pytest.raises(ValueError, match="`initial_weights`: expected None beside weights='DEFAULT', got "):
        Classifier("resnet18", 3, weights="DEFAULT", initial_weights=str(path))
    with pytest.raises(FileNotFoundError, match="`initial_weights`: expected a checkpoint or the folder of a run"):
        load_initial_weights(network(), tmp_path)
    for content in (b"none", {"state_dict": {"fc.weight": torch.zeros(1)}}):
        other = tmp_path / "other.ckpt"
        other.write_bytes(content) if isinstance(content, bytes) else torch.save(content, other)
        with pytest.raises(ValueError, match=r"`initial_weights`: .*(cannot read|not a checkpoint of camtrain)"):
            load_initial_weights(network(), other)


def test_the_last_linear_layer_is_that_of_the_classifier():
    assert last_linear(network()) == "fc"
    assert last_linear(AttentionBranch(network(), 3, image_size=8)) == "backbone.fc"
    assert last_linear(nn.Sequential(nn.Conv2d(3, 4, 3))) is None
