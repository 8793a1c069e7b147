"""A network with all that it takes to run it, and the images of its run."""

from camtrain.loading.checkpoint import checkpoint_in, config_of
from camtrain.loading.load_data import load_data
from camtrain.loading.load_network import load_network

__all__ = ["checkpoint_in", "config_of", "load_data", "load_network"]
