"""Every method on the same three photographs, in one picture; see README.md.

    python -m experiments.cam_family.cam_family [--checkpoint CKPT] [--photos FILE FILE FILE]

Needs a checkpoint of experiments/first_light and the photographs of Oxford-IIIT Pet, unless it is given others.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from camtrain.cli.explainer import ExplainedPhoto, Explainer
from camtrain.cli.preprocessing import Override
from camtrain.cli.question import Questions
from camtrain.cli.ready_network import ready_network
from camtrain.methods import TITLES, method_named, methods_for
from camtrain.pictures import Panel, Tile, contact_sheet, write_png

HERE = Path(__file__).parent
METHODS_IN_A_ROW = 6
LARGEST_FILE = 500_000  # bytes
PETS = Path("data/oxford-iiit-pet/images")
PHOTOS = [PETS / name for name in ("Abyssinian_56.jpg", "Bengal_99.jpg", "american_bulldog_31.jpg")]
CHECKPOINT = Path("runs/first_light/pets_resnet18_seed0/version_0/checkpoints/last.ckpt")


def main() -> None:
    """Explain and draw."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    ready = ready_network(settings.checkpoint, override=Override(size=settings.size))
    options = {
        "num_samples": settings.samples,
        "seed": settings.seed,
        "num_channels": settings.channels,
        "progress": True,
    }
    methods = {
        name: method_named(name, ready.network, settings.target_layer, **options) for name in methods_for(ready.network)
    }
    explainer = Explainer(ready, methods, Questions())
    with tqdm(total=len(settings.photos) * len(methods), desc="cam_family") as bar:
        photos = [explainer.explained(path, bar) for path in settings.photos]
    for name, reason in explainer.reasons.items():
        raise SystemExit(f"{TITLES[name]} made no map: {reason}")
    title = f"{len(methods)} methods on the same photographs: maps at a layer, then attributions at the input"
    write_png(contact_sheet(panels(photos), title, settings.tile), settings.out, LARGEST_FILE)
    print(f"{settings.out}: {settings.out.stat().st_size / 1000:.0f} kB")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="of a run; the rest of it beside it")
    parser.add_argument("--photos", nargs="+", type=Path, default=PHOTOS)
    parser.add_argument("--target-layer", help="default: the last one with more than one pixel")
    parser.add_argument("--size", type=int, default=160, help="pixels of the square that the network gets")
    parser.add_argument("--tile", type=int, default=112, help="pixels of the square that is shown")
    parser.add_argument("--samples", type=int, default=8, help="noisy copies, for the methods that draw them")
    parser.add_argument("--channels", type=int, help="the strongest, for the methods that take each by itself")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of threads on the CPU")
    parser.add_argument("--out", type=Path, default=HERE / "cam_family.png")
    return parser.parse_args()


def panels(photos: list[ExplainedPhoto]) -> list[Panel]:
    """Blocks of rows: in each, a row for each photograph, with some of the methods."""
    names = list(photos[0].tiles)
    blocks = [names[start : start + METHODS_IN_A_ROW] for start in range(0, len(names), METHODS_IN_A_ROW)]
    return [Panel([photo_tile(photo), *method_tiles(photo, block)]) for block in blocks for photo in photos]


def photo_tile(photo: ExplainedPhoto) -> Tile:
    """The photograph with what the network says of it."""
    (question,) = photo.questions
    return Tile("", photo.picture, question.title)


def method_tiles(photo: ExplainedPhoto, names: list[str]) -> list[Tile]:
    """Of some methods; the name of the method is above the tile, since the rows of a column are of several."""
    return [replace(photo.tiles[name][0], kind="", title=TITLES[name]) for name in names]


if __name__ == "__main__":
    main()
