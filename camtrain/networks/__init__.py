"""Which network, and which of its layers is explained."""

from camtrain.networks.build_network import Stem, build_network
from camtrain.networks.cifar_resnet import CIFARResNet
from camtrain.networks.nearest_names import nearest_names
from camtrain.networks.small_image_stem import with_small_image_stem
from camtrain.networks.target_layer import last_spatial_layer, target_layer_of

__all__ = [
    "CIFARResNet",
    "Stem",
    "build_network",
    "last_spatial_layer",
    "nearest_names",
    "target_layer_of",
    "with_small_image_stem",
]
