"""A trained network as a folder for other libraries, and on the hub of Hugging Face."""

from camtrain.exporting.export import Exported, export
from camtrain.exporting.network_with_map import FORWARD_METHODS, NetworkWithMap
from camtrain.exporting.onnx_file import write_onnx

__all__ = ["FORWARD_METHODS", "Exported", "NetworkWithMap", "export", "write_onnx"]
