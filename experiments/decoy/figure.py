"""Draws before_and_after.png: test images that the plain network gets wrong, and where both networks look.

    python -m experiments.decoy.figure [--before RUN] [--after RUN] [--picture FILE] [--method NAME] ...

The plain network gets these test images wrong, the other network gets them right. Among all such images they are those
whose plain map has the largest share at the decoy: they are chosen to show it. Most maps show less of it, above all
where the patch is as dark as the image around it. The command prints the quartiles of that share. A run is the folder
that holds `version_0`; by default they are the runs of seed 0 that run.sh made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from camtrain.data import DecoyDigits
from camtrain.methods import TITLES, method_named, normalized_maps
from camtrain.metrics import energy_in_region
from camtrain.pictures import ObjectOutline, Panel, Tile, contact_sheet, map_tile, write_png
from camtrain.regions import box_regions
from experiments.trained_runs import trained_network

HERE = Path(__file__).parent
STUDY = Path("runs/decoy")
IMAGES = 4
QUARTILES = torch.tensor([0.25, 0.5, 0.75])


def main(settings: argparse.Namespace) -> None:
    """Find the images, make the maps, draw."""
    data = DecoyDigits()
    batches = list(data.test_dataloader())
    images = torch.cat([batch.images for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    boxes = [box for batch in batches for box in batch.boxes]
    runs = {"before": settings.before, "after": settings.after}
    networks = {name: trained_network(run, last=True) for name, run in runs.items()}
    with torch.no_grad():
        predicted = {name: each(images).argmax(dim=1) for name, each in networks.items()}
    for name, of_network in predicted.items():
        print(
            f"{name} ({runs[name]}): {100 * (of_network == labels).float().mean():.1f} % of {len(labels)} test images"
        )
    mended = (predicted["before"] != labels) & (predicted["after"] == labels)
    candidates = mended.nonzero().flatten()
    explained = method_named(settings.method, networks["before"], settings.target_layer)
    at_decoy = energy_in_region(normalized_maps(explained, images[candidates]), decoys(data)[candidates])
    low, median, high = (f"{100 * share:.0f} %" for share in at_decoy.quantile(QUARTILES).tolist())
    print(f"at the decoy, in the {len(candidates)} images that only the second network gets right:")
    print(f"{median} of the first one's map (median; quartiles {low} and {high})")
    chosen = candidates[at_decoy.argsort(descending=True)[:IMAGES]]
    pictures = data.denormalize(images[chosen])
    maps = {
        name: normalized_maps(method_named(settings.method, each, settings.target_layer), images[chosen])
        for name, each in networks.items()
    }
    panels = []
    for row, index in enumerate(chosen.tolist()):
        outline = ObjectOutline.of(pictures[row], boxes[index], None)
        tiles = [Tile("image", pictures[row], f"a {labels[index]}", outline=outline)]
        for name in networks:
            title = f"says {predicted[name][index]}"
            tiles.append(map_tile(name, pictures[row], maps[name][row], title))
        panels.append(Panel(tiles))
    title = f"{TITLES[settings.method]} at {settings.target_layer}"
    write_png(contact_sheet(panels, title), settings.picture)
    print(f"before and after: {settings.picture}")


def decoys(data: DecoyDigits) -> torch.Tensor:
    """Mark the decoys of the test images, (N, H, W) bool."""
    scenes = data.scenes("test")
    size = scenes.images.shape[1]
    return box_regions(list(torch.from_numpy(scenes.decoy_boxes).unsqueeze(1)), (size, size))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, default=STUDY / "plain_seed0", help="a run without a regularizer")
    parser.add_argument(
        "--after", type=Path, default=STUDY / "right_for_right_reasons_seed0", help="the run to compare"
    )
    parser.add_argument("--picture", type=Path, default=HERE / "before_and_after.png", help="the file to write")
    parser.add_argument("--method", default="layer_cam")
    parser.add_argument("--target-layer", default="layer1")
    main(parser.parse_args())
