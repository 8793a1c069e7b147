"""A network with its preprocessing and class names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor, nn

from camtrain.checked_logits import described_output
from camtrain.messages import CamtrainWarning
from camtrain.networks.input_channels import channels_remark, input_channels
from camtrain.networks.preprocessing import Preprocessing, normalization_title, plain_preprocessing
from camtrain.probabilities import class_probabilities


@dataclass(frozen=True)
class LoadedNetwork:
    """A network, with all that it takes to run it on a photograph.

    Attributes:
        network: From (N, C, H, W) to (N, K) logits.
        title: The title of the network in tables and pictures.
        preprocessing: How photographs become its input.
        class_names: The names of all classes; `None` where they are not known.
        device: The device of the network.
        num_classes: The number of classes K, 2 for a network of a single logit; `None` before the network was run.
        remarks: What a user should know about the network.
        several_labels: Whether an image may show several of the classes. Their probabilities are then the sigmoids of
            the logits, each by itself, in the place of a softmax.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network = LoadedNetwork.of(CIFARResNet(depth=8, num_classes=3)).on("cpu")
        >>> network.num_classes
        3
    """

    network: nn.Module
    title: str
    preprocessing: Preprocessing
    class_names: Sequence[str] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    num_classes: int | None = None
    remarks: Sequence[str] = ()
    several_labels: bool = False

    @classmethod
    def of(cls, network: LoadedNetwork | nn.Module) -> LoadedNetwork:
        """The network itself, or any `nn.Module` with assumptions: ImageNet's normalization and 224 pixels.

        If its convolutions take another number of channels than three, mean and std are assumed to be 0.5.

        The module is not changed or moved; it is run in evaluation mode where it is used.

        Raises:
            TypeError: If `network` is neither.
        """
        if isinstance(network, cls):
            return network
        if not isinstance(network, nn.Module):
            raise TypeError(
                f"`network`: expected an nn.Module or what camtrain.load_network returns, got {type(network).__name__}"
            )
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        channels = input_channels(network)
        assumed = f"224 pixels and {normalization_title(channels)} are assumed"
        remark = (
            f"nothing says how photographs are prepared for the network: {assumed}; pass a tensor, or a network from "
            "camtrain.load_network"
        )
        prepared = plain_preprocessing(remarks=[remark], channels=channels)
        return cls(network, type(network).__name__, prepared, device=device)

    def input(self, photograph: Image.Image | Tensor) -> Tensor:
        """A photograph, or an image file's channels (C, H, W), as the network gets it, (1, C, H, W), on its device.

        Raises:
            ValueError: If it cannot be brought to that form.
        """
        try:
            return self.preprocessing.transform(photograph).unsqueeze(0).to(self.device)
        except RuntimeError as error:
            height, width = photograph.shape[-2:] if isinstance(photograph, Tensor) else photograph.size[::-1]
            size = f"{height}×{width}"
            raise ValueError(f"a photograph of {size} pixels cannot be prepared: {error}") from error

    def probabilities(self, image: Tensor) -> Tensor:
        """(K,) class probabilities of one image, (1, C, H, W), in evaluation mode, on the CPU.

        Those of a network with a single logit are two: of class 0, no, and of class 1, yes.

        Raises:
            ValueError: If the network cannot be run on it, or does not put out logits.
        """
        training = [module for module in self.network.modules() if module.training]
        self.network.eval()
        try:
            with torch.no_grad():
                logits = self.network(image)
        except (AssertionError, RuntimeError, ValueError) as error:
            if remark := channels_remark(self.network, image):
                raise ValueError(f"`network`: {self.title} cannot be run: {remark}: {error}") from error
            height, width = image.shape[-2:]
            raise ValueError(
                f"`size`: {self.title} cannot be run on images of {height}×{width} pixels, give another: {error}"
            ) from error
        finally:
            for module in training:
                module.training = True
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
            raise ValueError(
                f"`network`: expected (1, K) logits of one image from {self.title}, got {described_output(logits)}"
            )
        return class_probabilities(logits.float(), independent=self.several_labels)[0].cpu()

    def on(self, device: torch.device | str) -> LoadedNetwork:
        """The same network moved to a device, after a first pass that finds the number of its classes.

        Class names that do not fit that number are left out, with a warning.

        Raises:
            ValueError: If the network cannot be moved there or run.
        """
        try:
            moved = replace(self, network=self.network.to(device), device=torch.device(device))
        except (AssertionError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"`device`: cannot use {str(device)!r}: {error}") from error
        classes = len(moved.probabilities(moved.input(gray_image(self.preprocessing))))
        moved = replace(moved, num_classes=classes)
        if moved.class_names is not None and len(moved.class_names) != classes:
            remark = f"{len(moved.class_names)} class names for {classes} classes: they are left out"
            warnings.warn(remark, CamtrainWarning, stacklevel=2)
            return replace(moved, class_names=None, remarks=[*self.remarks, remark])
        return moved


def gray_image(preprocessing: Preprocessing) -> Image.Image | Tensor:
    """An image of one gray, as `LoadedNetwork.input` takes it."""
    if preprocessing.pixel_format is None:
        return Image.new("RGB", (256, 256), "gray")
    return torch.full((preprocessing.channels, 256, 256), 0.5)
