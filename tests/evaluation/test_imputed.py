from __future__ import annotations

import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from camtrain.evaluation import imputed as module
from camtrain.evaluation.imputed import imputed, removed_and_imputed
from camtrain.evaluation.removal_path import removal_ranks


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of NumPy, about the library
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_it_is_the_library_s_without_noise(share):
    torch.manual_seed(0)
    image = torch.randn(1, 3, 20, 23)
    for removed in (torch.rand(1, 20, 23) < share, torch.arange(460).view(1, 20, 23) < 460 * share):
        expected = NoisyLinearImputer(noise=0.0)(image[0], (~removed[0]).float())
        torch.testing.assert_close(imputed(image, removed, noise=0.0)[0], expected, rtol=1e-4, atol=1e-5)


def test_removed_pixels_are_weighted_means_of_their_neighbors():
    torch.manual_seed(1)
    image, removed = torch.randn(1, 3, 9, 8, dtype=torch.float64), torch.rand(1, 9, 8) < 0.6
    found = imputed(image, removed, noise=0.0)
    assert torch.equal(found[0][:, ~removed[0]], image[0][:, ~removed[0]])
    for row, column in removed[0].nonzero().tolist():
        total = weights = 0.0
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                inside = 0 <= row + down < 9 and 0 <= column + across < 8
                if inside and (down or across):
                    weight = 1 / 12 if down and across else 1 / 6
                    total = total + weight * found[0, :, row + down, column + across]
                    weights += weight
        torch.testing.assert_close(found[0, :, row, column], total / weights)


def test_wide_images_are_solved_as_narrow_ones(monkeypatch):
    torch.manual_seed(2)
    images, removed = torch.randn(2, 3, 9, 12, dtype=torch.float64), torch.rand(2, 9, 12) < 0.7
    expected = imputed(images, removed)
    monkeypatch.setattr(module, "_WIDEST_BAND", 11)
    torch.testing.assert_close(imputed(images, removed), expected, rtol=0, atol=1e-12)


def test_noise_is_that_of_the_seed_and_the_same_for_all_images():
    image, removed = torch.randn(1, 3, 8, 8), torch.rand(1, 8, 8) < 0.5
    clean = imputed(image, removed, noise=0.0)
    noisy = imputed(image, removed, seed=3)
    assert torch.equal(noisy, imputed(image, removed, seed=3))
    assert not torch.equal(noisy, imputed(image, removed, seed=4))
    assert 0.002 < float((noisy - clean)[0][:, removed[0]].std()) < 0.03
    assert torch.equal(noisy[0][:, ~removed[0]], image[0][:, ~removed[0]])
    both = imputed(torch.cat([torch.randn(1, 3, 8, 8), image]), torch.cat([removed, removed]), seed=3)
    assert torch.equal(both[1:], noisy)


def test_most_and_least_relevant_pixels_are_removed():
    images, cams = torch.randn(2, 3, 6, 5), torch.rand(2, 6, 5)
    ranks = removal_ranks(cams)
    found = list(removed_and_imputed(images, ranks, (0.2, 0.5), seed=1))
    expected = [ranks < 6, ranks < 15, ranks >= 24, ranks >= 15]
    assert len(found) == 4
    for one, removed in zip(found, expected, strict=True):
        assert torch.equal(one, imputed(images, removed, seed=1))
        assert torch.equal((one != images).any(dim=1), removed)


def test_no_images():
    none = torch.zeros(0, 3, 4, 4)
    assert imputed(none, torch.zeros(0, 4, 4, dtype=torch.bool)).shape == none.shape
    found = removed_and_imputed(none, removal_ranks(none[:, 0]), (0.2, 0.5))
    assert [one.shape for one in found] == [none.shape] * 4


def test_half_precision_is_solved_in_full():
    image, removed = torch.rand(1, 3, 8, 8).half(), torch.rand(1, 8, 8) < 0.5
    found = imputed(image, removed, noise=0.0)
    assert found.dtype == torch.float16
    assert torch.equal(found, imputed(image.double(), removed, noise=0.0).half())


def test_bad_input_is_named():
    images = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match="at least one pixel of each image to be left"):
        imputed(images, torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"`removed`: expected bool for each of the images"):
        imputed(images, torch.ones(1, 4, 4))
    assert torch.equal(imputed(images, torch.zeros(1, 4, 4, dtype=torch.bool)), images)
