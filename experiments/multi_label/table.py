"""Gathers the scores of the runs of this experiment, and says how well the map of each digit finds that digit.

    python -m experiments.multi_label.table

A row of results.csv whose run is not here stays as it is. Then the table of this folder's README is written, and, if
the runs of seed 0 are here, maps.png: test scenes with the map of each digit, evenly spaced and not chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from camtrain import load_data
from camtrain.batch import evenly_spaced
from camtrain.cams import GradCAM, normalize
from camtrain.methods import resized_maps
from camtrain.metrics import energy_in_region
from camtrain.pictures import Panel, Tile, contact_sheet, map_tile, write_png
from camtrain.report.points import Estimate
from camtrain.report.tables import percent
from experiments.multi_label.two_digits import TwoDigits
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows
from experiments.trained_runs import newest_version, runs_by_seed, scores_of, settings_of, trained_network

HERE = Path(__file__).parent
STUDY = Path("runs/multi_label")
SETTINGS = settings_of(HERE / "run.sh")
COLUMNS = {
    "test/mean_average_precision": "mAP, %",
    "test/f1": "F1, %",
    "test/energy_pointing_game/grad_cam": "energy on both digits, %",
    "own": "energy on the map's own digit, %",
    "other": "energy on the other digit, %",
    "test/localization_iou_25/grad_cam": "IoU, %",
    "test/flat_maps/grad_cam": "flat maps, %",
}
FIELDS = ("setting", "seed", *COLUMNS)
SCENES = 6
LARGEST_FILE = 400_000  # bytes


def main() -> None:
    """Gather, write, draw."""
    rows = {(row["setting"], row["seed"]): row for row in read_rows(HERE / "results.csv", FIELDS)}
    for setting in SETTINGS:
        for seed, run in runs_by_seed(STUDY, setting).items():
            scores = scores_of(run)
            if scores is not None:
                found = {**scores, **energies(trained_network(run), data_of(run))}
                known = {name: f"{value:.6g}" for name in COLUMNS if (value := found.get(name)) is not None}
                rows[setting, str(seed)] = {"setting": setting, "seed": str(seed), **known}
    order = sorted(rows, key=lambda key: (SETTINGS.index(key[0]), int(key[1])))
    write_rows(HERE / "results.csv", FIELDS, [rows[key] for key in order])
    put_texts(readme_texts(), HERE / "README.md")
    networks = {setting: runs[0] for setting in SETTINGS if 0 in (runs := runs_by_seed(STUDY, setting))}
    if set(networks) == set(SETTINGS):
        draw({setting: trained_network(run) for setting, run in networks.items()}, data_of(networks["plain"]))


def data_of(run: Path) -> TwoDigits:
    """The data module of a run."""
    path = newest_version(run, "config.yaml")
    assert path is not None
    return cast("TwoDigits", load_data(path))


def energies(network: nn.Module, data: TwoDigits) -> dict[str, float]:
    """The share of the energy of the map of each digit on that digit, and on the other one, over all test scenes."""
    own, other = [], []
    for image, masks in zip(scenes(data), data.own_masks("test"), strict=True):
        maps = maps_of(network, image, list(masks))
        for place, label in enumerate(masks):
            rest = [masks[each] for each in masks if each != label]
            own.append(energy_in_region(maps[place, None], masks[label][None]))
            other += [energy_in_region(maps[place, None], mask[None]) for mask in rest]
    return {"own": float(torch.cat(own).nanmean()), "other": float(torch.cat(other).nanmean())}


def scenes(data: TwoDigits) -> Tensor:
    """All test scenes, (N, 3, H, W), normalized."""
    return torch.cat([batch.images for batch in data.test_dataloader()])


def maps_of(network: nn.Module, image: Tensor, labels: Sequence[int]) -> Tensor:
    """Grad-CAM of one scene for some classes, (len(labels), H, W), without negative values."""
    images = image.expand(len(labels), *image.shape)
    return resized_maps(GradCAM(network), images, torch.tensor(labels)).detach().relu()


def readme_texts() -> dict[str, str]:
    """Make the table: mean ± standard deviation over the seeds of each setting."""
    rows = read_rows(HERE / "results.csv", FIELDS)
    lines = []
    for setting in SETTINGS:
        of_setting = [row for row in rows if row["setting"] == setting]
        cells = [_cell([float(row[name]) for row in of_setting if row.get(name)]) for name in COLUMNS]
        lines.append([setting, str(len(of_setting)), *cells])
    table = markdown_table(["", "seeds", *COLUMNS.values()], lines)
    return {"results of experiments/multi_label": table}


def _cell(values: Sequence[float]) -> str:
    return percent(Estimate.of(values)) if values else "not measured"


def draw(networks: Mapping[str, nn.Module], data: TwoDigits) -> None:
    """Draw the map of each digit of a few test scenes, for each network."""
    images, masks = scenes(data), data.own_masks("test")
    rows = []
    for index in evenly_spaced(len(images), SCENES):
        picture = data.denormalize(images[index : index + 1])[0]
        for label, mask in masks[index].items():
            tiles = [Tile("image", picture, f"map of the {data.class_names[label]}")]
            for name, network in networks.items():
                raw = maps_of(network, images[index], [label])
                with torch.no_grad():
                    probability = float(network(images[index : index + 1]).sigmoid()[0, label])
                share = float(energy_in_region(raw, mask[None]))
                title = f"{100 * probability:.0f} % sure, {100 * share:.0f} % on it"
                tiles.append(map_tile(name, picture, normalize(raw)[0], title))
            rows.append(Panel(tiles))
    write_png(contact_sheet(rows, "Grad-CAM of each digit, seed 0"), HERE / "maps.png", LARGEST_FILE)


if __name__ == "__main__":
    main()
