"""Methods of other libraries, and of one's own, in evaluations, explanations, callbacks and reports."""

from __future__ import annotations

import sys

import captum.attr
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods

import camtrain
from camtrain.attributions import GuidedGradCAM, Occlusion
from camtrain.batch import Batch
from camtrain.callbacks import FaithfulnessScores
from camtrain.cams import GradCAM
from camtrain.controls import UniformMap
from camtrain.interop import is_foreign, method_of
from camtrain.methods import (
    given_methods,
    image_maps,
    is_registered,
    method_description,
    method_names,
    method_title,
    methods_named,
    register_method,
    unregister_method,
)
from camtrain.networks import CIFARResNet
from camtrain.report.points import PointRuns
from camtrain.report.score_columns import score_columns
from camtrain.study import EVALUATED


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).eval()


@pytest.fixture
def batch():
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(6) % 4, boxes=[torch.tensor([[2.0, 2.0, 9.0, 9.0]])] * 6)


HOW = {"metrics": ["average_drop", "insertion_auc", "energy_pointing_game"], "progress": False, "num_panel_maps": 0}


def test_their_maps_are_scored_as_maps_from_anywhere(network, batch, tmp_path):
    """The scores of their maps, made outside and scored as files of maps are, are the same."""
    theirs = {
        "given_grad_cam": GradCAM(network, "layer2"),
        "captum_layer_grad_cam": captum.attr.LayerGradCam(network, network.layer2),
        "captum_saliency": captum.attr.Saliency(network),
        "pytorch_grad_cam_layer_cam": pytorch_grad_cam.LayerCAM(network, [network.layer2]),
        "torchcam_grad_cam_plus_plus": torchcam.methods.GradCAMpp(network, "layer2"),
    }
    scores = camtrain.evaluate(
        network, [batch], ["grad_cam", *theirs.values()], controls="shuffled", folder=tmp_path / "kept",
        write_maps=True, target_layer="layer2", **HOW,
    )  # fmt: skip
    assert list(scores.evaluator.methods) == ["grad_cam", *theirs]
    for metric in HOW["metrics"]:
        assert scores.score("given_grad_cam", metric).value == scores.score("grad_cam", metric).value
    for name in theirs:
        interval = scores.score(name, "average_drop").interval
        assert interval.low < interval.value < interval.high
        assert scores.score(f"shuffled_{name}", "insertion_auc").num_images == 6
        written = sorted((tmp_path / "kept" / "maps" / name).rglob("*.npy"))
        assert len(written) == 6
    with torch.no_grad():
        predictions = network(batch.images).argmax(1)
    direct = theirs["captum_saliency"].attribute(batch.images.clone().requires_grad_(), target=predictions)
    energy = direct.abs().amax(1)
    inside = energy[:, 2:9, 2:9].sum((1, 2)) / energy.sum((1, 2))
    assert scores.score("captum_saliency", "energy_pointing_game").value == pytest.approx(
        inside.mean().item(), abs=1e-5
    )
    assert not is_registered("captum_saliency")  # the names are those of this call


def test_a_folder_knows_given_methods_by_their_settings(network, batch, tmp_path):
    def scored(window, **more):
        method = {"occluded": Occlusion(network, window=window)}
        how = HOW | more
        return camtrain.evaluate(network, [batch], method, folder=tmp_path / "kept", **how)

    first = scored(8, write_maps=True)
    assert (tmp_path / "kept" / "maps" / "occluded").is_dir()
    assert (
        scored(8, write_maps=True).score("occluded", "average_drop").value
        == first.score("occluded", "average_drop").value
    )
    with pytest.raises(ValueError, match="given"):
        scored(4, write_maps=True)
    scored(4, fresh=True)
    assert not (tmp_path / "kept" / "maps" / "occluded").exists()


class Halved(GradCAM):
    """A method of one's own whose setting is private."""

    def __init__(self, network, share):
        super().__init__(network, "layer2")
        self._share = share

    def maps(self, images, class_idx):
        return self._share * super().maps(images, class_idx)


