"""Draws maps.png, the maps of the same test photographs after training with and without a regularizer.

    SETTINGS="plain energy_inside map_outside" SEEDS=0 AGAIN=1 bash experiments/attention_pets/run.sh
    python -m experiments.attention_pets.figure

The photographs are evenly spaced over the test images, not chosen. Above each map stand the breed that the network
predicts, red if it is wrong, and the fraction of the map's energy that lies on the animal. The command prints the mean
of that fraction over all test images, for each network and for a uniform map.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from camtrain.batch import evenly_spaced
from camtrain.cams import GradCAM, normalize
from camtrain.data import OxfordPet
from camtrain.methods import resized_maps
from camtrain.metrics import energy_in_region
from camtrain.pictures import Panel, Tile, contact_sheet, map_tile, write_png
from experiments.trained_runs import trained_network

HERE = Path(__file__).parent
STUDY = Path("runs/attention_pets")
SETTINGS = ("plain", "energy_inside", "map_outside")
PHOTOGRAPHS = 6
DIMMED = 0.25  # brightness of the background where the animal is shown
LARGEST_FILE = 400_000  # bytes
RIGHT, WRONG = "black", "#b00020"


def main() -> None:
    """Load, map, print, draw."""
    normalization = (0.5, 0.5, 0.5)
    data = OxfordPet("data", image_size=128, batch_size=50, mean=normalization, std=normalization)
    batches = list(data.test_dataloader())
    images, labels = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("images", "labels"))
    animals = torch.cat([batch.masks for batch in batches])
    annotated = animals.flatten(1).any(dim=1)
    areas = animals[annotated].flatten(1).float().mean(dim=1)
    print(f"energy on the animal of {len(areas)} test images: uniform map {100 * areas.mean():.1f} %")
    maps: dict[str, Tensor] = {}
    said: dict[str, Tensor] = {}
    for name in SETTINGS:
        found = trained_network(STUDY / f"{name}_seed0")
        cam = GradCAM(found)
        maps[name] = torch.cat([resized_maps(cam, batch.images, batch.labels) for batch in batches])
        with torch.no_grad():
            said[name] = torch.cat([found(batch.images).argmax(dim=1) for batch in batches])
        print(f"{name}: {100 * energy_in_region(maps[name][annotated], animals[annotated]).mean():.1f} %")
    rows = []
    for index in evenly_spaced(len(images), PHOTOGRAPHS):
        picture, animal = data.denormalize(images[index : index + 1])[0], animals[index]
        shown = torch.where(animal, picture, DIMMED * picture)
        tiles = [Tile("image", picture, data.class_names[labels[index]]), Tile("animal", shown)]
        for name in SETTINGS:
            energy = energy_in_region(maps[name][index, None], animal[None]).item()
            title = f"{data.class_names[said[name][index]]}, {100 * energy:.0f} %"
            color = RIGHT if said[name][index] == labels[index] else WRONG
            tiles.append(map_tile(name, picture, normalize(maps[name][index]), title, color=color))
        rows.append(Panel(tiles))
    write_png(contact_sheet(rows, "Grad-CAM of the label, seed 0"), HERE / "maps.png", LARGEST_FILE)


if __name__ == "__main__":
    main()
