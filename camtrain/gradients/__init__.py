"""How a gradient is taken, and how a network is trained through it."""

from camtrain.gradients.batch_norm import BatchNormStatistics, frozen_batch_norm, running_batch_norm
from camtrain.gradients.captured_activations import (
    CapturedActivations,
    Layout,
    LayoutOf,
    captured_activations,
    channels_first,
)
from camtrain.gradients.class_score import (
    Against,
    ClassIndex,
    Contrast,
    class_score,
    fixed_class,
    repeated_class,
    selected_class,
)
from camtrain.gradients.double_backprop import DoubleBackprop
from camtrain.gradients.engine import Engine, EngineOutput, InputGradientPenalty, TermOfPass
from camtrain.gradients.frozen_gates import FrozenGates
from camtrain.gradients.gradients_enabled import gradients_enabled
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.input_gradient import input_gradient
from camtrain.gradients.left_as_found import evaluation_mode, left_as_found
from camtrain.gradients.noisy_images import NoisyImages
from camtrain.gradients.not_inference import not_inference
from camtrain.gradients.positive_integer import positive_integer

__all__ = [
    "Against",
    "BatchNormStatistics",
    "CapturedActivations",
    "ClassIndex",
    "Contrast",
    "DoubleBackprop",
    "Engine",
    "EngineOutput",
    "FrozenGates",
    "InputGradientPenalty",
    "Layout",
    "LayoutOf",
    "NoisyImages",
    "TermOfPass",
    "captured_activations",
    "channels_first",
    "class_score",
    "evaluation_mode",
    "fixed_class",
    "frozen_batch_norm",
    "gradients_enabled",
    "guided_gradient",
    "input_gradient",
    "left_as_found",
    "not_inference",
    "positive_integer",
    "repeated_class",
    "running_batch_norm",
    "selected_class",
]
