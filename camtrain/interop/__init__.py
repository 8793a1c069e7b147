"""Methods of captum, pytorch-grad-cam and torchcam as methods of camtrain, and the other way round."""

from camtrain.interop.captum_methods import CaptumAttribution, CaptumLayer
from camtrain.interop.foreign import is_foreign
from camtrain.interop.grad_cam_interface import GradCAMInterface
from camtrain.interop.grad_cam_method import GradCAMMethod
from camtrain.interop.method_of import method_of
from camtrain.interop.torchcam_method import TorchcamMethod

__all__ = [
    "CaptumAttribution",
    "CaptumLayer",
    "GradCAMInterface",
    "GradCAMMethod",
    "TorchcamMethod",
    "is_foreign",
    "method_of",
]
