"""The attention-based dropout layer (ADL), put into any classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from camtrain.messages import checked_fraction
from camtrain.networks.attended_network import check_once, made_backbone, probe_size, probed
from camtrain.networks.build_network import Stem
from camtrain.networks.map_layout import map_layout
from camtrain.networks.stage_layers import stage_layers
from camtrain.networks.target_layer import target_layer_of


def dropped_features(features: Tensor, drop: Tensor, threshold: float) -> Tensor:
    """Features without their strongest part, or weighted by their own attention.

        A = 1/C Σ_c F_c
        F' = F · 1[A < γ max A]  where the strongest part is dropped, otherwise  F · σ(A)

    Args:
        features: F, (N, C, h, w).
        drop: Bool, 0-dim for all images or (N, 1, 1, 1): whether the strongest part is dropped.
        threshold: γ, a fraction of the largest value of A in an image.

    Returns:
        F', (N, C, h, w).

    Example:
        >>> features = torch.tensor([[[[1.0, 4.0]], [[3.0, 4.0]]]])
        >>> dropped_features(features, torch.tensor(True), 0.9)[0, :, 0].tolist()
        [[1.0, 0.0], [3.0, 0.0]]
    """
    attention = features.mean(dim=1, keepdim=True)
    weak = attention < threshold * attention.amax(dim=(2, 3), keepdim=True)
    return features * torch.where(drop, weak.to(features.dtype), attention.sigmoid())


class AttentionDropout(nn.Module):
    """A classifier with attention-based dropout (ADL): in training, the strongest part of features is often hidden.

    After each of the chosen layers, in each training pass, the part of the features whose mean over the channels is
    near its maximum is set to 0, with the probability `drop_rate`; otherwise the features are weighted by the sigmoid
    of that mean. One draw holds for all images of a batch. In evaluation the network is the backbone. See
    `dropped_features`.

    The backbone is not changed, and its parameters keep their names. A CAM of a chosen layer sees the features from
    before the dropout. Which features are dropped is a choice that `FrozenGates` does not freeze: with a regularizer of
    input gradients, train with `DoubleBackprop`.

    Args:
        backbone: A name that `build_network` knows (`resnet50`, `cifar_resnet20`, `timm:...`), or any module from
            (N, C, H, W) to (N, K) logits.
        num_classes: K.
        layers: The dotted names of the modules of the backbone after which features are dropped. Null takes the ends of
            its last two stages, `layer3` and `layer4` of a ResNet. The benchmark of Choe et al. has `layer3.0`,
            `layer4.0` and `layer4.2` in a ResNet-50.
        drop_rate: The probability that the strongest part is dropped.
        drop_threshold: γ: what is at least this fraction of the largest value is the strongest part. 0.9 is the default
            of the benchmark's code, and 0.8 that of its layer.
        stem: The stem of a backbone given by name; `small` for images of 32 to 64 pixels.
        weights: The weights of a backbone given by name, such as `DEFAULT`.
        image_size: The height and width of the image that is run once to find and check the layers. Null takes 32 for
            the small stem, else 224.

    Raises:
        ValueError: If a number is out of range, `build_network` raises one, or a layer does not exist or does not put
            out maps exactly once in a pass.

    Source:
        Choe and Shim, Attention-based Dropout Layer for Weakly Supervised Object Localization, CVPR 2019, arXiv
        1908.10028.

    Example:
        >>> network = AttentionDropout("cifar_resnet8", num_classes=10)
        >>> network.layers, network(torch.rand(2, 3, 32, 32)).shape
        (['layer2', 'layer3'], torch.Size([2, 10]))
    """

    def __init__(
        self,
        backbone: nn.Module | str,
        num_classes: int,
        layers: Sequence[str] | None = None,
        drop_rate: float = 0.75,
        drop_threshold: float = 0.9,
        stem: Stem = "imagenet",
        weights: str | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.drop_rate = checked_fraction("drop_rate", drop_rate)
        self.drop_threshold = checked_fraction("drop_threshold", drop_threshold)
        if isinstance(layers, str) or (layers is not None and not layers):
            raise ValueError(f"`layers`: expected a list of names, or None, got {layers!r}")
        self.backbone = made_backbone(backbone, num_classes, stem, weights)
        with probed(self.backbone, num_classes, image_size or probe_size(stem), "layers") as (network, image):
            self.layers = stage_layers(network, image)[-2:] if layers is None else list(layers)
            _run(network, self.layers, image, lambda features: features)

    def forward(self, images: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, K) logits of the backbone."""
        if not self.training:
            logits: Tensor = self.backbone(images)
            return logits
        return _run(self.backbone, self.layers, images, self._dropped)

    def _dropped(self, features: Tensor) -> Tensor:
        drop = torch.rand((), device=features.device) < self.drop_rate
        return dropped_features(features, drop, self.drop_threshold)


def _run(network: nn.Module, layers: Sequence[str], images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits of a network in which the features (N, C, h, w) of some layers are changed."""
    runs = dict.fromkeys(layers, 0)

    def changed(name: str, layer: nn.Module, output: Tensor) -> Tensor:
        runs[name] += 1
        if runs[name] > 1:
            return output
        layout = map_layout(output, layer, images, network)
        return layout.output(change(layout.maps(output)), output)

    with ExitStack() as hooks:
        for name in runs:
            module = target_layer_of(network, name)
            handle = module.register_forward_hook(
                lambda layer, _inputs, output, name=name: changed(name, layer, output)
            )
            hooks.callback(handle.remove)
        logits: Tensor = network(images)
    for name, count in runs.items():
        check_once(name, count, "layers")
    return logits
