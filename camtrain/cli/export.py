"""`camtrain export`: a trained network as a folder that other libraries read."""

from __future__ import annotations

from collections.abc import Sequence

from camtrain.cli.command_parser import CommandParser
from camtrain.cli.console import warnings_as_lines
from camtrain.cli.errors_as_lines import wrong_arguments
from camtrain.exporting import FORWARD_METHODS, export
from camtrain.files import path_from_here
from camtrain.messages import folded

_EXAMPLES = f"""
examples:
  camtrain export --checkpoint runs/quickstart/version_0 --to exported
  camtrain export --checkpoint CKPT --to exported --onnx --cam grad_cam
  camtrain export --checkpoint CKPT --to exported --push ann/digits

In --to: README.md, the model card, with scores, maps and code to use the network; model.safetensors, its weights;
config.json; preprocessor_config.json; training.yaml, the configuration of its training; maps.png; model.onnx. A network
of timm is loaded by timm.create_model("local-dir:exported", pretrained=True), any by camtrain.load_network("exported")
and by --checkpoint exported of other commands.

--cam can be: {", ".join(FORWARD_METHODS)}

--push needs `pip install 'camtrain[hub]'` and `hf auth login`, --onnx `pip install 'camtrain[onnx]'`.

exit status: 0; 2 if an argument is wrong, or the hub did not take the files.
"""


def export_command(words: Sequence[str]) -> int:
    """Run `camtrain export <words>`.

    Args:
        words: The words after the subcommand.

    Returns:
        The exit status: 0.

    Raises:
        SystemExit: With status 2 if an argument is wrong, with 0 after the help.
    """
    parser = export_parser()
    settings = parser.parsed(words)
    with warnings_as_lines("export", parser.in_words), wrong_arguments(parser):
        exported = export(**parser.arguments(settings, export))
    print(folded(f"in {path_from_here(exported.folder.absolute())}: {', '.join(exported.files)}", indent="  "))
    if exported.url is not None:
        print(exported.url)
    return 0


def export_parser() -> CommandParser:
    """The parser of the command."""
    description = "Export a trained network: weights without code, a model card, and what other libraries need."
    parser = CommandParser("export", description, _EXAMPLES)
    parser.add_parameters("network", export, ["checkpoint", ("name", "--network"), "config", "size", "mean", "std"])
    parser.add_parameters("files", export, [("folder", "--to"), "evaluation", "no_pictures"])
    parser.add_parameters("ONNX", export, ["onnx", "cam", "target_layer"])
    parser.add_parameters("the hub of Hugging Face", export, ["push", "public"])
    return parser
