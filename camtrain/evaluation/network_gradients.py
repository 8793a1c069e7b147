"""Gradients of the network at its input, which metrics of the network itself score."""

from __future__ import annotations

from camtrain.evaluation.need import GradientNeed
from camtrain.gradients import guided_gradient, input_gradient

INPUT_GRADIENTS = GradientNeed(name="gradients", what="the input gradient", gradient=input_gradient)
"""(N, C, H, W) gradient of the sum of the images' cross-entropies with the explained classes."""

GUIDED_GRADIENTS = GradientNeed(name="guided_gradients", what="the guided gradient", gradient=guided_gradient)
"""(N, C, H, W) guided gradient of the same loss; missing in a network that has no ReLU."""
