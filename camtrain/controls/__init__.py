"""Control maps: maps that know nothing of what the network says about an image, to compare scores with."""

from camtrain.controls.base_control import BaseControl
from camtrain.controls.center_map import CenterMap, center_map
from camtrain.controls.content_seeds import content_seeds
from camtrain.controls.donors import donors
from camtrain.controls.random_map import RandomMap, random_maps
from camtrain.controls.shuffled_map import ShuffledMap
from camtrain.controls.uniform_map import UniformMap

__all__ = [
    "BaseControl",
    "CenterMap",
    "RandomMap",
    "ShuffledMap",
    "UniformMap",
    "center_map",
    "content_seeds",
    "donors",
    "random_maps",
]
