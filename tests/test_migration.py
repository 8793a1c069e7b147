"""The page "Your line there, your line here": each pair of listings runs, and both make the same maps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camtrain.cams import normalize, resize

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text(encoding="utf-8")
PREPARATION = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
PAIR = re.compile(
    r"^### (\d+)\. (.*?)$.*?```python\n(.*?)```.*?camtrain:\n\n```python\n(.*?)```\s+They agree to ([\d.e-]+)\.$",
    re.DOTALL | re.MULTILINE,
)
PAIRS = PAIR.findall(PAGE)


class Segmenter(nn.Module):
    """Classifies pixels; a dictionary."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU()), nn.Conv2d(5, 3, 1)

    def forward(self, images):
        return {"out": self.head(self.body(images))}


def names() -> dict[str, object]:
    """What the listings start from: what the page says, and what their titles leave out."""
    found: dict[str, object] = {}
    exec(PREPARATION, found)
    yes = torch.rand(3, 16, 16) > 0.5
    found |= {
        "segmenter": Segmenter().eval(),
        "masks": yes[:, ::2, ::2],
        "plain_network": nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 4),
        ).eval(),
        "baselines": torch.rand(5, 3, 16, 16),
        "segments": (torch.arange(256).view(1, 1, 16, 16) // 32).expand(1, 3, 16, 16),
        "photograph": torch.rand(3, 16, 16),
        "map_of_photograph": torch.linspace(0, 1, 256).view(16, 16),
        "large_images": torch.rand(3, 3, 64, 64),
        "transformer": None,
    }  # fmt: skip
    return found


@pytest.mark.filterwarnings("ignore:Setting backward hooks", "ignore:Input Tensor 0 did not already require")
@pytest.mark.parametrize(("number", "title", "theirs", "ours", "tolerance"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_both_make_the_same_maps(number, title, theirs, ours, tolerance):
    torch.manual_seed(1)
    given = names()
    if "transformer" in theirs:
        import timm

        given["transformer"] = timm.create_model(
            "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=2, num_classes=4
        ).eval()
    size = given["large_images" if "large_images" in theirs else "images"].shape[-2:]
    found = []
    for listing in (theirs, ours):
        known = dict(given)
        exec(listing, known)
        found.append(known["maps"])
    compare(*found, size, float(tolerance))


def compare(theirs: object, ours: object, size: tuple[int, int], tolerance: float) -> None:
    theirs, ours = (torch.as_tensor(each).detach().float() for each in (theirs, ours))
    if theirs.shape != ours.shape or theirs.dim() == 3:
        theirs, ours = (normalize(resize(each, size)) for each in (theirs, ours))
    assert isinstance(theirs, Tensor)
    assert theirs.abs().max() > 100 * torch.finfo(torch.float32).tiny
    scale = max(1.0, float(theirs.abs().max()))
    if theirs.dim() == 4:  # attributions are small numbers
        scale = float(theirs.abs().max())
    torch.testing.assert_close(ours, theirs, atol=tolerance * scale, rtol=0)


def test_each_pair_of_the_page_is_run():
    numbers = [int(pair[0]) for pair in PAIRS]
    assert numbers == list(range(1, PAGE.count("\n### ") + 1))
    assert len(numbers) >= 20
    libraries = ("pytorch_grad_cam", "captum", "torchcam")
    assert all(any(f"from {library}" in pair[2] for library in libraries) for pair in PAIRS)
    assert all("camtrain" in pair[3] for pair in PAIRS)


def test_a_difference_is_seen():
    with pytest.raises(AssertionError):
        compare(torch.rand(2, 4, 4), torch.rand(2, 4, 4), (8, 8), 1e-3)
