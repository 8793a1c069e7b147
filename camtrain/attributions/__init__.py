"""Attributions at the input."""

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.deep_lift import DeepLift
from camtrain.attributions.gradient_shap import GradientSHAP
from camtrain.attributions.guided_backprop import GuidedBackprop
from camtrain.attributions.guided_grad_cam import GuidedGradCAM, guided_grad_cam
from camtrain.attributions.input_gradient import InputGradient
from camtrain.attributions.input_x_gradient import InputXGradient, input_x_gradient
from camtrain.attributions.integrated_gradients import IntegratedGradients, completeness_error, integrated_gradients
from camtrain.attributions.occlusion import Occlusion
from camtrain.attributions.rise import RISE, rise_masks
from camtrain.attributions.saliency_map import saliency_map
from camtrain.attributions.smooth_grad import SmoothGrad, gradient_statistic

__all__ = [
    "RISE",
    "BaseAttribution",
    "DeepLift",
    "GradientSHAP",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InputGradient",
    "InputXGradient",
    "IntegratedGradients",
    "Occlusion",
    "SmoothGrad",
    "completeness_error",
    "gradient_statistic",
    "guided_grad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "rise_masks",
    "saliency_map",
]
