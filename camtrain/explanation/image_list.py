"""The images to explain, from files, PIL images or a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_dtype_image

from camtrain.batch import check_images
from camtrain.data.image_file import rgb_picture
from camtrain.data.pixel_limit import check_pixels, pixel_limit
from camtrain.data.sixteen_bits import check_eight_bits
from camtrain.data.stored_image import stored_image, stored_picture
from camtrain.data.upright import opaque_rgb, turn_to_do, turned
from camtrain.explanation.known_objects import KnownObject, KnownObjects
from camtrain.explanation.photo_view import PhotoView
from camtrain.explanation.photographs import photograph_paths, unique_names
from camtrain.networks.input_channels import channels_remark
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.networks.seen_part import Part, seen_part
from camtrain.pictures import ObjectOutline, denormalized, shown_colors

_OF_PHOTOGRAPHS = 3  # channels


@dataclass(frozen=True)
class ListedImage:
    """An image that is to be explained.

    Attributes:
        name: The name of its file, or its number.
        slug: What the names of its files begin with; no other image has the same.
        read: Reads it.
        path: Its file; `None` for an image that was given as pixels.
    """

    name: str
    slug: str
    read: Callable[[], ReadImage]
    path: Path | None = None


@dataclass(frozen=True)
class ReadImage:
    """An image that was read.

    Attributes:
        image: As the network gets it, (1, C, H, W).
        picture: What the network sees of it, (3, H, W) RGB in [0, 1].
        view: What is shown under its maps.
        label: The name of its class; `None` where it is not known.
    """

    image: Tensor
    picture: Tensor
    view: PhotoView
    label: str | None = None


@dataclass(frozen=True)
class ImageList:
    """The images to explain, and what is wrong with the rest.

    Attributes:
        images: Each once, in the given order.
        problems: An error for each file that is not there and each folder without an image.
        are_photographs: True if the network's preprocessing is used.
    """

    images: list[ListedImage]
    problems: list[ValueError | FileNotFoundError] = field(default_factory=list)
    are_photographs: bool = True


def image_list(
    network: LoadedNetwork, images: Any, left_out: Path | None, objects: KnownObjects | None = None
) -> ImageList:
    """The images that a user means.

    Args:
        network: The network, which says how photographs are prepared.
        images: The images, as `explain` takes them.
        left_out: A folder that is not looked into.
        objects: What is known of image files.

    Raises:
        ValueError: If there is no image, a tensor has another shape, or `left_out` is one of the folders.
        TypeError: If the images are none of these.
    """
    if isinstance(images, Tensor):
        return _of_tensor(network, images)
    given = [images] if isinstance(images, (str, Path, Image.Image)) else images
    if not isinstance(given, Iterable):
        raise TypeError(f"`images`: expected paths, PIL images or a tensor, got {type(images).__name__}")
    given = list(given)
    if not given:
        raise ValueError("`images`: expected at least one image, got none")
    for each in given:
        if not isinstance(each, (str, Path, Image.Image)):
            raise TypeError(f"`images`: expected paths, PIL images or a tensor, got a {type(each).__name__} among them")
    return _of_photographs(_Reader(network, objects or KnownObjects()), given, left_out)


def _of_photographs(reader: _Reader, given: list[str | Path | Image.Image], left_out: Path | None) -> ImageList:
    """Files and pictures in the given order, pictures numbered by their place."""
    found: list[Path | ListedImage] = []
    problems: list[ValueError | FileNotFoundError] = []
    known: set[Path] = set()
    for number, each in enumerate(given):
        if isinstance(each, Image.Image):
            found.append(_of_picture(reader, each, number))
            continue
        files, wrong = photograph_paths([Path(each)], left_out, arrays=reader.reads_arrays)
        problems += wrong
        for file in files:
            if file.resolve() not in known:
                known.add(file.resolve())
                found.append(file)
    paths = [each for each in found if isinstance(each, Path)]
    taken = [each.slug for each in found if isinstance(each, ListedImage)]
    slugs = dict(zip(paths, unique_names(paths, taken), strict=True))
    listed = [each if isinstance(each, ListedImage) else _of_file(reader, each, slugs[each]) for each in found]
    return ImageList(listed, problems)


def _of_tensor(network: LoadedNetwork, images: Tensor) -> ImageList:
    preprocessing = network.preprocessing
    is_known = not preprocessing.assumed and not preprocessing.remarks
    batch = images.unsqueeze(0) if images.dim() == 3 else images
    if batch.dim() != 4 or not _have_channels(network, batch, is_known) or not images.is_floating_point():
        channels = preprocessing.channels
        raise ValueError(
            f"`images`: expected a floating point tensor, (N, {channels}, H, W) or ({channels}, H, W), normalized as "
            f"the network expects, got {images.dtype} of shape {tuple(images.shape)}"
        )
    check_images(batch, at_least_one=True)

    def read(number: int) -> ReadImage:
        image = batch[number : number + 1].detach()
        picture = preprocessing.picture(image[0]) if is_known else denormalized(image.float().cpu())[0]
        return ReadImage(image.to(network.device), picture, PhotoView.of_input(picture))

    listed = [
        ListedImage(f"image {number}", f"image_{number}", lambda number=number: read(number))  # type: ignore[misc]
        for number in range(len(batch))
    ]
    return ImageList(listed, are_photographs=False)


def _have_channels(network: LoadedNetwork, batch: Tensor, is_known: bool) -> bool:
    """Whether images (N, C, H, W) have the channels of the network, as far as these are known."""
    if is_known:
        return batch.shape[1] == network.preprocessing.channels
    # Of a network that takes photographs in its own way, convolutions say something else.
    return batch.shape[1] == _OF_PHOTOGRAPHS or not channels_remark(network.network, batch)


class _Reader:
    """Reads photographs for a network.

    Args:
        network: The network, which says how photographs are prepared.
        objects: What is known of image files.
    """

    def __init__(self, network: LoadedNetwork, objects: KnownObjects) -> None:
        self._network, self._objects = network, objects
        self._parts: dict[tuple[int, int], Part | None] = {}

    @property
    def reads_arrays(self) -> bool:
        """Whether arrays are images."""
        return self._network.preprocessing.pixel_format is not None

    def file(self, path: Path) -> ReadImage:
        """A photograph from a file, or all its channels, with what is known of its objects."""
        pixel_format = self._network.preprocessing.pixel_format
        if pixel_format is None:
            photograph: Image.Image | Tensor = rgb_picture(path)
        else:
            photograph = stored_image(path, pixel_format).as_subclass(Tensor)
        known = self._objects.of(path, _height_and_width(photograph))
        read = self._read(photograph)
        outline = self._outline(_height_and_width(photograph), known)
        return replace(read, view=replace(read.view, outline=outline), label=known.label)

    def picture(self, picture: Image.Image) -> ReadImage:
        """A picture in memory."""
        pixel_format = self._network.preprocessing.pixel_format
        if pixel_format is None:
            return self._read(upright_picture(picture))
        try:
            check_pixels(*picture.size, pixel_limit())
            return self._read(stored_picture(picture, pixel_format).as_subclass(Tensor))
        except ValueError as error:
            raise ValueError(f"`images`: a picture cannot be explained: {error}") from error

    def _read(self, photograph: Image.Image | Tensor) -> ReadImage:
        """An upright photograph, or the channels of an image, (C, H, W)."""
        image = self._network.input(photograph)
        preprocessing = self._network.preprocessing
        picture = preprocessing.picture(image[0])
        height, width = size = _height_and_width(photograph)
        if size not in self._parts:
            self._parts[size] = seen_part(preprocessing, width, height)
        part = self._parts[size]
        if part is None:  # it cannot be told where the map belongs
            return ReadImage(image, picture, PhotoView.of_input(picture))
        stored = photograph if isinstance(photograph, Tensor) else pil_to_tensor(photograph)
        pixels = to_dtype_image(stored, torch.float32, scale=True).clamp(0, 1)
        shown = shown_colors(pixels, preprocessing.shown_channels)
        return ReadImage(image, picture, PhotoView.of_photograph(shown, part))

    def _outline(self, size: tuple[int, int], known: KnownObject) -> ObjectOutline | None:
        """Boxes and mask of a photograph, by its height and width; `None` where it is not known how it was cut."""
        if (known.boxes is None and known.mask is None) or self._parts[size] is None:
            return None
        return ObjectOutline.of(torch.empty(3, *size), known.boxes, known.mask)


def _of_file(reader: _Reader, path: Path, slug: str) -> ListedImage:
    return ListedImage(path.name, slug, lambda: reader.file(path), path)


def _of_picture(reader: _Reader, picture: Image.Image, number: int) -> ListedImage:
    return ListedImage(f"image {number}", f"image_{number}", lambda: reader.picture(picture))


def _height_and_width(photograph: Image.Image | Tensor) -> tuple[int, int]:
    if isinstance(photograph, Tensor):
        return int(photograph.shape[-2]), int(photograph.shape[-1])
    return photograph.height, photograph.width


def upright_picture(picture: Image.Image) -> Image.Image:
    """A picture in memory as a file of it would be read: RGB, turned as its EXIF orientation says, on white.

    Raises:
        ValueError: If it has more pixels than `camtrain.data.pixel_limit` allows, or more than 8 bits per channel, of
            which Pillow would drop the lower ones, or saturate to white.
    """
    try:
        check_pixels(*picture.size, pixel_limit())
        check_eight_bits(picture)
    except ValueError as error:
        raise ValueError(f"`images`: a picture cannot be explained: {error}") from error
    if picture.mode.startswith(("I", "F")):
        raise ValueError(
            f"`images`: a picture of mode {picture.mode!r} has more than 8 bits per channel; convert it to 8 bits first"
        )
    orientation = turn_to_do(picture)
    picture.load()
    return turned(opaque_rgb(picture), orientation)
