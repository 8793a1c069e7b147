"""CA-Stream: attention that takes the place of global average pooling, beside a frozen backbone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from camtrain.messages import positive_integer
from camtrain.networks.attended_network import check_once, like_network, made_backbone, probe_size, probed
from camtrain.networks.attention_head import AttentionHead, AttentionOutput
from camtrain.networks.build_network import Stem
from camtrain.networks.map_layout import MapLayout, PixelLayout, map_layout
from camtrain.networks.stage_layers import stage_layers
from camtrain.networks.target_layer import target_layer_of

# Logits of the same features in another order may differ by rounding, as a fraction of those of other features.
_ROUNDING = 1e-2


def cross_attention(features: Tensor, query: Tensor) -> Tensor:
    """The attention of a query to the places of a map, softmax_ij(Σ_c q_c F_cij / √C), (N, 1, h, w).

    Args:
        features: F, (N, C, h, w).
        query: q, (N, C).

    Example:
        >>> cross_attention(torch.tensor([[[[0.0, 1.0986]]]]), torch.ones(1, 1))
        tensor([[[[0.2500, 0.7500]]]])
    """
    scores = torch.einsum("nc,nchw->nhw", query, features) / math.sqrt(features.shape[1])
    return scores.flatten(1).softmax(dim=1).view_as(scores).unsqueeze(1)


def attention_pooling(features: Tensor, attention: Tensor) -> Tensor:
    """The average of a map with an attention as weights, Σ_ij a_ij F_cij, (N, C).

    Args:
        features: F, (N, C, h, w).
        attention: a, (N, 1, h, w); the sum over the places is 1.

    Example:
        >>> attention_pooling(torch.tensor([[[[8.0, 4.0]]]]), torch.tensor([[[[0.25, 0.75]]]]))
        tensor([[5.]])
    """
    return torch.einsum("nhw,nchw->nc", attention.squeeze(1), features)


class CrossAttentionStream(AttentionHead):
    """A class token that attends to one stage of a network after another.

        a_l = softmax_ij(F_l q_l / √C_l),    q_(l+1) = W_l Σ_ij a_l,ij F_l,ij + b_l,    l = 0 … L

    q_0 is learned. The attention is a_L, that to the last stage, and q_(L+1) takes the place of the average of F_L.
    There are no keys and values: the features are both.

    Departure from the official code: W_L starts as the identity instead of random numbers, so that q_(L+1) is an
    average of features that the classifier knows.

    Args:
        channels: C_0 … C_L, the number of channels of each stage.

    Raises:
        ValueError: If there is no stage, or a number is not positive.

    Source:
        Torres Figueroa et al., CA-Stream: Attention-based Pooling for Interpretable Image Recognition, CVPR Workshops
        2024, arXiv 2404.14996; github.com/ftorres11/CA_Stream, with the authors' poster.

    Example:
        >>> stream = CrossAttentionStream([8, 16])
        >>> stream([torch.rand(2, 8, 8, 8), torch.rand(2, 16, 4, 4)], torch.rand(2, 3, 32, 32)).attention.shape
        torch.Size([2, 1, 4, 4])
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if not channels:
            raise ValueError(f"`channels`: expected a positive number for each stage, got {channels}")
        for number in channels:
            positive_integer("channels", number)
        following = [*channels[1:], channels[-1]]
        self.token = nn.Parameter(1 + torch.randn(channels[0]))  # as in the official code
        projections = [nn.Linear(*pair) for pair in zip(channels, following, strict=True)]
        for projection in projections:
            nn.init.xavier_uniform_(projection.weight)
        nn.init.eye_(projections[-1].weight)
        nn.init.zeros_(projections[-1].bias)
        self.projections = nn.ModuleList(projections)

    def forward(self, features: Sequence[Tensor], images: Tensor) -> AttentionOutput:
        """See `AttentionHead`. The images are not used.

        Args:
            features: F_0 … F_L, the outputs of the stages, (N, C_l, h_l, w_l).
            images: (N, C, H, W).
        """
        *earlier, last = features
        query = self.token.expand(last.shape[0], -1)
        for of_stage, projection in zip(earlier, self.projections, strict=False):
            query = projection(attention_pooling(of_stage, cross_attention(of_stage, query)))
        return AttentionOutput(cross_attention(last, query), None)

    def pooled(self, features: Tensor, attention: Tensor) -> Tensor:
        """q_(L+1), (N, C_L), from the features of the last stage and the attention to them."""
        pooled: Tensor = self.projections[-1](attention_pooling(features, attention))
        return pooled


