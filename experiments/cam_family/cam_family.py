"""Draws what every method makes of the same three photographs; see README.md.

    python -m experiments.cam_family.cam_family [--checkpoint CKPT] [--photos FILE FILE FILE]

By default it needs a checkpoint of experiments/first_light and the photographs of Oxford-IIIT Pet.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from camtrain import LoadedNetwork, load_network
from camtrain.attributions import BaseAttribution
from camtrain.gradients import evaluation_mode
from camtrain.methods import TITLES, Method, method_named, methods_for, normalized_maps
from camtrain.pictures import Panel, Tile, class_name, contact_sheet, gradient_tile, map_tile, write_png

HERE = Path(__file__).parent
METHODS_IN_A_ROW = 6
LARGEST_FILE = 500_000  # bytes
PETS = Path("data/oxford-iiit-pet/images")
PHOTOS = [PETS / name for name in ("Abyssinian_56.jpg", "Bengal_99.jpg", "american_bulldog_31.jpg")]
CHECKPOINT = Path("runs/first_light/pets_resnet18_seed0/version_0/checkpoints/last.ckpt")


class ExplainedPhoto(NamedTuple):
    """A photograph with the tiles of all methods, by the method's name."""

    tile: Tile
    of_methods: dict[str, Tile]


def main() -> None:
    """Explain and draw."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    network = load_network(settings.checkpoint, size=settings.size)
    options = {
        "num_samples": settings.samples,
        "seed": settings.seed,
        "num_channels": settings.channels,
        "progress": True,
    }
    methods = {
        name: method_named(name, network.network, settings.target_layer, **options)
        for name in methods_for(network.network)
    }
    with tqdm(total=len(settings.photos) * len(methods), desc="cam_family") as bar:
        photos = [explained(path, network, methods, bar) for path in settings.photos]
    title = f"{len(methods)} methods on the same photographs: maps at a layer, then attributions at the input"
    write_png(contact_sheet(panels(photos), title, settings.tile), settings.out, LARGEST_FILE)
    print(f"{settings.out}: {settings.out.stat().st_size / 1000:.0f} kB")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint in the folder of its run")
    parser.add_argument("--photos", nargs="+", type=Path, default=PHOTOS)
    parser.add_argument("--target-layer", help="layer of the maps; default: the last one with more than one pixel")
    parser.add_argument("--size", type=int, default=160, help="size in pixels of the square that the network gets")
    parser.add_argument("--tile", type=int, default=112, help="size in pixels of the square that is shown")
    parser.add_argument("--samples", type=int, default=8, help="number of noisy copies, for the methods that draw them")
    parser.add_argument(
        "--channels", type=int, help="number of channels, for the methods that run each of them; default: all"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of threads on the CPU")
    parser.add_argument("--out", type=Path, default=HERE / "cam_family.png")
    return parser.parse_args()


def explained(path: Path, network: LoadedNetwork, methods: dict[str, Method], bar: tqdm) -> ExplainedPhoto:
    """Explain the predicted class of a photograph with every method."""
    with Image.open(path) as photograph:
        image = network.input(ImageOps.exif_transpose(photograph).convert("RGB"))
    picture = network.preprocessing.picture(image[0])
    of_methods = {}
    with evaluation_mode(network.network):
        probabilities = network.probabilities(image)
        predicted = int(probabilities.argmax())
        for name, method in methods.items():
            of_methods[name] = method_tile(name, method, image, picture, predicted)
            bar.update()
    said = f"{class_name(network.class_names, predicted)} {float(probabilities[predicted]):.1%}"
    return ExplainedPhoto(Tile("", picture, said), of_methods)


def method_tile(name: str, method: Method, image: Tensor, picture: Tensor, predicted: int) -> Tile:
    """Draw the answer of one method. Its name stands above each tile, since a column shows several methods."""
    if isinstance(method, BaseAttribution):
        return gradient_tile("", method(image, predicted)[0].cpu(), TITLES[name])
    return map_tile("", picture, normalized_maps(method, image, predicted)[0].cpu(), TITLES[name])


def panels(photos: list[ExplainedPhoto]) -> list[Panel]:
    """Arrange blocks of rows: each block has some of the methods, and a row for each photograph."""
    names = list(photos[0].of_methods)
    blocks = [names[start : start + METHODS_IN_A_ROW] for start in range(0, len(names), METHODS_IN_A_ROW)]
    return [Panel([photo.tile, *(photo.of_methods[name] for name in block)]) for block in blocks for photo in photos]


if __name__ == "__main__":
    main()
