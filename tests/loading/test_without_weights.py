"""Descriptions of networks without the weights that their training began with."""

from __future__ import annotations

import copy

import pytest

from camtrain.loading.without_weights import without_weights

BUILDER, BRANCH = "camtrain.networks.build_network", "camtrain.networks.AttentionBranch"


def described(path, **arguments):
    return {"class_path": path, "init_args": arguments}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("resnet18", "resnet18"),
        (None, None),
        ({"class_path": BRANCH}, {"class_path": BRANCH}),
        (
            described(BUILDER, name="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1"),
            described(BUILDER, name="vit_b_16", weights=None, num_classes=5),
        ),
        (
            described(BRANCH, backbone="resnet18", num_classes=5, weights="DEFAULT", stem="small"),
            described(BRANCH, backbone="resnet18", num_classes=5, weights=None, stem="small"),
        ),
        (
            described(BRANCH, backbone=described(BUILDER, name="resnet18", num_classes=7, weights="a.pth")),
            described(BRANCH, backbone=described(BUILDER, name="resnet18", num_classes=7, weights=None)),
        ),
        (
            described(BRANCH, backbone=described(BUILDER, name="resnet18", weights="a.pth"), num_classes=6),
            described(BRANCH, backbone=described(BUILDER, name="resnet18", weights=None, num_classes=6), num_classes=6),
        ),
        (
            described(BRANCH, backbone="vit_b_16", num_classes=5, weights="a.pth"),
            described(BRANCH, backbone="vit_b_16", num_classes=5, weights=None),
        ),
        # What follows needs its weights to be as large as in training, or is of other code.
        *[
            (kept, kept)
            for kept in (
                described(BRANCH, backbone="vit_b_16", num_classes=5, weights="DEFAULT"),
                described(BRANCH, backbone=described(BUILDER, name="vit_b_16", num_classes=5, weights="DEFAULT")),
                described("my_code.Net", backbone="resnet18", num_classes=5, weights="DEFAULT"),
            )
        ],
    ],
)
def test_weights_are_left_out_where_a_checkpoint_has_them(given, expected):
    before = copy.deepcopy(given)
    assert without_weights(given, 5) == expected
    assert given == before