OTHERS = {
    "a layer": lambda network, layer: GradCAM(network, layer),
    "a layer inside": lambda network, layer: GuidedGradCAM(network, layer),
    "a private setting": lambda network, layer: Halved(network, float(layer[-1])),
    "captum's layer": lambda network, layer: captum.attr.LayerGradCam(network, network.get_submodule(layer)),
    "captum's layer inside": lambda network, layer: captum.attr.GuidedGradCam(network, network.get_submodule(layer)),
    "captum's attribution": lambda network, layer: captum.attr.NoiseTunnel(
        {"layer2": captum.attr.Saliency, "layer3": captum.attr.InputXGradient}[layer](network)
    ),
    "captum's options": lambda network, layer: captum.attr.IntegratedGradients(
        network, multiply_by_inputs=layer == "layer2"
    ),
    "pytorch-grad-cam's layer": lambda network, layer: pytorch_grad_cam.GradCAM(
        network, [network.get_submodule(layer)]
    ),
    "pytorch-grad-cam's settings": lambda network, layer: pytorch_grad_cam.AblationCAM(
        network, [network.layer2], ratio_channels_to_ablate=int(layer[-1]) / 4
    ),
    "torchcam's layer": lambda network, layer: torchcam.methods.ScoreCAM(network, layer),
    "torchcam's settings": lambda network, layer: torchcam.methods.SmoothGradCAMpp(
        network, "layer2", num_samples=int(layer[-1])
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", OTHERS)
def test_a_description_tells_methods_apart(network, batch, kind):
    """Also where a method has made maps before, and after other hooks were made."""

    def built(layer):
        found = OTHERS[kind](network, layer)
        return method_of(found) if is_foreign(found) else found

    one = built("layer2")
    before = method_description(one)
    image_maps(network, batch.images[:2], one)
    assert method_description(one) == before
    assert method_description(built("layer2")) == before
    assert method_description(built("layer3")) != before


def test_a_folder_knows_the_layer_inside_a_method(network, batch, tmp_path):
    how = HOW | {"metrics": ["average_drop"], "folder": tmp_path}
    first = camtrain.evaluate(network, [batch], {"mine": GuidedGradCAM(network, "layer2")}, **how)
    again = camtrain.evaluate(network, [batch], {"mine": GuidedGradCAM(network, "layer2")}, **how)
    assert again.score("mine", "average_drop").value == first.score("mine", "average_drop").value
    with pytest.raises(ValueError, match="holds an evaluation with given"):
        camtrain.evaluate(network, [batch], {"mine": GuidedGradCAM(network, "layer3")}, **how)


def test_functions_serve_two_networks(network, batch):
    torch.manual_seed(1)
    other = CIFARResNet(depth=8, num_classes=4, width=4).eval()
    made = {"theirs": lambda each: pytorch_grad_cam.GradCAM(each, [each.layer2])}
    comparison = camtrain.compare(network, other, [batch], made, controls="none", **HOW)
    assert "theirs" in str(comparison)
    with pytest.raises(ValueError, match="`other`: `methods`: expected 'given_grad_cam' to explain this network"):
        camtrain.compare(network, other, [batch], [GradCAM(network)], controls="none", **HOW)


def test_explanations_take_them(network, batch):
    theirs = torchcam.methods.LayerCAM(network, "layer2")
    first = next(iter(camtrain.explain(network, batch.images[:1], {"theirs": theirs}, progress=False)))
    expected = image_maps(network, batch.images[:1], method_of(theirs))
    torch.testing.assert_close(first.map, expected[0])
    assert "theirs" in str(first.by_method)


def test_what_is_no_method(network):
    for methods, message in (
        ([captum.attr.Saliency], "a function that makes one needs a name"),
        ({"mine": "grad_cam"}, "that makes one from a network as 'mine', got 'grad_cam'"),
        (["grad_cam", 3], "expected names, built methods, or objects of captum"),
    ):
        with pytest.raises(TypeError, match=message), given_methods(methods):
            pass
    with pytest.raises(ValueError, match="two are called 'given_grad_cam'"), given_methods(2 * [GradCAM(network)]):
        pass
    with pytest.raises(ValueError, match="'grad_cam' belongs to another method"), given_methods({"grad_cam": GradCAM}):
        pass
    with given_methods({"mine": lambda network: 3}) as names, pytest.raises(TypeError, match="expected 'mine' to be a"):
        methods_named(names, network)
    with given_methods({"mine": UniformMap}) as names:
        assert isinstance(methods_named(names, network)["mine"], UniformMap)


# Names -------------------------------------------------------------------------------------------


@pytest.fixture
def registered():
    def build(network, target_layer=None, seed=None):
        return pytorch_grad_cam.LayerCAM(network, [network.get_submodule(target_layer or "layer3")])

    register_method("their_layer_cam", build, "their LayerCAM")
    yield "their_layer_cam"
    unregister_method("their_layer_cam")


def test_a_registered_name_is_used_everywhere(network, batch, registered):
    assert method_names(f"grad_cam,{registered},shuffled_{registered}")[1] == registered
    assert method_title(registered) == "their LayerCAM"
    assert method_title(f"shuffled_{registered}") == "shuffled their LayerCAM"
    theirs = pytorch_grad_cam.LayerCAM(network, [network.layer2])
    expected = image_maps(network, batch.images, theirs)
    torch.testing.assert_close(image_maps(network, batch.images, registered, target_layer="layer2"), expected)
    assert registered not in method_names("all")
    FaithfulnessScores(methods=[registered])
    with pytest.raises(ValueError, match="none is called 'their_layercam'; did you mean 'their_layer_cam'"):
        FaithfulnessScores(methods=["their_layercam"])
    scores = camtrain.evaluate(network, [batch], f"grad_cam,{registered}", target_layer="layer2", **HOW)
    assert "their LayerCAM" in str(scores)
    plan = camtrain.EvaluationPlan(methods=(registered,), metrics=("average_drop",))
    assert camtrain.EvaluationPlan.from_json(plan.as_json()) == plan


def test_callbacks_score_a_registered_method(network, batch, registered):
    from pytorch_lightning import Trainer

    classifier = camtrain.Classifier(network=network, num_classes=4)
    callback = FaithfulnessScores(
        methods=[registered], metrics=["average_drop"], num_images=None, target_layer="layer2"
    )
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(batch.images, batch.labels), batch_size=6)
    trainer.validate(classifier, loader, verbose=False)
    theirs = {"theirs": pytorch_grad_cam.LayerCAM(network, [network.layer2])}
    settings = camtrain.EvaluationSettings(class_of=callback.settings.class_of)
    expected = camtrain.evaluate(network, [batch], theirs, "average_drop", settings=settings, progress=False)
    found = callback.scores[f"val/average_drop/{registered}"]
    assert found == pytest.approx(expected.score("theirs", "average_drop").value, abs=1e-6)


def test_names_of_others():
    for name, message in (
        ("grad_cam", "belongs to another method or control"),
        ("rise", "belongs to another"),
        ("uniform", "belongs to another"),
        ("shuffled_mine", "belongs to another"),
        ("all", "belongs to another"),
        ("../mine", "expected lower-case letters, digits and underscores"),
        ("Mine", "expected lower-case"),
    ):
        with pytest.raises(ValueError, match=f"`name`: .*{message}"):
            register_method(name, GradCAM)
    with pytest.raises(TypeError, match="`build`: expected a function from a network to a method, got 3"):
        register_method("mine", 3)
    with pytest.raises(ValueError, match="none is registered as 'mine'"):
        unregister_method("mine")


def test_other_processes_import_what_the_environment_names(network, tmp_path, monkeypatch):
    (tmp_path / "my_maps.py").write_text(
        "from camtrain.cams import GradCAM\nfrom camtrain.methods import register_method\n"
        "register_method('early', lambda network: GradCAM(network, 'layer1'), 'early Grad-CAM')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CAMTRAIN_METHODS", "my_maps, ")
    try:
        assert method_names("early") == ["early"]
        assert method_title("early") == "early Grad-CAM"
        unregister_method("early")
    finally:
        sys.modules.pop("my_maps", None)
    monkeypatch.setenv("CAMTRAIN_METHODS", "no_such_module")
    with pytest.raises(ValueError, match="`CAMTRAIN_METHODS`: cannot import 'no_such_module'"):
        method_names("grad_cam")


def test_a_report_shows_methods_that_were_registered_elsewhere():
    columns = ["average_drop/their_layer_cam", "average_drop/grad_cam", "average_drop/rise", "no_metric/grad_cam"]
    rows = {0: {f"{EVALUATED}{column}": 0.5 for column in [*columns, "average_drop/shuffled_their_layer_cam"]}}
    point = PointRuns.__new__(PointRuns)
    object.__setattr__(point, "rows", rows)
    found = score_columns([point])
    names = ["grad_cam", "rise", "their_layer_cam", "shuffled_their_layer_cam"]
    assert [score.method for score in found] == names
    assert [score.is_control for score in found] == [False, False, False, True]
