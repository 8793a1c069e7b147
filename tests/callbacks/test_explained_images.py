"""Explained images have the maps and gradients that the parts of the package compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.batch import Batch
from camtrain.callbacks.explained_images import explained_images
from camtrain.cams import GradCAM, normalize, resize

pytestmark = pytest.mark.usefixtures("double_by_default")


def batch_of(count=4, labels=True):
    images = torch.randn(count, 3, 16, 16)
    return Batch(images, torch.arange(count) % 3 if labels else None, [torch.ones(1, 4)] * count)


@pytest.mark.parametrize("labels", [True, False])
def test_each_image_is_explained_as_if_it_were_alone(tiny_module, labels):
    network, batch = tiny_module().network.train(), batch_of(labels=labels)
    with torch.inference_mode():
        explained = explained_images(network, batch, "4")
    network.eval()
    for index in range(4):
        image = batch.images[index : index + 1].clone().requires_grad_()
        logits = network(image)
        prediction = int(logits.argmax())
        target = torch.tensor([index % 3 if labels else prediction])
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, target), image)
        torch.testing.assert_close(explained.input_gradients[index], gradient[0])
        torch.testing.assert_close(explained.probabilities[index], logits.softmax(dim=1)[0].detach().float())
        assert int(explained.predictions[index]) == prediction
        cam = normalize(resize(GradCAM(network, "4")(image.detach(), prediction), (16, 16)))[0]
        torch.testing.assert_close(explained.prediction_cams[index], cam, rtol=1e-4, atol=1e-5)
        if labels:
            cam = normalize(resize(GradCAM(network, "4")(image.detach(), index % 3), (16, 16)))[0]
            torch.testing.assert_close(explained.label_cams[index], cam, rtol=1e-4, atol=1e-5)
    assert (explained.label_cams is None) == (not labels)


def test_guided_gradient_matches_captum(tiny_module):
    from captum.attr import GuidedBackprop

    class MinusLoss(nn.Module):
        """One output: guided backpropagation starts at the loss, not at a logit."""

        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return F.cross_entropy(self.network(images), torch.arange(4) % 3, reduction="none").unsqueeze(1)

    network, batch = tiny_module().network.eval(), batch_of()
    explained = explained_images(network, batch)
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(MinusLoss(network)).attribute(batch.images.clone().requires_grad_(), target=0)
    torch.testing.assert_close(explained.guided_gradients, expected.detach())


def test_a_network_without_gates_says_why_it_has_no_guided_gradient(tiny_module):
    explained = explained_images(tiny_module(nn.SiLU).network, batch_of())
    assert explained.guided_gradients is None
    assert "no ReLU-like activation" in explained.unguided
    assert explained.input_gradients.abs().sum() > 0


def test_modes_are_left_as_found_after_an_error(tiny_module):
    network = tiny_module().network.train()
    network[1].eval()
    with pytest.raises(ValueError, match="expected classes from 0 to 2, got 3"):
        explained_images(network, Batch(torch.rand(1, 3, 16, 16), torch.tensor([3])))
    assert [each.training for each in network] == [True, False] + [True] * 7
    assert network.training
