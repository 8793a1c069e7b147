"""Class activation maps at a layer."""

from camtrain.cams.ablation_cam import AblationCAM, ablation_weights
from camtrain.cams.attention_map import AttentionMap
from camtrain.cams.base_cam import BaseCAM
from camtrain.cams.cam import CAM, cam
from camtrain.cams.eigen_cam import EigenCAM, eigen_cam
from camtrain.cams.grad_cam import GradCAM, grad_cam
from camtrain.cams.grad_cam_plus_plus import GradCAMPlusPlus, grad_cam_plus_plus
from camtrain.cams.gradient_cam import GradientCAM
from camtrain.cams.hi_res_cam import HiResCAM, hi_res_cam
from camtrain.cams.layer_cam import LayerCAM, layer_cam, layer_cam_pyramid
from camtrain.cams.normalize import normalize
from camtrain.cams.perturbation_cam import PerturbationCAM
from camtrain.cams.resize import resize
from camtrain.cams.score_cam import ScoreCAM
from camtrain.cams.smooth_grad_cam_plus_plus import SmoothGradCAMPlusPlus, smooth_grad_cam_plus_plus
from camtrain.cams.ss_cam import SSCAM
from camtrain.cams.strongest_pairs import StrongestPairs, strongest_pairs, strongest_pairs_picture
from camtrain.cams.taylor_cam import TaylorCAM, marginal_map, taylor_cam
from camtrain.cams.x_grad_cam import XGradCAM, x_grad_cam

__all__ = [
    "CAM",
    "SSCAM",
    "AblationCAM",
    "AttentionMap",
    "BaseCAM",
    "EigenCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientCAM",
    "HiResCAM",
    "LayerCAM",
    "PerturbationCAM",
    "ScoreCAM",
    "SmoothGradCAMPlusPlus",
    "StrongestPairs",
    "TaylorCAM",
    "XGradCAM",
    "ablation_weights",
    "cam",
    "eigen_cam",
    "grad_cam",
    "grad_cam_plus_plus",
    "hi_res_cam",
    "layer_cam",
    "layer_cam_pyramid",
    "marginal_map",
    "normalize",
    "resize",
    "smooth_grad_cam_plus_plus",
    "strongest_pairs",
    "strongest_pairs_picture",
    "taylor_cam",
    "x_grad_cam",
]
