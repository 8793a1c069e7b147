"""Networks by name, networks with an attention head, and the layer that is explained."""

from camtrain.networks.adapted_network import AdaptedNetwork
from camtrain.networks.attended_layer import layer_before_last_stage
from camtrain.networks.attended_network import AttendedNetwork
from camtrain.networks.attention_branch import AttentionBranch, AttentionBranchHead
from camtrain.networks.attention_dropout import AttentionDropout
from camtrain.networks.attention_head import AttentionHead, AttentionOutput, attention_heads
from camtrain.networks.backbone import backbone
from camtrain.networks.build_network import Stem, build_network
from camtrain.networks.ca_stream import CAStream, CrossAttentionStream
from camtrain.networks.cifar_resnet import CIFARResNet
from camtrain.networks.initial_weights import load_initial_weights
from camtrain.networks.input_channels import input_channels, with_input_channels
from camtrain.networks.last_linear import last_linear
from camtrain.networks.lfi_cam import LFICAM, FeatureImportanceHead
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.networks.logits_of import LogitsOf
from camtrain.networks.module_of import module_of
from camtrain.networks.preprocessing import GivenPreprocessing, Preprocessing
from camtrain.networks.small_image_stem import with_small_image_stem
from camtrain.networks.stage_layers import stage_layers
from camtrain.networks.target_layer import last_spatial_layer

__all__ = [
    "LFICAM",
    "AdaptedNetwork",
    "AttendedNetwork",
    "AttentionBranch",
    "AttentionBranchHead",
    "AttentionDropout",
    "AttentionHead",
    "AttentionOutput",
    "CAStream",
    "CIFARResNet",
    "CrossAttentionStream",
    "FeatureImportanceHead",
    "GivenPreprocessing",
    "LoadedNetwork",
    "LogitsOf",
    "Preprocessing",
    "Stem",
    "attention_heads",
    "backbone",
    "build_network",
    "input_channels",
    "last_linear",
    "last_spatial_layer",
    "layer_before_last_stage",
    "load_initial_weights",
    "module_of",
    "stage_layers",
    "with_input_channels",
    "with_small_image_stem",
]
