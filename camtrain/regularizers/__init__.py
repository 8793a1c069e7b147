"""What L_R can be."""

from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer
from camtrain.regularizers.interpretable_gradient import InterpretableGradient

__all__ = ["InputGradientRegularizer", "InterpretableGradient"]
