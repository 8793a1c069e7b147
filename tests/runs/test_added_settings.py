"""Settings that came later leave the configuration of a study as it was."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace

import pytest
import yaml

from camtrain import Classifier
from camtrain.data import ImageFolderData
from camtrain.networks import CIFARResNet
from camtrain.runs import ConfigResolver
from camtrain.runs.added_settings import without_added_settings
from camtrain.study.trial import Trial
from tests.data.raster_files import make_tiles

NETWORK, DATA = "model.network.init_args", "data.init_args"


@pytest.fixture(scope="module")
def resolver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    make_tiles(folder / "tiles", per_class=1)
    network = {"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 8, "num_classes": 2}}
    branch = {"backbone": network, "num_classes": 2, "image_size": 12}
    config = {
        "model": {"network": {"class_path": "camtrain.networks.AttentionBranch", "init_args": branch}},
        "data": {"class_path": "camtrain.data.ImageFolderData", "init_args": {"root": str(folder / "tiles")}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return ConfigResolver(folder / "config.yaml")


def hash_of(resolver, point):
    return Trial(point, 0, resolver.resolved(point, 0)).hash


def test_defaults_are_no_part_of_the_configuration(resolver):
    settings = resolver.resolved({}, 0)
    backbone = settings["model"]["network"]["init_args"]["backbone"]["init_args"]
    assert backbone == {"depth": 8, "num_classes": 2, "width": 16, "stem_stride": 1}
    assert not set(settings["data"]["init_args"]) & set(ImageFolderData.added_settings)


def test_only_another_value_is_another_run(resolver):
    backbone = "model.network.init_args.backbone.init_args.in_channels"
    stated = hash_of(resolver, {backbone: 3, f"{DATA}.channels": None, f"{DATA}.channels_first": False})
    assert stated == hash_of(resolver, {})
    assert hash_of(resolver, {backbone: 4}) != stated


def test_a_setting_of_the_classifier_stands_without_its_class():
    model = {"network": "resnet18", "head_learning_rate": None}
    assert without_added_settings({"model": model}) == {"model": {"network": "resnet18"}}
    assert without_added_settings({"model": model | {"head_learning_rate": 0.1}})["model"]["head_learning_rate"] == 0.1


def test_the_defaults_are_those_of_the_constructors():
    for kind in (Classifier, CIFARResNet, ImageFolderData):
        parameters = inspect.signature(kind).parameters
        assert {name: parameters[name].default for name in kind.added_settings} == kind.added_settings


class Narrow(CIFARResNet):
    added_settings = {"shape": "round"}  # noqa: RUF012


def test_settings_of_base_classes_count():
    settings = {"class_path": f"{__name__}.Narrow", "init_args": {"shape": "round", "in_channels": 3, "width": 4}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, __name__, SimpleNamespace(Narrow=Narrow))
        assert without_added_settings(settings)["init_args"] == {"width": 4}


@pytest.mark.parametrize(
    "settings",
    [None, 1, [{"a": 1}], {"class_path": "no.such.Class", "init_args": {"in_channels": 3}}, {"class_path": "bare"}],
)
def test_what_is_no_class_with_added_settings_is_unchanged(settings):
    assert without_added_settings(settings) == settings
