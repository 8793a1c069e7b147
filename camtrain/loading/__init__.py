"""A network with all that it takes to run it, and the images of its run."""

from camtrain.loading.checkpoint import config_of
from camtrain.loading.load_data import config_beside, load_data
from camtrain.loading.load_network import load_network, needs_name
from camtrain.networks.checkpoint_file import checkpoint_in

__all__ = ["checkpoint_in", "config_beside", "config_of", "load_data", "load_network", "needs_name"]
