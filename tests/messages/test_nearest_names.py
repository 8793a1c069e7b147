"""What an error message says of a mistyped name."""

from __future__ import annotations

from camtrain.messages import nearest_names

NAMES = ["resnet18", "resnet34", "resnet50", "vgg11", "vgg13", "densenet121", "mobilenet_v2"]


def test_nearest_first():
    assert nearest_names("resnet81", NAMES).startswith("did you mean 'resnet18', ")


def test_at_most_count():
    assert nearest_names("resnet", NAMES, count=2).count("'resnet") == 2


def test_where_none_is_near_the_first_few_and_how_many_more():
    assert nearest_names("???", NAMES) == "there are 'resnet18', 'resnet34', 'resnet50', 'vgg11', 'vgg13' and 2 more"
    assert nearest_names("???", NAMES, count=7).endswith("'mobilenet_v2'")


def test_names_from_an_iterator():
    assert nearest_names("vgg1", iter(NAMES)) == "did you mean 'vgg13', 'vgg11'?"
