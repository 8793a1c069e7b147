"""Images of which only what a map shows is left."""

from __future__ import annotations

from torch import Tensor


def masked_images(images: Tensor, cams: Tensor) -> Tensor:
    """Each image times its map, x ⊙ m.

    The image is the one that the network gets: where the map is 0, a normalized image is the mean color, and not black.

    Args:
        images: (N, 3, H, W), normalized.
        cams: (N, H, W) in [0, 1].

    Returns:
        (N, 3, H, W).

    Raises:
        ValueError: if the sizes differ, or a map leaves [0, 1].

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 4.1.

    Example:
        >>> import torch
        >>> masked_images(torch.ones(1, 3, 1, 2), torch.tensor([[[0.25, 1.0]]]))[0, 0]
        tensor([[0.2500, 1.0000]])
    """
    if images.shape[:1] + images.shape[2:] != cams.shape:
        raise ValueError(
            f"`cams`: expected a map for each of the images {tuple(images.shape)}, got {tuple(cams.shape)}"
        )
    if not bool(((cams >= -1e-6) & (cams <= 1 + 1e-6)).all()):
        raise ValueError("`cams`: expected values in [0, 1]; normalize the maps first (camtrain.cams.normalize)")
    return images * cams.unsqueeze(1).to(images)
