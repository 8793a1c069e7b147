"""Which library an object is of, without importing the library."""

from __future__ import annotations

from typing import Any, Literal

Library = Literal["captum", "captum layer", "pytorch_grad_cam", "torchcam"]


def library_of(found: Any) -> Library | None:
    """The library whose method an object is; `None` for anything else.

    A subclass that a user derived from a class of the library is of the library, too.

    Example:
        >>> library_of("grad_cam") is None
        True
    """
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(found).__mro__}
    if "captum.LayerAttribution" in bases:
        return "captum layer"
    if "captum.Attribution" in bases:
        return "captum"
    if bases & {"pytorch_grad_cam.BaseCAM", "pytorch_grad_cam.FinerCAM"}:
        return "pytorch_grad_cam"
    if bases & {"torchcam._CAM", "torchcam._CAMWrapper"}:
        return "torchcam"
    return None


def is_foreign(found: Any) -> bool:
    """Whether an object is a method of captum, pytorch-grad-cam or torchcam.

    Example:
        >>> is_foreign("grad_cam")
        False
    """
    return library_of(found) is not None