class CAStream(nn.Module):
    """CA-Stream: a frozen classifier whose global average pooling is replaced by a learned attention pooling.

        logits = classifier(q_(L+1))        instead of        logits = classifier(mean_ij F_L,ij)

    `CrossAttentionStream` computes q_(L+1) from the outputs of the backbone's stages. Only the stream is trained, with
    the loss of the logits. The backbone, its classifier included, is frozen and stays in evaluation mode, whatever mode
    this network is in, so it has to be trained before: give its `weights`, or `initial_weights` to `Classifier`.
    (Lightning warns about modules in evaluation mode when training starts; here that is intended.)

    The attention a_L is one map for all classes, which `AttentionMap` returns. Other methods explain the network as a
    whole; a CAM at the last stage sees F_L before the pooling. `CAM` does not apply, because the input of the linear
    layer is not the average of F_L.

    The backbone is not changed, and its parameters keep their names. During this network's forward, and only then,
    hooks read the outputs of the stages and replace that of the last stage by a map that is q_(L+1) at every place,
    whose average is q_(L+1). What follows before or after the average, such as a normalization, is applied to it.

    Departures: the paper's first stage of a ResNet is the output of the stem's max pooling; here it is the input.
    `layers` can name `maxpool`.

    Args:
        backbone: A name that `build_network` knows (`resnet18`, `cifar_resnet20`, `timm:...`), or any module from
            (N, C, H, W) to (N, K) logits that are computed from the average of its last map.
        num_classes: K.
        layers: The dotted names of the modules of the backbone whose outputs are attended, in the order in which they
            run. The last must be the layer before the average. `None` takes the last layer of each resolution (see
            `stage_layers`).
        stem: The stem of a backbone given by name; `small` for images of 32 to 64 pixels.
        weights: The weights of a backbone given by name, such as `DEFAULT`.
        image_size: The height and width of the image that is run a few times to find the layers and their channels.
            `None` takes 32 for the small stem, else 224.

    Attributes:
        backbone: The frozen classifier.
        layers: The names of the attended layers.
        attention_head: The stream, which runs once in each forward pass.

    Raises:
        ValueError: If `build_network` raises one, a stem or weights are given for a module, there is no module of a
            name in `layers`, the layers do not run once and in this order or do not put out maps of more than one
            pixel, the backbone has another number of classes, or its logits depend on more than the average of the
            last map, as those of VGG and of vision transformers with a class token do.

    Cost:
        A pass of the backbone, which keeps no graph, and two products with the map of each stage.

    Source:
        Torres Figueroa et al., CA-Stream: Attention-based Pooling for Interpretable Image Recognition, CVPR Workshops
        2024, arXiv 2404.14996; github.com/ftorres11/CA_Stream.

    Example:
        >>> network = CAStream("cifar_resnet8", num_classes=10)
        >>> network.layers, network(torch.rand(2, 3, 32, 32)).shape
        (['layer1', 'layer2', 'layer3'], torch.Size([2, 10]))
    """

    def __init__(
        self,
        backbone: nn.Module | str,
        num_classes: int,
        layers: list[str] | None = None,
        stem: Stem = "imagenet",
        weights: str | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = made_backbone(backbone, num_classes, stem, weights).requires_grad_(False)
        with probed(self.backbone, num_classes, image_size or probe_size(stem), "layers") as (network, image):
            self.layers = stage_layers(network, image) if layers is None else list(layers)
            channels = _channels_of_stages(network, self.layers, image)
            _check_average(network, self.layers[-1], image)
        like = like_network(self.backbone)
        self.attention_head = CrossAttentionStream(channels).to(device=like.device, dtype=like.dtype)
        self.train(self.training)

    def train(self, mode: bool = True) -> CAStream:
        """Set the mode of the stream; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, K) logits of the backbone's classifier.

        Raises:
            ValueError: If a layer does not run exactly once.
        """
        runs = dict.fromkeys(self.layers, 0)
        features: list[Tensor] = []

        def attended(name: str, layer: nn.Module, output: Tensor) -> Tensor:
            runs[name] += 1
            if runs[name] > 1:
                return output
            layout = map_layout(output, layer, images, self.backbone)
            maps = layout.maps(output)
            if name != self.layers[-1]:
                features.append(maps.clone())  # the next layer may work in place
                return output
            attention = self.attention_head([*features, maps], images).attention
            return _constant(self.attention_head.pooled(maps, attention), layout, maps, output)

        handles = [
            self.backbone.get_submodule(name).register_forward_hook(
                lambda layer, _inputs, output, name=name: attended(name, layer, output)
            )
            for name in self.layers
        ]
        try:
            logits: Tensor = self.backbone(images)
        finally:
            for handle in handles:
                handle.remove()
        for name, count in runs.items():
            check_once(name, count, "layers")
        return logits


def _constant(pooled: Tensor, layout: MapLayout, maps: Tensor, output: Tensor) -> Tensor:
    """An output of a layer whose map is (N, C) `pooled` at every place."""
    constant = pooled.to(maps.dtype)[:, :, None, None].expand_as(maps)
    return layout.output(constant, output).contiguous()  # the next layer may work in place


def _channels_of_stages(network: nn.Module, layers: Sequence[str], image: Tensor) -> list[int]:
    """The number of channels of each layer.

    Raises:
        ValueError: If the layers do not run once, in this order, and put out maps of more than one pixel.
    """
    ran: dict[str, list[object]] = {}
    order = []

    def note(name: str, output: object) -> None:
        order.append(name)
        ran.setdefault(name, []).append(output)

    modules = [target_layer_of(network, name) for name in layers]
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in zip(layers, modules, strict=True)
    ]
    network(image)
    for handle in handles:
        handle.remove()
    if not layers or order != list(layers):
        raise ValueError(
            f"`layers`: expected layers that run once in a forward pass, in this order, got {list(layers)}, which run "
            f"as {order}"
        )
    return [_channels(network, name, module, ran[name][0], image) for name, module in zip(layers, modules, strict=True)]


