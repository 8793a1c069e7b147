"""Boxes and masks of another number of images than the batch are an error before anything is computed."""

from __future__ import annotations

import pytest
import torch

from camtrain import Objective
from camtrain.regularizers import EnergyInside, RightForRightReasons
from tests.regularizers.smooth_network import batch, smooth_network

BOX = torch.tensor([[1.0, 2.0, 5.0, 6.0]])


@pytest.mark.parametrize("call", ["forward", "measure"])
@pytest.mark.parametrize("make", [lambda: None, lambda: EnergyInside(target_layer="4"), RightForRightReasons])
@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"boxes": [BOX]}, r"`boxes`: expected one \(M, 4\) tensor for each of 4 images, got 1"),
        ({"boxes": [BOX] * 5}, r"`boxes`: expected one \(M, 4\) tensor for each of 4 images, got 5"),
        ({"boxes": []}, r"`boxes`: .* got 0"),
        (
            {"masks": torch.ones(1, 8, 8, dtype=torch.bool)},
            r"`masks`: expected a bool tensor \(4, 8, 8\), .* of 4 images, got .* \(1, 8, 8\)",
        ),
        ({"masks": torch.ones(3, 8, 8, dtype=torch.bool), "boxes": [BOX] * 4}, "`masks`: .* of 4 images"),
        ({"masks": torch.ones(4, 8, 8, dtype=torch.bool), "boxes": [BOX]}, "`boxes`: .* of 4 images, got 1"),
    ],
)
def test_annotation_of_another_number_of_images(call, make, annotation, message):
    network, (images, labels, _) = smooth_network(), batch()
    network.register_forward_hook(lambda *_: pytest.fail("the network was run"))
    with pytest.raises(ValueError, match=message):
        getattr(Objective(make()), call)(network, images, labels, **annotation)
