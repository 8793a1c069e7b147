"""The attention map that a network computes itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, fixed_class
from camtrain.networks import AttentionHead, AttentionOutput, attention_heads


class AttentionMap(BaseCAM):
    """The attention map of a network with an attention head, such as `AttentionBranch`, `LFICAM` or `CAStream`.

    The network weighs its features by this map in the forward pass, so the map is part of the prediction and not an
    explanation after it: `AttentionBranch` and `LFICAM` multiply the features by the map plus one, `CAStream` averages
    them with the map as weights, which sum to one. The head is found by its type, `camtrain.networks.AttentionHead`,
    wherever it is in the network.

    The map is the same for every class: the argument `class_idx` of the call is checked and has no effect. The network
    decides which layer it attends to, so there is no target layer to choose.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits, with one attention head that runs once.
        differentiable: Whether the map stays in the graph; see `BaseCAM`. A penalty on the map trains the head and the
            layers before it; the layers behind the attended one have no part in the map.

    Raises:
        ValueError: When called: if the network has no attention head, or several, or the head does not run once.

    Cost:
        One forward pass.

    Source:
        Fukui et al., Attention Branch Network, CVPR 2019, arXiv 1812.10025; Lee et al., LFI-CAM, ICCV 2021, arXiv
        2105.00937; Torres Figueroa et al., CA-Stream, CVPR Workshops 2024, arXiv 2404.14996.

    Example:
        >>> from camtrain.networks import AttentionBranch
        >>> AttentionMap(AttentionBranch("cifar_resnet8", 10).eval())(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 16, 16])
    """

    def __init__(self, network: nn.Module, *, differentiable: bool = False) -> None:
        super().__init__(network, differentiable=differentiable)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Run the network and keep the output of its head."""
        head = _only_head(self.network)
        found: list[AttentionOutput] = []
        handle = head.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        try:
            # Autocast caches cast weights. In older versions of torch, weights cached in a pass without a graph cut the
            # graph of the next pass.
            torch.clear_autocast_cache()
            with torch.set_grad_enabled(self.differentiable):
                logits = self.network(images)
        finally:
            handle.remove()
            torch.clear_autocast_cache()
        fixed_class(logits, class_idx)  # for its errors
        if len(found) != 1:
            raise ValueError(
                f"`network`: expected an attention head that runs once in a forward pass, it ran {len(found)} times"
            )
        return found[0].attention.squeeze(1)


def _only_head(network: nn.Module) -> AttentionHead:
    heads = attention_heads(network)
    if not heads:
        raise ValueError(
            f"`network`: {type(network).__name__} has no attention head, and so no attention map; train "
            "camtrain.networks.AttentionBranch, LFICAM or CAStream around it, or use another method, such as GradCAM"
        )
    if len(heads) > 1:
        raise ValueError(f"`network`: expected one attention head, got {', '.join(map(repr, heads))}")
    (head,) = heads.values()
    return head
