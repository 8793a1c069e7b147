"""The images to explain, from whatever a user has them in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageOps
from torch import Tensor

from camtrain.explanation.photographs import photograph_paths, unique_names, upright_photograph
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.pictures import denormalized


@dataclass(frozen=True)
class ListedImage:
    """An image that is to be explained.

    Attributes:
        name: Its name: that of its file, or its number.
        slug: What the names of its files begin with; no other image has the same.
        read: Gives it as the network gets it, (1, 3, H, W), and what it looks like, (3, H, W) RGB in [0, 1].
        path: Its file; `None` for an image that was given as pixels.
    """

    name: str
    slug: str
    read: Callable[[], tuple[Tensor, Tensor]]
    path: Path | None = None


@dataclass(frozen=True)
class ImageList:
    """The images to explain, and what is wrong with the rest.

    Attributes:
        images: Each once, in the given order.
        problems: A sentence for each file that is not there and each folder without an image.
        are_photographs: Whether the network's preprocessing is used.
    """

    images: list[ListedImage]
    problems: list[str] = field(default_factory=list)
    are_photographs: bool = True


def image_list(
    network: LoadedNetwork, images: Any, on_error: Literal["raise", "warn"], left_out: Path | None
) -> ImageList:
    """The images that a user means.

    Args:
        network: Says how photographs are prepared.
        images: As `explain` takes them.
        on_error: Whether a file that is not there is an error, or one of the problems.
        left_out: A folder that is not looked into.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a folder holds no image, or a tensor has another shape.
        TypeError: If the images are none of these.
    """
    if isinstance(images, Tensor):
        return _of_tensor(network, images)
    given = [images] if isinstance(images, (str, Path, Image.Image)) else images
    if not isinstance(given, Iterable):
        raise TypeError(f"`images`: expected paths, PIL images or a tensor, got {type(images).__name__}")
    given = list(given)
    for each in given:
        if not isinstance(each, (str, Path, Image.Image)):
            raise TypeError(f"`images`: expected paths, PIL images or a tensor, got a {type(each).__name__} among them")
    paths = [Path(each) for each in given if not isinstance(each, Image.Image)]
    files, problems = photograph_paths(paths, left_out)
    if problems and on_error == "raise":
        raise FileNotFoundError(f"`images`: {problems[0]}")
    listed = [_of_file(network, path, slug) for path, slug in zip(files, unique_names(files), strict=True)]
    pictures = [each for each in given if isinstance(each, Image.Image)]
    listed += [_of_picture(network, picture, number) for number, picture in enumerate(pictures)]
    return ImageList(listed, problems)


def _of_tensor(network: LoadedNetwork, images: Tensor) -> ImageList:
    if images.dim() not in (3, 4) or images.shape[-3] != 3 or not images.is_floating_point():
        raise ValueError(
            "`images`: expected a floating point tensor, (N, 3, H, W) or (3, H, W), normalized as the network expects, "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    batch = images.unsqueeze(0) if images.dim() == 3 else images

    def listed(number: int) -> ListedImage:
        image = batch[number : number + 1].detach().to(network.device)
        is_known = not network.preprocessing.assumed and not network.preprocessing.remarks
        picture = network.preprocessing.picture(image[0]) if is_known else denormalized(image.cpu())[0]
        return ListedImage(f"image {number}", f"image_{number}", lambda: (image, picture))

    return ImageList([listed(number) for number in range(len(batch))], are_photographs=False)


def _prepared(network: LoadedNetwork, photograph: Image.Image) -> tuple[Tensor, Tensor]:
    image = network.input(photograph)
    return image, network.preprocessing.picture(image[0])


def _of_file(network: LoadedNetwork, path: Path, slug: str) -> ListedImage:
    return ListedImage(path.name, slug, lambda: _prepared(network, upright_photograph(path)), path)


def _of_picture(network: LoadedNetwork, picture: Image.Image, number: int) -> ListedImage:
    return ListedImage(f"image {number}", f"image_{number}", lambda: _prepared(network, upright_picture(picture)))


def upright_picture(picture: Image.Image) -> Image.Image:
    """A picture in memory as RGB, turned the way that its EXIF orientation says."""
    return ImageOps.exif_transpose(picture).convert("RGB")
