"""Attributions at the input."""

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.guided_backprop import GuidedBackprop
from camtrain.attributions.guided_grad_cam import GuidedGradCAM, guided_grad_cam
from camtrain.attributions.input_gradient import InputGradient
from camtrain.attributions.input_x_gradient import InputXGradient, input_x_gradient
from camtrain.attributions.integrated_gradients import IntegratedGradients, completeness_error, integrated_gradients
from camtrain.attributions.saliency_map import saliency_map
from camtrain.attributions.smooth_grad import SmoothGrad, gradient_statistic

__all__ = [
    "BaseAttribution",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InputGradient",
    "InputXGradient",
    "IntegratedGradients",
    "SmoothGrad",
    "completeness_error",
    "gradient_statistic",
    "guided_grad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "saliency_map",
]
