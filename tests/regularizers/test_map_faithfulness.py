"""Sufficient and necessary maps: the parts by hand, and the whole against a loop over images in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from camtrain import Objective
from camtrain.blurred import blurred
from camtrain.cams import EigenCAM, GradCAM, HiResCAM, LayerCAM, resize
from camtrain.gradients.randomness import Randomness
from camtrain.regularizers import GradientNorm, MapFaithfulness, Sum, Term
from camtrain.regularizers.map_faithfulness import MaskChoices, other_images, top_pixels
from camtrain.regularizers.normalized_maps import positive_by_maximum
from tests.regularizers.smooth_network import smooth_network

LAYER = "4"


def batch(num_images=12):
    torch.manual_seed(1)
    return torch.randn(num_images, 3, 8, 8).double(), torch.arange(num_images) % 3


def choices(n, **given):
    """Sufficiency with soft masks over zeros and no swap, apart from what is given."""
    defaults = {
        "sufficiency": torch.ones(n, dtype=torch.bool),
        "source": torch.arange(n),
        "fraction": torch.full((n,), 0.5),
        "soft": torch.ones(n, dtype=torch.bool),
        "blurred": torch.zeros(n, dtype=torch.bool),
    }
    return MaskChoices(**defaults | given)


@pytest.fixture
def choose(monkeypatch):
    """Pins the random choices."""

    def pin(chosen):
        monkeypatch.setattr(MapFaithfulness, "_choices", lambda _self, _alive: chosen)

    return pin


# The parts.


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.33, 0.5, 0.77, 1 - 1e-9])
def test_the_top_of_a_map_has_its_exact_number_of_pixels(fraction):
    maps = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    top = top_pixels(maps, torch.full((5,), fraction), 30.0) > 0.5
    count = min(max(round(fraction * 42), 1), 41)
    for each, selected in zip(maps, top, strict=True):
        assert set(selected.flatten().nonzero().flatten().tolist()) == set(each.flatten().topk(count).indices.tolist())


def test_the_top_of_a_map_by_hand():
    maps = torch.tensor([[[1.0, 0.5], [0.25, 0.25]]])
    sigmoid = torch.tensor([[[5.0, 1.0], [-1.0, -1.0]]]).sigmoid()  # the threshold is 0.375
    torch.testing.assert_close(top_pixels(maps, torch.tensor([0.5]), 8.0), sigmoid)
    tied = top_pixels(maps, torch.tensor([0.75]), 8.0)
    assert tied[0, 1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("n", [2, 3, 7])
def test_no_image_gets_its_own_map_or_a_dead_one(n):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        found = other_images(torch.ones(n, dtype=torch.bool), torch.rand(n, generator=generator)).tolist()
        assert sorted(found) == list(range(n))
        assert all(other != own for own, other in enumerate(found))
        seen |= set(enumerate(found))
        usable = torch.rand(n, generator=generator) < 0.6
        found = other_images(usable, torch.rand(n, generator=generator))
        assert torch.equal(found[~usable], torch.arange(n)[~usable])
        assert usable[found[usable]].all()
        if usable.sum() > 1:
            assert (found != torch.arange(n))[usable].all()
    assert len(seen) == n * (n - 1), "every other image is drawn"


def test_one_usable_map_has_no_other():
    assert other_images(torch.tensor([True]), torch.tensor([0.3])).tolist() == [0]
    assert other_images(torch.tensor([False, True, False]), torch.rand(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("swapped", [0.0, 0.5, 1.0])
def test_choices_have_their_frequencies(swapped):
    torch.manual_seed(0)
    n = 40_000
    regularizer = MapFaithfulness(
        sufficiency_weight=0.6, necessity_weight=0.2, swapped=swapped, soft_masks=0.3, blurred_backgrounds=0.8
    )
    drawn = regularizer._choices(torch.ones(n, dtype=torch.bool))
    first = drawn.sufficiency
    other = drawn.source != torch.arange(n)
    assert first.float().mean().item() == pytest.approx(0.75, abs=0.01)
    for chosen, fraction in ((other, swapped), (drawn.soft, 0.3), (drawn.blurred, 0.8)):
        assert chosen[first].float().mean().item() == pytest.approx(fraction, abs=0.01 if 0 < fraction < 1 else 0)
        assert not chosen[~first].any(), "the necessity term has its own map, and zeros"
    for chosen, low, high in ((first, 0.1, 0.9), (~first, 0.1, 0.6)):
        fractions = drawn.fraction[chosen]
        assert fractions.min().item() == pytest.approx(low, abs=1e-3)
        assert fractions.max().item() == pytest.approx(high, abs=1e-3)
        assert fractions.mean().item() == pytest.approx((low + high) / 2, abs=0.01)


@pytest.mark.parametrize(("weights", "expected"), [((0.5, 0.0), True), ((0.0, 0.5), False)])
def test_a_weight_of_zero_leaves_all_images_to_the_other_term(weights, expected):
    drawn = MapFaithfulness(sufficiency_weight=weights[0], necessity_weight=weights[1])._choices(
        torch.ones(1000, dtype=torch.bool)
    )
    assert (drawn.sufficiency == expected).all()


# Values by hand.


def pixel_network():
    """The logits are the mean m of the pixels and -m, so that Grad-CAM is the positive part of the pixels."""
    network = nn.Sequential(
        nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2, bias=False)
    )
    with torch.no_grad():
        network[0].weight.fill_(1 / 3)
        network[3].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return network


def gray(*pixels):
    """Images of 2×2 pixels."""
    return torch.tensor(pixels).view(-1, 1, 2, 2).expand(-1, 3, -1, -1)


IMAGE = gray([4.0, 2.0, 1.0, 1.0])  # its map is 1, 1/2, 1/4, 1/4


def value(images, labels=None, **settings):
    """L_R at λ = 1."""
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    return Objective(MapFaithfulness(target_layer="0", **settings), 1.0)(pixel_network(), images, labels).regularization


def test_sufficiency_of_a_soft_mask_by_hand(choose):
    choose(choices(1))
    mean = (4 * 1 + 2 / 2 + 1 / 4 + 1 / 4) / 4  # p = 1 / (1 + exp(-2 mean))
    assert value(IMAGE).item() == pytest.approx(math.log(1 + math.exp(-2 * mean)))
    assert value(IMAGE, sufficiency_weight=2.0, necessity_weight=1.0).item() == pytest.approx(
        3 * math.log(1 + math.exp(-2 * mean))
    )


def test_sufficiency_of_a_threshold_by_hand(choose):
    choose(choices(1, soft=torch.tensor([False])))
    kept = [1 / (1 + math.exp(-8 * (each - 0.375))) for each in (1, 0.5, 0.25, 0.25)]
    mean = (4 * kept[0] + 2 * kept[1] + kept[2] + kept[3]) / 4
    assert value(IMAGE, sharpness=8.0).item() == pytest.approx(math.log(1 + math.exp(-2 * mean)))


def test_necessity_by_hand(choose):
    none = torch.tensor([False])
    choose(choices(1, sufficiency=none, soft=none))
    left = [1 - 1 / (1 + math.exp(-8 * (each - 0.375))) for each in (1, 0.5, 0.25, 0.25)]
    mean = (4 * left[0] + 2 * left[1] + left[2] + left[3]) / 4
    assert value(IMAGE, sharpness=8.0).item() == pytest.approx(math.log(1 + math.exp(2 * mean)))


def test_another_image_s_map_by_hand(choose):
    """With the own label and the own pixels."""
    choose(choices(2, source=torch.tensor([1, 0])))
    images = torch.cat([IMAGE, gray([1.0, 1.0, 5.0, 5.0])])  # the second map is 1/5, 1/5, 1, 1
    means = (4 / 5 + 2 / 5 + 1 + 1) / 4, (1 + 1 / 2 + 5 / 4 + 5 / 4) / 4
    expected = sum(math.log(1 + math.exp(-2 * mean)) for mean in means) / 2
    assert value(images).item() == pytest.approx(expected)


def test_a_blurred_background(choose):
    choose(choices(2, blurred=torch.tensor([True, False])))
    images = torch.cat([IMAGE, IMAGE])
    keep = (IMAGE / 4)[0, 0]
    means = (IMAGE * keep + blurred(IMAGE) * (1 - keep)).mean(), (IMAGE * keep).mean()
    expected = sum(math.log(1 + math.exp(-2 * float(mean))) for mean in means) / 2
    assert value(images).item() == pytest.approx(expected)


def test_dead_maps_do_not_count_and_are_given_to_no_image():
    images = torch.cat([IMAGE, -IMAGE, IMAGE.flip(-1), -IMAGE])
    settings = {"swapped": 1.0, "soft_masks": 1.0, "blurred_backgrounds": 0.0}
    settings |= {"sufficiency_weight": 1.0, "necessity_weight": 0.0}
    objective = Objective(MapFaithfulness(target_layer="0", **settings), 1.0)
    measured = objective.measure(pixel_network(), images, torch.zeros(4, dtype=torch.long))
    assert int(measured.terms["map_faithfulness"].counted) == 2
    # Each of the two images has the other one's map.
    mean = (4 / 2 + 2 * 1 + 1 / 4 + 1 / 4) / 4
    assert measured.regularization.item() == pytest.approx(math.log(1 + math.exp(-2 * mean)))
    step = objective(pixel_network(), -images[:1], torch.zeros(1, dtype=torch.long))
    assert (int(step.terms["map_faithfulness"].counted), float(step.regularization)) == (0, 0.0)


def test_the_only_image_of_a_batch_keeps_its_map():
    settings = {"necessity_weight": 0.0, "soft_masks": 1.0, "blurred_backgrounds": 0.0}
    assert value(IMAGE, swapped=1.0, **settings) == value(IMAGE, swapped=0.0, **settings)


def test_an_image_that_shows_no_class_gives_its_map_to_no_other():
    images, labels = torch.cat([IMAGE, gray([1.0, 1.0, 5.0, 5.0])]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    settings = {"target_layer": "0", "necessity_weight": 0.0, "soft_masks": 1.0, "blurred_backgrounds": 0.0}
    found = [
        Objective(MapFaithfulness(swapped=swapped, **settings), 1.0, classification_loss="binary_cross_entropy")(
            pixel_network(), images, labels
        )
        for swapped in (0.0, 1.0)
    ]
    assert [int(step.terms["map_faithfulness"].counted) for step in found] == [1, 1]
    assert found[0].regularization == found[1].regularization > 0


def test_several_labels_are_judged_by_the_sigmoid_of_their_class(choose):
    choose(choices(1))
    mean, whole = (4 * 1 + 2 / 2 + 1 / 4 + 1 / 4) / 4, (4 + 2 + 1 + 1) / 4  # logits (mean, -mean) and (whole, -whole)

    def found(**settings):
        objective = Objective(
            MapFaithfulness(target_layer="0", **settings), 1.0, classification_loss="binary_cross_entropy"
        )
        return objective(pixel_network(), IMAGE, torch.tensor([[1.0, 0.0]])).regularization.item()

    assert found() == pytest.approx(math.log(1 + math.exp(-mean)))
    own = 1 / (1 + math.exp(-whole))
    each = own * math.log(1 + math.exp(-mean)) + (1 - own) * math.log(1 + math.exp(mean))
    assert found(sufficiency_target="prediction") == pytest.approx(2 * each)  # the same for either class


def test_the_label_of_soft_labels_is_the_most_probable_class():
    images = torch.cat([IMAGE, -IMAGE])
    labels, soft = torch.tensor([0, 1]), torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    torch.manual_seed(0)
    expected = value(images, labels)
    torch.manual_seed(0)
    assert value(images, soft) == expected


# The whole against a loop.


def loop_maps(network, images, labels, differentiable):
    """Grad-CAM image by image, at the size of the images, divided by its maximum."""
    maps = []
    for image, label in zip(images, labels.tolist(), strict=True):
        activations = network[:5](image[None])
        (gradients,) = torch.autograd.grad(
            network[5:](activations)[0, label], activations, create_graph=differentiable, retain_graph=True
        )
        cam = (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()
        cam = F.interpolate(cam[:, None], size=(8, 8), mode="bilinear", align_corners=False)[0, 0]
        cam = cam / cam.max()
        maps.append(cam if differentiable else cam.detach())
    return maps


def loop_loss(network, images, labels, swapped, differentiable, seed, weight, target="label"):
    """L of the default settings, written out."""
    n = len(images)
    maps = loop_maps(network, images, labels, differentiable)
    torch.manual_seed(seed)
    term, swap, key, position, mask, background = torch.rand(6, n)
    cycle = key.argsort().tolist()
    total = F.cross_entropy(network(images), labels)
    for i in range(n):
        own = maps[i]
        if term[i] < 0.5:
            if swap[i] < swapped:
                own = maps[cycle[(cycle.index(i) + 1) % n]].detach()
            fraction = 0.1 + 0.8 * float(position[i])
        else:
            fraction = 0.1 + 0.5 * float(position[i])
        values = own.flatten().sort(descending=True).values
        count = round(fraction * 64)
        keep = torch.sigmoid(30 * (own - (values[count - 1] + values[count]) / 2))
        if term[i] < 0.5:
            keep = own if mask[i] < 0.5 else keep
            base = blurred(images[i : i + 1]) if background[i] < 0.5 else torch.zeros_like(images[i : i + 1])
            probabilities = network(images[i : i + 1] * keep + base * (1 - keep)).softmax(1)[0]
            whole = network(images[i : i + 1]).detach().softmax(1)[0]
            penalty = -probabilities[labels[i]].log()
            if target == "prediction":
                penalty = -(whole * probabilities.log()).sum()
        else:
            probability = network(images[i : i + 1] * (1 - keep)).softmax(1)[0, labels[i]]
            penalty = -(1 - probability).log()
        total = total + weight * penalty / n
    return total


def gradients_of(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("swapped", [0.0, 0.5, 1.0])
def test_value_and_gradient_are_those_of_a_loop(swapped, differentiable):
    network, (images, labels) = smooth_network(), batch()
    regularizer = MapFaithfulness(target_layer=LAYER, swapped=swapped, differentiable=differentiable)
    torch.manual_seed(3)
    found = Objective(regularizer, 0.7)(network, images, labels).loss
    expected = loop_loss(network, images, labels, swapped, differentiable, seed=3, weight=0.7)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    for first, second in zip(gradients_of(found, network), gradients_of(expected, network), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("swapped", [0.0, 0.5])
def test_what_the_network_says_of_the_whole_image_as_the_target(swapped):
    network, (images, labels) = smooth_network(), batch()
    regularizer = MapFaithfulness(target_layer=LAYER, swapped=swapped, sufficiency_target="prediction")
    torch.manual_seed(3)
    found = Objective(regularizer, 0.7)(network, images, labels).loss
    expected = loop_loss(network, images, labels, swapped, False, seed=3, weight=0.7, target="prediction")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    for first, second in zip(gradients_of(found, network), gradients_of(expected, network), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-10)


def test_the_option_adds_a_gradient_through_the_own_map_alone():
    network, (images, labels) = smooth_network(), batch()

    def gradients(differentiable, **settings):
        torch.manual_seed(3)
        regularizer = MapFaithfulness(target_layer=LAYER, differentiable=differentiable, **settings)
        return torch.cat(
            [g.flatten() for g in gradients_of(Objective(regularizer)(network, images, labels).loss, network)]
        )

    own, others = {"swapped": 0.0}, {"swapped": 1.0, "necessity_weight": 0.0}
    assert (gradients(True, **own) - gradients(False, **own)).norm() > 1e-3
    torch.testing.assert_close(gradients(True, **others), gradients(False, **others))


@pytest.mark.parametrize("term", [{"necessity_weight": 0.0}, {"sufficiency_weight": 0.0}])
def test_head_and_stem_receive_the_gradient_of_each_term(term):
    network, (images, labels) = smooth_network(), batch()
    plain = gradients_of(Objective()(network, images, labels).loss, network)
    found = gradients_of(Objective(MapFaithfulness(target_layer=LAYER, **term))(network, images, labels).loss, network)
    changed = {
        name
        for (name, _), a, b in zip(network.named_parameters(), found, plain, strict=True)
        if not torch.allclose(a, b, atol=1e-6)
    }
    assert {"0.weight", "3.weight", "6.weight"} <= changed


@pytest.mark.parametrize(
    ("method", "layer", "make"),
    [
        ("layer_cam", "1", lambda network: LayerCAM(network, "1")),
        ("hi_res_cam", LAYER, lambda network: HiResCAM(network, LAYER)),
        ("eigen_cam", LAYER, lambda network: EigenCAM(network, LAYER)),
        ("grad_cam", ["1", LAYER], lambda network: GradCAM(network, ["1", LAYER])),
    ],
)
@pytest.mark.parametrize("differentiable", [False, True])
def test_any_map_at_any_layer(method, layer, make, differentiable, choose):
    network, (images, labels) = smooth_network(), batch(3)
    choose(choices(3))
    maps, _ = positive_by_maximum(resize(make(network)(images, labels), (8, 8)))
    expected = F.cross_entropy(network(images * maps[:, None]), labels)
    regularizer = MapFaithfulness(method, layer, differentiable=differentiable)
    step = Objective(regularizer, 1.0)(network, images, labels)
    torch.testing.assert_close(step.regularization, expected.float())
    step.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_vision_transformer(differentiable, choose):
    torch.manual_seed(0)
    network = VisionTransformer(16, 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    choose(choices(4))
    maps, alive = positive_by_maximum(resize(GradCAM(network)(images, labels), (16, 16)))
    each = F.cross_entropy(network(images * maps[:, None]), labels, reduction="none")
    step = Objective(MapFaithfulness(differentiable=differentiable), 1.0)(network, images, labels)
    torch.testing.assert_close(step.regularization, each[alive].mean())
    assert int(step.terms["map_faithfulness"].counted) == alive.sum() > 0
    step.loss.backward()
    assert network.conv_proj.weight.grad.any()
    assert network.heads.head.weight.grad.any()


# The step.


def test_a_step_takes_one_more_pass():
    passes, network, (images, labels) = [], smooth_network(), batch()
    objective = Objective(MapFaithfulness(target_layer=LAYER))
    network.register_forward_hook(lambda *_: passes.append(1))
    objective(network, images, labels)
    assert len(passes) == 2


def test_a_seed_repeats_a_step():
    network, (images, labels) = smooth_network(), batch()
    objective = Objective(MapFaithfulness(target_layer=LAYER))

    def values(seed):
        torch.manual_seed(seed)
        return [float(objective(network, images, labels).regularization) for _ in range(2)]

    first = values(0)
    assert values(0) == first
    assert first[0] != first[1], "each step draws anew"
    assert values(1) != first


def test_random_numbers_are_drawn_where_there_is_a_penalty_alone():
    network, (images, labels) = smooth_network(), batch()

    def state_after(call):
        torch.manual_seed(0)
        call()
        return Randomness.now(images.device).cpu

    untouched = state_after(lambda: None)
    regularizer = MapFaithfulness(target_layer=LAYER)
    assert torch.equal(state_after(lambda: Objective(regularizer, 0.0)(network, images, labels)), untouched)
    assert torch.equal(state_after(lambda: Objective(regularizer, 1.0).measure(network, images, labels)), untouched)
    assert torch.equal(
        state_after(lambda: Objective(regularizer, 1.0)(network, images, labels)),
        state_after(lambda: torch.rand(6, len(images))),
    )


def test_both_passes_drop_the_same_units(monkeypatch):
    """The second pass of the images themselves has the same loss, and BatchNorm counts one pass."""
    monkeypatch.setattr(MapFaithfulness, "_masked", lambda _self, images, _maps, _choices: images)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Softplus(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 3)
    )
    images, labels = batch()
    step = Objective(MapFaithfulness(target_layer="2", necessity_weight=0.0), 2.0)(network, images.float(), labels)
    counted = int(step.terms["map_faithfulness"].counted)
    assert counted == len(images)
    torch.testing.assert_close(step.regularization, 0.5 * step.classification)
    assert int(network[1].num_batches_tracked) == 1


def test_beside_other_terms_lazily_and_balanced():
    network, (images, labels) = smooth_network(), batch()
    both = Sum([Term(GradientNorm(), 0.1), Term(MapFaithfulness(target_layer=LAYER), 1.0)])
    objective = Objective(both, 0.5, every_n_steps=2, balance_steps=1)
    torch.manual_seed(0)
    first, second, third = (objective(network, images, labels) for _ in range(3))
    assert [step.regularized for step in (first, second, third)] == [True, False, True]
    torch.manual_seed(0)
    start = Objective(MapFaithfulness(target_layer=LAYER)).measure(network, images, labels)
    scale = first.terms["map_faithfulness"].scale
    assert scale == pytest.approx(float(start.classification / start.regularization), rel=1e-5)
    factor = 2 * 0.5 * scale
    rest = 2 * 0.5 * 0.1 * first.terms["gradient_norm"].scale * first.terms["gradient_norm"].value
    expected = first.classification + rest + factor * first.terms["map_faithfulness"].value
    torch.testing.assert_close(first.loss.detach().float(), expected)


@pytest.mark.parametrize("differentiable", [False, True])
def test_half_precision(differentiable):
    """The passes are rounded, and the masks and the loss are not."""
    network, (images, labels) = smooth_network().float(), batch()
    objective = Objective(MapFaithfulness(target_layer=LAYER, differentiable=differentiable), 1.0)
    steps = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step = objective(network, images.float(), labels)
        network.zero_grad()
        step.loss.backward()
        steps.append((step, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])))
    (precise, expected), (rounded, found) = steps
    assert rounded.regularization.dtype == torch.float32
    torch.testing.assert_close(rounded.regularization, precise.regularization, rtol=0.02, atol=0)
    assert F.cosine_similarity(found, expected, dim=0) > 0.99


def test_the_loss_is_that_of_the_logits_in_float32(monkeypatch):
    monkeypatch.setattr(MapFaithfulness, "_masked", lambda _self, images, _maps, _choices: images)
    network, (images, labels) = smooth_network().float(), batch()
    regularizer = MapFaithfulness(target_layer=LAYER, sufficiency_weight=1.0, necessity_weight=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        step = Objective(regularizer, 1.0)(network, images.float(), labels)
    assert step.logits.dtype == torch.bfloat16
    torch.testing.assert_close(step.regularization, F.cross_entropy(step.logits.float(), labels), rtol=1e-6, atol=0)


def test_masks_are_not_rounded_under_autocast(monkeypatch):
    seen = []
    masked = MapFaithfulness._masked

    def watch(self, *given):
        seen.append((given, masked(self, *given)))
        return seen[-1][1]

    monkeypatch.setattr(MapFaithfulness, "_masked", watch)
    network, (images, labels) = smooth_network().float(), batch()
    regularizer = MapFaithfulness(target_layer=LAYER, blurred_backgrounds=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        Objective(regularizer)(network, images.float(), labels)
    ((given, found),) = seen
    assert found.dtype == torch.float32
    assert torch.equal(found, masked(regularizer, *given))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sufficiency_weight": -1.0}, "`sufficiency_weight`: expected a finite number of at least 0, got -1.0"),
        ({"necessity_weight": math.inf}, "`necessity_weight`: expected a finite number of at least 0, got inf"),
        ({"sufficiency_weight": 0.0, "necessity_weight": 0.0}, "`sufficiency_weight`: expected it or `necessity_we"),
        ({"sufficiency_target": "class"}, "`sufficiency_target`: expected label or prediction, got 'class'"),
        ({"swapped": 1.5}, r"`swapped`: expected a fraction in \[0, 1\], got 1.5"),
        ({"soft_masks": -0.1}, r"`soft_masks`: expected a fraction in \[0, 1\], got -0.1"),
        ({"blurred_backgrounds": 2}, r"`blurred_backgrounds`: expected a fraction in \[0, 1\], got 2"),
        ({"sufficiency_fractions": (0.0, 0.5)}, "`sufficiency_fractions`: expected two rising fractions between 0"),
        ({"necessity_fractions": (0.6, 0.5)}, r"`necessity_fractions`: expected two .*, got \(0.6, 0.5\)"),
        ({"necessity_fractions": (0.6,)}, r"`necessity_fractions`: expected two .*, got \(0.6,\)"),
        ({"sharpness": 0.0}, "`sharpness`: expected a positive, finite number, got 0.0"),
        ({"method": "input_gradient"}, "`method`: MapFaithfulness needs a map at a layer"),
        ({"method": "score_cam"}, "`method`: score_cam cannot be trained through"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MapFaithfulness(**settings)
