"""A network with other inputs or outputs, as a network from images to logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class AdaptedNetwork(nn.Module):
    """A network with several inputs, or with any other output than logits, as a network from images to (N, K) logits.

        logits = scores(network(*inputs(images)))

    Everything that takes a network takes it: methods, `evaluate`, `explain`, callbacks and training. The parameters,
    modes and layers are those of the network inside; the name of a layer begins with `network.`.

    To explain a number that is none of K classes, return one number for each image, and explain class 1 (see
    `camtrain.gradients.class_score`). To explain it with a method alone, no adapted network is needed: give the method
    a target (see `camtrain.targets`).

    Args:
        network: The network.
        scores: From the output of the network to its logits, (N, K), or to one number for each image, (N,), which
            becomes a single logit. A target of `camtrain.targets` whose number is a fraction p becomes the logit
            log p − log(1 − p), so that its probability is p. `None` takes the output as it is.
        inputs: From images, (N, C, H, W), to the inputs of the network: a tuple for several, a dictionary for named
            ones. It is called with other images, and with more or fewer of them, than those that are explained, so that
            further inputs must be made for `len(images)` images. `None` gives the images alone.

    Raises:
        TypeError: If the network is no module, or `scores` or `inputs` cannot be called.

    Example:
        >>> class Conditioned(nn.Module):
        ...     def forward(self, images, scale):
        ...         return {"pixels": images * scale}
        >>> network = AdaptedNetwork(
        ...     Conditioned(),
        ...     scores=lambda output: output["pixels"].mean(dim=(2, 3)),
        ...     inputs=lambda images: (images, torch.full((len(images), 1, 1, 1), 2.0)),
        ... )
        >>> network(torch.ones(4, 3, 8, 8)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        scores: Callable[[Any], Tensor] | None = None,
        inputs: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"`network`: expected an nn.Module, got {type(network).__name__}")
        for name, function in {"scores": scores, "inputs": inputs}.items():
            if function is not None and not callable(function):
                raise TypeError(f"`{name}`: expected a function or None, got {function!r}")
        self.network = network
        self.scores = scores
        self.inputs = inputs

    def forward(self, images: Tensor) -> Tensor:
        """From images to logits.

        Raises:
            ValueError: If `scores` returns anything but (N, K) or (N,) for N images.
        """
        logits = self._scored(self._output(images))
        if not isinstance(logits, Tensor) or logits.dim() not in (1, 2) or len(logits) != len(images):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            name = "network" if self.scores is None else "scores"
            raise ValueError(f"`{name}`: expected ({len(images)}, K) or ({len(images)},) scores, got {got}")
        return logits.unsqueeze(1) if logits.dim() == 1 else logits

    def _output(self, images: Tensor) -> Any:
        given = images if self.inputs is None else self.inputs(images)
        if isinstance(given, Mapping):
            return self.network(**given)
        return self.network(*given) if isinstance(given, tuple) else self.network(given)

    def _scored(self, output: Any) -> Any:
        if self.scores is None:
            return output
        found = self.scores(output)
        if getattr(self.scores, "is_fraction", False):
            return torch.logit(found, eps=torch.finfo(found.dtype).eps)
        return found
