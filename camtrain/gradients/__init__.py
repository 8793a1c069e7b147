"""How a gradient is taken, and how a network is trained through it."""

from camtrain.gradients.batch_norm import BatchNormStatistics, frozen_batch_norm, running_batch_norm
from camtrain.gradients.captured_activations import CapturedActivations, captured_activations
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
from camtrain.gradients.target import FunctionTarget, Target, as_target

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
    "FunctionTarget",
    "InputGradientPenalty",
    "NoisyImages",
    "Target",
    "TermOfPass",
    "as_target",
    "captured_activations",
    "class_score",
    "evaluation_mode",
    "fixed_class",
    "frozen_batch_norm",
    "gradients_enabled",
    "guided_gradient",
    "input_gradient",
    "left_as_found",
    "repeated_class",
    "running_batch_norm",
    "selected_class",
]
