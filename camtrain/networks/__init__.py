"""Which network, and which of its layers is explained."""

from camtrain.networks.build_network import Stem, build_network
from camtrain.networks.cifar_resnet import CIFARResNet
from camtrain.networks.map_layout import MapLayout, PixelLayout, TokenLayout, map_layout
from camtrain.networks.nearest_names import nearest_names
from camtrain.networks.small_image_stem import with_small_image_stem
from camtrain.networks.target_layer import last_spatial_layer, target_layer_of
from camtrain.networks.uncompiled import uncompiled

__all__ = [
    "CIFARResNet",
    "MapLayout",
    "PixelLayout",
    "Stem",
    "TokenLayout",
    "build_network",
    "last_spatial_layer",
    "map_layout",
    "nearest_names",
    "target_layer_of",
    "uncompiled",
    "with_small_image_stem",
]
