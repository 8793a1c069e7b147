"""Class activation maps at a layer."""

from camtrain.cams.base_cam import BaseCAM
from camtrain.cams.grad_cam import GradCAM, grad_cam
from camtrain.cams.gradient_cam import GradientCAM
from camtrain.cams.normalize import normalize
from camtrain.cams.resize import resize

__all__ = ["BaseCAM", "GradCAM", "GradientCAM", "grad_cam", "normalize", "resize"]
