"""Every metric does what users of torchmetrics expect of one."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn
from torchmetrics import MetricCollection

import camtrain
from camtrain import metrics
from camtrain.metrics import (
    AdditiveScore,
    AverageDrop,
    AverageGain,
    AverageIncrease,
    ClassSensitivity,
    DeletionAUC,
    InsertionAUC,
    LocalizationIoU,
    PointingGame,
    Win,
)
from camtrain.networks import CIFARResNet
from tests.metrics.examples import NAMES, N, example, of_images

FOLDER = Path(metrics.__file__).parent


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def keywords(name):
    """The arguments of the example by the names that `update` gives them."""
    metric, arguments = example(name)
    return dict(zip(inspect.signature(type(metric).update).parameters, [metric, *arguments], strict=False))


@pytest.mark.parametrize("name", NAMES)
def test_update_names_and_describes_its_arguments(name):
    update = getattr(metrics, name).update
    parameters = list(inspect.signature(update).parameters.values())[1:]
    assert parameters
    for parameter in parameters:
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        assert parameter.annotation is not parameter.empty
        assert f"\n            {parameter.name}: " in update.__doc__
    assert "Raises:" in update.__doc__
    # The evaluator calls `rows` with the arguments of `update`, in their order.
    assert list(inspect.signature(getattr(metrics, name)(*settings(name)).rows).parameters) in (
        [parameter.name for parameter in parameters],
        ["args", "kwargs"],  # `MeanScore` passes them on to `scores`
    )


def settings(name):
    lengths = {"Win": [3], "ROAD": [3], "ParameterRandomization": [2]}
    return [4] if name.endswith("AUC") else lengths.get(name, [])


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_has_an_example(name):
    assert ">>> metric" in getattr(metrics, name).__doc__


def test_one_collection_takes_the_union_of_all_keywords():
    """One call feeds every metric; each gives the score that it gives alone."""
    arguments, members, expected = {}, {}, {}
    for name in NAMES:
        own = keywords(name)
        del own["self"]
        members[name] = example(name)[0]
        # Where two metrics take an argument of one name, the first one's value serves both.
        arguments |= {key: value for key, value in own.items() if key not in arguments}
    for name in NAMES:
        names = list(inspect.signature(type(members[name]).update).parameters)[1:]
        alone, _ = example(name)
        alone.update(*(arguments.get(key) for key in names))
        expected[name] = alone.compute()
    collection = MetricCollection(members)
    collection.update(**arguments)
    for name, value in collection.compute().items():
        torch.testing.assert_close(value, expected[name], equal_nan=True)
    shown = collection.clone(prefix="val/")
    assert set(shown.compute()) == {f"val/{name}" for name in NAMES}
    collection.reset()
    assert not any(bool(metric.total.any()) for metric in collection.values())


def test_a_collection_does_not_confuse_metrics_that_agree_at_first():
    """By default, torchmetrics lets metrics whose states agree after the first batch share one state from then on."""
    collection = MetricCollection({
        "drop": AverageDrop(), "gain": AverageGain(), "increase": AverageIncrease(),
        "strict": PointingGame(tolerance=0), "lax": PointingGame(tolerance=30),
        "low": LocalizationIoU(0.0), "high": LocalizationIoU(0.5),
        "rank": ClassSensitivity(), "linear": ClassSensitivity("pearson"),
        "in": InsertionAUC(2), "out": DeletionAUC(2),
    })  # fmt: skip
    boxes = [torch.tensor([[0.0, 0.0, 2.0, 2.0]])]
    curves = {"insertion_curves": torch.tensor([[0.1, 0.2, 0.3]]), "deletion_curves": torch.tensor([[0.1, 0.2, 0.3]])}
    half, first = torch.tensor([0.5]), torch.zeros(1, 4, 4)
    first[0, 0, 0] = 1
    collection.update(
        probabilities=half, masked_probabilities=half, cams=first, annotation=boxes, other_cams=first, **curves
    )
    assert len(collection.compute_groups) == len(collection)
    second = torch.tensor([[[0.1, 0.2, 0.0, 0.0]] * 3 + [[0.0, 0.0, 0.3, 1.0]]])
    curves["deletion_curves"] = torch.tensor([[0.9, 0.8, 0.7]])
    collection.update(probabilities=half, masked_probabilities=torch.tensor([0.9]), cams=second, annotation=boxes,
                      other_cams=second.square(), **curves)  # fmt: skip
    found = {name: float(value) for name, value in collection.compute().items()}
    # The first map has one pixel, inside the box of four. Of the second, 8 are above 0 and 4 of these are in the box;
    # 1 is above 0.5, outside the box.
    expected = {"drop": 0.0, "gain": 0.4, "increase": 0.5, "strict": 0.5, "lax": 1.0, "low": (1 / 4 + 4 / 8) / 2,
                "high": (1 / 4 + 0) / 2, "in": 0.2, "out": 0.5}  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert found["rank"] == pytest.approx(0.0, abs=1e-6)
    assert found["linear"] > 0.005


@pytest.mark.parametrize("name", NAMES)
def test_states_of_the_same_settings_have_the_same_name(name):
    assert list(example(name)[0].metric_state) == list(example(name)[0].metric_state)
    (state,) = example(name)[0].metric_state
    assert state.startswith(f"total_{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_call_returns_the_score_of_the_batch_alone(name):
    metric, arguments = example(name)
    first, second = (of_images(arguments, chosen) for chosen in (slice(0, 5), slice(5, N)))
    for part in (first, second):
        alone, _ = example(name)
        alone.update(*part)
        torch.testing.assert_close(metric(*part), alone.compute(), equal_nan=True)
    whole, _ = example(name)
    whole.update(*arguments)
    torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-6, atol=1e-7, equal_nan=True)
    assert metric.update_count == 2


@pytest.mark.parametrize("name", NAMES)
def test_copies_keep_the_state_and_go_their_own_way(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    before = metric.total
    for again in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(again.total, before)
        assert torch.equal(again.compute().nan_to_num(-1), metric.compute().nan_to_num(-1))
        assert "args" not in again._update_signature.parameters
        again.update(*arguments)
        assert torch.equal(again.total, 2 * before)
        assert torch.equal(metric.total, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_holds_the_state_if_it_is_persistent(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    assert nn.ModuleDict({"metric": metric}).state_dict() == {}
    metric.persistent(True)
    again, _ = example(name)
    again.persistent(True)
    nn.ModuleDict({"metric": again}).load_state_dict(nn.ModuleDict({"metric": metric}).state_dict())
    assert torch.equal(again.total, metric.total)


@pytest.mark.parametrize("name", NAMES)
def test_updates_mix_inside_and_outside_of_inference_mode(name):
    metric, arguments = example(name)
    with torch.inference_mode():
        metric.update(*arguments)
        metric.reset()
        metric.update(*of_images(arguments, slice(0, 5)))
    metric.update(*of_images(arguments, slice(5, N)))
    with torch.inference_mode():
        metric.update(*of_images(arguments, slice(0, 0)))
    whole, _ = example(name)
    whole.update(*arguments)
    torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_holds_no_graph(name):
    metric, arguments = example(name)
    tracked = [
        each.clone().requires_grad_() if isinstance(each, torch.Tensor) and each.is_floating_point() else each
        for each in arguments
    ]
    metric(*tracked)
    metric.add_rows(metric.rows(*tracked))
    assert not metric.total.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_rows_from_elsewhere_count_as_an_update(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    stale = metric.compute()
    part = of_images(arguments, slice(0, 4))
    metric.add_rows(metric.rows(*part).float())
    expected, _ = example(name)
    expected.update(*arguments)
    expected.update(*part)
    assert metric.update_count == 2
    torch.testing.assert_close(metric.compute(), expected.compute(), rtol=1e-6, atol=1e-7, equal_nan=True)
    if name == "AverageDrop":
        assert not torch.equal(metric.compute(), stale), "the score must not be the one computed before"


def test_merged_states_are_scored_anew():
    first, second = AverageDrop(), AverageDrop()
    first.update(torch.tensor([0.8]), torch.tensor([0.4]))
    second.update(torch.tensor([0.8]), torch.tensor([0.8]))
    assert float(first.compute()) == 0.5
    first.merge_state(second)
    assert float(first.compute()) == 0.25
    with pytest.raises(ValueError, match=r"total_LocalizationIoU_0\.25"):
        LocalizationIoU(0.25).merge_state(LocalizationIoU(0.5))


def test_rows_from_elsewhere_must_have_the_right_shape():
    with pytest.raises(ValueError, match=r"`rows`: expected .* of shape \(N, 2\), got torch.float32 of shape \(2,\)"):
        AverageDrop().add_rows(torch.zeros(2))
    with pytest.raises(TypeError, match=r"`rows`: expected .*, got list"):
        AverageDrop().add_rows([[0.5, 1.0]])


def test_metrics_compose():
    probabilities, masked = torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9])
    both = AverageDrop() + AverageGain()
    both.update(probabilities=probabilities, masked_probabilities=masked)
    assert float(both.compute()) == pytest.approx(0.375 + 0.4)
    different = 1 - LocalizationIoU(0.5) * AverageDrop()
    different.update(
        probabilities=probabilities, masked_probabilities=masked, cams=torch.eye(4).repeat(2, 1, 1),
        annotation=[torch.tensor([[0.0, 0.0, 2.0, 2.0]])] * 2,
    )  # fmt: skip
    assert float(different.compute()) == pytest.approx(1 - 0.375 / 3)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_add_up(name):
    """`gather` plays the part of the other process."""
    metric, arguments = example(name)
    other, _ = example(name)
    whole, _ = example(name)
    metric.update(*of_images(arguments, slice(0, 7)))
    other.update(*of_images(arguments, slice(7, N)))
    whole.update(*arguments)
    local = metric.total

    def gather(state, group=None):
        return [state, other.total]

    with metric.sync_context(dist_sync_fn=gather, distributed_available=lambda: True):
        torch.testing.assert_close(metric.value(metric.total), whole.value(whole.total), equal_nan=True)
    assert torch.equal(metric.total, local)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_moves_and_keeps_float64(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    metric.half().float().bfloat16()
    assert metric.total.dtype == torch.float64
    moved = copy.deepcopy(metric).to("meta")
    assert moved.total.device.type == moved.device.type == "meta"
    moved.reset()
    assert moved.total.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_scores_on_a_gpu_are_those_on_the_cpu(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    there = example(name)[0].to("cuda")
    there.update(*(on_gpu(each) for each in arguments))
    assert there.total.device.type == "cuda"
    torch.testing.assert_close(there.compute().cpu(), metric.compute(), rtol=1e-5, atol=1e-6, equal_nan=True)
    there.reset()
    there.add_rows(metric.rows(*arguments))  # rows of the CPU
    torch.testing.assert_close(there.compute().cpu(), metric.compute(), rtol=1e-5, atol=1e-6, equal_nan=True)


def on_gpu(value):
    if isinstance(value, list):
        return [each.cuda() for each in value]
    return value.cuda() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_drawn_alone_and_over_steps(name):
    metric, arguments = example(name)
    metric.update(*arguments)
    figure, axes = metric.plot()
    assert figure is axes.figure
    assert axes.get_ylabel() == name
    low, high = type(metric).plot_lower_bound, type(metric).plot_upper_bound
    assert bool((metric.compute().nan_to_num(low) >= low).all() & (metric.compute().nan_to_num(low) <= high).all())
    margin = 0.1 * (high - low)
    assert axes.get_ylim() == pytest.approx((low - margin, high + margin))
    drawn = [float(line.get_ydata()[0]) for line in axes.lines]
    assert drawn == pytest.approx([float(value) for value in metric.compute().flatten() if not value.isnan()])

    steps = [metric(*of_images(arguments, chosen)) for chosen in (slice(0, 4), slice(4, 8), slice(2, 6))]
    _, given = plt.subplots()
    figure, axes = metric.plot(steps, given)
    assert figure is None
    assert axes is given
    curves = torch.stack(steps).reshape(3, -1).T
    curves = curves[~torch.eye(3, dtype=torch.bool).flatten()] if name == "Win" else curves
    for line, curve in zip(axes.lines, curves, strict=True):
        assert list(line.get_ydata()) == pytest.approx(curve.tolist(), nan_ok=True)


def test_plain_numbers_are_drawn_too():
    _, axes = AverageDrop().plot([0.4, 0.3])
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.4, 0.3])
    _, axes = AverageDrop().plot(0.4)
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.4])


def test_pairs_of_methods_are_named_in_the_plot():
    metric = Win(2)
    metric.update(torch.tensor([0.8, 0.8, 0.5]), torch.tensor([[0.4, 0.2], [0.1, 0.2], [0.4, 0.1]]))
    _, axes = metric.plot()
    assert {line.get_label(): float(line.get_ydata()[0]) for line in axes.lines} == {
        "Method 0 over 1": pytest.approx(2 / 3), "Method 1 over 0": pytest.approx(1 / 3),
    }  # fmt: skip


def test_a_collection_is_drawn():
    collection = MetricCollection(AverageDrop(), AverageGain(), Win(2))
    given = {
        "probabilities": torch.tensor([0.8, 0.5]), "masked_probabilities": torch.tensor([0.2, 0.9]),
        "compared_probabilities": torch.tensor([[0.4, 0.2], [0.1, 0.2]]),
    }  # fmt: skip
    steps = [collection(**given), collection(**given)]
    assert len(collection.plot()) == 3
    assert len(collection.plot(steps)[0][1].lines[0].get_ydata()) == 2


def test_no_metric_imports_matplotlib_itself():
    """torchmetrics imports it where it is installed; the metrics need only its types."""
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert "matplotlib" not in ast.unparse(node), path


LISTINGS = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.filterwarnings("ignore:4 of 4 images have no:camtrain.messages.CamtrainWarning")
def test_the_listing_of_scores_beyond_control_runs():
    (listing,) = (each for each in LISTINGS if "beyond" in each)
    data = [(torch.rand(4, 3, 16, 16), torch.arange(4))]
    given = {"network": CIFARResNet(depth=8, width=4), "data": data, "camtrain": camtrain}
    other = camtrain.evaluate(CIFARResNet(depth=8, width=4), data, controls="shuffled", progress=False)
    exec(listing, given | {"other": other})


def test_the_listing_of_a_loop_runs():
    (listing,) = (each for each in LISTINGS if "MetricCollection" in each)
    names = {}
    exec(listing, names)
    assert float(names["metrics"].compute()["AverageDrop"]) == pytest.approx(0.375)
    assert len(names["figures"]) == 4


def test_a_metric_of_ones_own_without_update_counts_too():
    class Mean(AdditiveScore):
        def __init__(self):
            super().__init__(row_length=2)

        def rows(self, values):
            return torch.stack([values, torch.ones_like(values)], dim=1)

        def value(self, total):
            return total[..., 0] / total[..., 1]

    metric = Mean()
    metric.update(torch.tensor([1.0, 4.0]))
    metric.update(values=torch.tensor([4.0]))
    assert float(metric.compute()) == 3
