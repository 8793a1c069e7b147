"""What the README says can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import camtrain
from camtrain.cams import GradCAM
from camtrain.data import DecoyDigits
from camtrain.evaluation import METRICS
from camtrain.networks import LoadedNetwork, build_network
from camtrain.networks.preprocessing import plain_preprocessing

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


LISTINGS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def listing_with(words):
    (found,) = (listing for listing in LISTINGS if words in listing)
    return found


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("resnet18", 10, stem="small").eval()


def test_the_listing_of_methods(network):
    names = {"network": network, "images": torch.rand(2, 3, 32, 32), "labels": torch.tensor([0, 4])}
    exec(listing_with("LayerCAM"), names)
    assert names["network"].conv1.weight.grad.any()
    assert torch.equal(names["cam"](names["images"], 3), GradCAM(names["network"], "layer4")(names["images"], 3))


def test_the_listing_of_photographs(network, tmp_path, monkeypatch):
    """With a network in memory and a photograph made on the spot."""
    (tmp_path / "photos").mkdir()
    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr("camtrain.explanation.explanation.show_pixels", lambda pixels: shown.append(pixels.shape))
    loaded = LoadedNetwork(network, "it", plain_preprocessing(size=32))
    monkeypatch.setattr(camtrain, "load_network", lambda **_options: loaded)
    names = {"camtrain": camtrain}
    exec(listing_with("explanation.show"), names)
    assert len(shown) == 1
    assert names["picture"].shape == (3, 32, 32)


def test_the_listing_of_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {
        "network": build_network("cifar_resnet8", 10),
        "plain": build_network("cifar_resnet8", 10),
        "data": DecoyDigits(),
        "images": torch.rand(2, 3, 32, 32),
        "boxes": [torch.tensor([[3.0, 4.0, 17.0, 25.0]])] * 2,
        "probabilities": torch.tensor([0.8, 0.5]),
        "masked_probabilities": torch.tensor([0.2, 0.9]),
    }
    exec(listing_with("AverageDrop"), names)
    assert float(names["drop"].compute()) == pytest.approx(0.375)
    assert 0 < float(names["iou"].compute()) < 1
    assert "LayerCAM" in capsys.readouterr().out
    assert Path("evaluated/scores.csv").is_file()


def test_the_page_of_scores_has_each_of_them_with_its_direction():
    page = (ROOT / "camtrain" / "metrics" / "README.md").read_text(encoding="utf-8")
    for name, metric in METRICS.items():
        # One row for the three thresholds of the IoU.
        start = name.removesuffix("_25").removesuffix("_50").removesuffix("_0") if "iou" in name else f"{name}`"
        (row,) = (line for line in page.splitlines() if f"| [`{start}" in line)
        assert f"| {'↑' if metric.higher_is_better else '↓'} |" in row


def test_the_listing_of_a_loop_trains_a_network_of_ones_own():
    assert len(LISTINGS) == 4
    listing = listing_with("optimizer")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip
    # Two colors to tell apart.
    labels = torch.arange(16) % 2
    images = torch.randn(16, 3, 8, 8) + torch.stack([1.0 - 2 * labels] * 3, 1)[..., None, None]
    names = {
        "network": network,
        "loader": [(images, labels)] * 30,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.2),
    }
    exec(listing, names)
    assert names["step"].classification < 0.3
    assert 0 <= names["step"].regularization <= 2
    assert names["maps"].shape == (16, 8, 8)
    assert names["scores"].score("grad_cam", "average_drop").num_images == 16


def test_it_is_short():
    assert len(README.splitlines()) < 250


PAGES = [ROOT / "README.md", *sorted(ROOT.glob(".github/*.md")), *sorted(ROOT.glob("experiments/*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