def _channels(network: nn.Module, name: str, module: nn.Module, output: object, image: Tensor) -> int:
    if not isinstance(output, Tensor):
        raise ValueError(f"`layers`: expected layers that put out tensors, {name!r} puts out a {type(output).__name__}")
    layout = map_layout(output, module, image, network)
    maps = layout.maps(output)
    if not isinstance(layout, PixelLayout) or maps.shape[-2] * maps.shape[-1] < 2:
        raise ValueError(
            f"`layers`: expected layers that put out (N, C, h, w) with more than one pixel, {name!r} puts out "
            f"{tuple(output.shape)} for images of {image.shape[-2]}×{image.shape[-1]}; give another `image_size`, or "
            "name other layers"
        )
    return maps.shape[1]


def _check_average(network: nn.Module, layer: str, image: Tensor) -> None:
    """Check that the logits depend on what is in the map of a layer, and neither on where it is nor on anything else.

    Raises:
        ValueError: If they do not.
    """
    module = target_layer_of(network, layer)

    def logits(image: Tensor, drawn: Callable[[Tensor], Tensor]) -> Tensor:
        def replaced(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            layout = map_layout(output, module, image, network)
            like = layout.maps(output)
            return layout.output(drawn(like).to(like), output).contiguous()

        handle = module.register_forward_hook(replaced)
        try:
            found: Tensor = network(image)
        finally:
            handle.remove()
        return found

    def drawn(seed: int, like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        scales = torch.rand(like.shape[1], 1, 1, generator=generator)
        return scales * torch.rand(like.shape, generator=generator)

    first = logits(image, lambda like: drawn(0, like))
    moved = logits(image + 1, lambda like: drawn(0, like).flip((-2, -1)))
    other = logits(image, lambda like: drawn(1, like))
    moves, changes = (first - moved).abs().max(), (first - other).abs().max()
    if not moves <= _ROUNDING * changes or changes == 0:
        raise ValueError(
            f"`backbone`: expected a network that classifies the average of the output of {layer!r}; the logits of "
            f"{type(network).__name__} depend on where in that output a feature is, or on more than that output. "
            "Attention cannot take the place of its pooling. If another layer is the one before the average, name it "
            "as the last of `layers`"
        )
