"""Draws shown.png: how much of its class a network recognizes in what its map shows of an image.

    python -m experiments.league.shown [--seed 0]

The image times the map of Grad-CAM, as average drop has it, with plain training and with MapFaithfulness. The images
are not chosen by how they look: they are the first test image of each class that both networks recognize. The command
also prints the mean of both probabilities over all images that both recognize, and what another image's map shows.
Networks that the league has left in runs/ are taken, and others are trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from camtrain import load_data
from camtrain.methods import method_named, normalized_maps
from camtrain.pictures import Panel, Tile, contact_sheet, write_png
from experiments.league.boards import BOARDS, TRAINED
from experiments.league.settings import PLAIN, regularized
from experiments.named_settings import Setting, trained
from experiments.trained_runs import trained_network

HERE = Path(__file__).parent
BOARD = BOARDS["resnet20"]
CONTROL = f"shuffled_{TRAINED}"
SETTINGS = ((PLAIN, 0.0), (Setting("map_faithfulness", regularized("MapFaithfulness")), 0.5))
TITLE = """rows: the image; what the map shows of it, plain training; the same, MapFaithfulness
above: probability of the class in the image → in what is shown"""


def main(seed: int) -> None:
    """Find the images, make the maps, print, draw."""
    runs = {setting: run_of(setting, weight, seed) for setting, weight in SETTINGS}
    networks = {setting: trained_network(run) for setting, run in runs.items()}
    data = load_data(runs[PLAIN])
    data.setup("test")
    batches = list(data.test_dataloader())
    images, labels = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("images", "labels"))
    recognized = torch.stack([said(network, images).argmax(dim=1) == labels for network in networks.values()]).all(0)
    images, labels = images[recognized], labels[recognized]
    first = {name: int((labels == label).nonzero()[0]) for label, name in enumerate(data.class_names) if name}
    panels = [Panel([Tile(name, data.denormalize(images[place])) for name, place in first.items()])]
    for setting, network in networks.items():
        shown, control = (images * maps_of(name, network, images, labels).unsqueeze(1) for name in (TRAINED, CONTROL))
        before, after, of_other = (said(network, each)[range(len(labels)), labels] for each in (images, shown, control))
        kept = f"{percent(before.mean(), 1)} → {percent(after.mean(), 1)}"
        print(f"{setting}: {kept}, with another image's map {percent(of_other.mean(), 1)}, {len(labels)} images")
        titles = [f"{percent(before[place])} → {percent(after[place])}" for place in first.values()]
        pictures = [data.denormalize(shown[place]) for place in first.values()]
        panels.append(Panel([Tile(*each) for each in zip(first, pictures, titles, strict=True)]))
    write_png(contact_sheet(panels, TITLE), HERE / "shown.png")


def run_of(setting: Setting, weight: float, seed: int) -> Path:
    """The folder of a training, which is made if it is not in runs/."""
    folder = BOARD.runs / BOARD.name / setting.name / f"weight_{weight:g}"
    for row in folder.glob(f"trials/regularizer_weight=*,seed={seed}-*/row.json"):
        return row.parent
    return trained(BOARD, setting, weight, seed, BOARD.runs / BOARD.name / "shown" / f"{setting.name}_{seed}")


def maps_of(method: str, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The labels' maps by a method, (N, H, W) in [0, 1]."""
    return normalized_maps(method_named(method, network), images, labels)


@torch.no_grad()
def said(network: nn.Module, images: Tensor) -> Tensor:
    """The probabilities of the classes, (N, K)."""
    return network(images).softmax(dim=1)


def percent(fraction: Tensor, digits: int = 0) -> str:
    """A fraction in percent."""
    return f"{100 * float(fraction):.{digits}f} %"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args().seed)
