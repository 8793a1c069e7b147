"""The scenes of two digits of experiments/multi_label."""

from __future__ import annotations

import torch

from experiments.multi_label.two_digits import TwoDigits


def test_each_scene_shows_two_digits_of_other_classes_beside_each_other():
    data = TwoDigits(samples_per_digit=1, batch_size=8)
    scenes, samples, own = data.scenes("val"), data.samples("val"), data.own_masks("val")
    assert sum(len(masks) == 2 for masks in own) > 0.95 * len(samples)
    for place, (sample, masks) in enumerate(zip(samples[:40], own, strict=False)):
        assert sample["label"].nonzero().flatten().tolist() == sorted(masks)
        assert int(scenes.labels[place]) in masks
        covers = torch.stack(list(masks.values())).int().sum(dim=0)
        assert int(covers.max()) == 1
        assert torch.equal(sample["mask"].as_subclass(torch.Tensor), covers == 1)
        assert len(sample["boxes"]) == len(masks)
        # Each digit is there in the picture of the scene that it is from.
        other = data.partners("val")[place]
        for scene in [place] if other is None else [place, other]:
            mask = torch.from_numpy(scenes.masks[scene])
            shown = sample["image"].as_subclass(torch.Tensor)[:, mask]
            assert torch.equal(shown, torch.from_numpy(scenes.images[scene]).permute(2, 0, 1)[:, mask])


def test_no_digit_is_in_two_splits():
    data = TwoDigits(samples_per_digit=1)
    assert not set(data.scenes("train").digits.tolist()) & set(data.scenes("test").digits.tolist())
    batch = next(iter(TwoDigits(samples_per_digit=1, batch_size=8).val_dataloader()))
    assert batch.labels.shape == (8, 10)
    assert batch.labels.sum(dim=1).tolist() == [2.0] * 8
