"""Control maps against values by hand; which image lends which its map; names."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from camtrain.attributions import InputGradient
from camtrain.cams import GradCAM, normalize, resize
from camtrain.controls import CenterMap, RandomMap, ShuffledMap, UniformMap, content_seeds, donors, random_maps
from camtrain.gradients import Against, Contrast
from camtrain.methods import (
    CONTROLS,
    METHODS,
    control_names,
    control_of,
    image_maps,
    is_control,
    is_differentiable,
    method_named,
    method_names,
    method_title,
    methods_named,
    normalized_maps,
)
from camtrain.networks import CIFARResNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=5, width=4).eval()


def test_a_uniform_map_is_one_everywhere(network):
    images = torch.rand(2, 3, 4, 6)
    assert torch.equal(image_maps(network, images, "uniform"), torch.ones(2, 4, 6))
    assert UniformMap(network)(images.bfloat16()).dtype == torch.float32
    assert UniformMap(network)(images.double()).dtype == torch.float64


def test_a_centered_gaussian_by_hand(network):
    found = image_maps(network, torch.rand(2, 3, 4, 8), "center")
    for y in range(4):
        for x in range(8):
            # σ is 1 pixel from top to bottom, and 2 from left to right.
            expected = math.exp(-((y - 1.5) ** 2) / 2 - (x - 3.5) ** 2 / 8)
            assert found[:, y, x].tolist() == pytest.approx([expected] * 2)
    wide = CenterMap(network, sigma=0.5)(torch.rand(1, 3, 3, 3))
    assert float(wide[0, 1, 1]) == 1
    assert float(wide[0, 0, 0]) == pytest.approx(math.exp(-2 / (2 * 1.5**2)))
    with pytest.raises(ValueError, match="`sigma`: expected a positive fraction"):
        CenterMap(network, sigma=0)


def test_noise_is_smooth_and_each_image_s_own(network):
    images = torch.rand(3, 3, 28, 14)
    maps = image_maps(network, images, "random")
    grid = torch.rand(7, 7, generator=torch.Generator().manual_seed(content_seeds(images)[1]))
    assert torch.equal(maps[1:2], normalize(resize(grid[None], (28, 14))))
    assert maps.flatten(1).aminmax(dim=1).min.tolist() == [0] * 3
    assert maps.flatten(1).aminmax(dim=1).max.tolist() == pytest.approx([1] * 3)
    assert torch.equal(random_maps(images[[2, 0]]), maps[[2, 0]])
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps, RandomMap(network, seed=1)(images))
    assert torch.equal(RandomMap(network, seed=1)(images), image_maps(network, images, "random", seed=1))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    random_maps(images)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_do_not_depend_on_classes_batches_or_passes(network, name):
    images, runs = torch.rand(5, 3, 8, 8), [0]
    network.register_forward_pre_hook(lambda module, inputs: runs.__setitem__(0, runs[0] + 1))
    whole = image_maps(network, images, name)
    assert torch.equal(whole, image_maps(network, images, name, 3, max_batch=2))
    assert runs == [0]
    assert 0 <= float(whole.min()) < 1 + 1e-6
    assert image_maps(network, images[:0], name).shape == (0, 8, 8)


@pytest.mark.parametrize("classes", [[0, 1], [0, 0], [0, 1, 2], [0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1, 2, 3, 3, 0],
                                     [4, 4, 4, 4, 4, 1, 2], [*range(6)] * 3])  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_every_image_lends_once_and_to_another_of_another_class_where_possible(classes, seed):
    classes = torch.tensor(classes)
    found = donors(classes, seed)
    count, largest = len(classes), int(classes.bincount().max())
    assert sorted(found.tolist()) == list(range(count))
    assert not bool((found == torch.arange(count)).any())
    # The others have only so many images to lend to the largest class, and need none of their own.
    assert int((classes[found] == classes).sum()) == max(0, 2 * largest - count)
    assert torch.equal(found, donors(classes, seed))


def test_the_seed_decides_who_lends():
    classes = torch.arange(8) % 4
    assert len({tuple(donors(classes, seed).tolist()) for seed in range(8)}) > 4
    assert len(donors(classes[:0])) == 0
    with pytest.raises(ValueError, match="`images`: expected at least two"):
        donors(classes[:1])


@pytest.mark.parametrize("name", ["grad_cam", "input_gradient"])
def test_a_shuffled_map_is_that_of_another_image(network, name):
    images = torch.rand(5, 3, 16, 16)
    classes = torch.tensor([0, 0, 1, 1, 2])
    maps = image_maps(network, images, name, classes)
    found = image_maps(network, images, f"shuffled_{name}", classes, seed=2)
    assert torch.equal(found, maps[donors(classes, 2)])
    # In one call the maps are shuffled over all parts.
    in_parts = image_maps(network, images, f"shuffled_{name}", classes, max_batch=2, seed=2)
    torch.testing.assert_close(in_parts, found, rtol=1e-3, atol=1e-4)
    built = method_named(f"shuffled_{name}", network, seed=2)
    torch.testing.assert_close(normalized_maps(built, images, classes), found)


def test_without_classes_the_predicted_ones_are_kept_apart(network):
    images = torch.rand(4, 3, 16, 16)
    predicted = network(images).argmax(dim=1)
    shuffled = ShuffledMap(GradCAM(network))
    torch.testing.assert_close(shuffled(images), GradCAM(network)(images)[donors(predicted)])
    assert shuffled.classes(images, Contrast(2, 3)).tolist() == [2] * 4
    assert torch.equal(shuffled.classes(images, Against()), predicted)
    with pytest.raises(ValueError, match="`images`: expected at least two"):
        image_maps(network, images[:1], "shuffled_grad_cam")


def test_names():
    assert method_names("all") == list(METHODS)
    assert not any(is_control(name) for name in METHODS)
    assert method_names("center, shuffled_layer_cam") == ["center", "shuffled_layer_cam"]
    assert control_names("shuffled,uniform", ["grad_cam", "center"]) == ["shuffled_grad_cam", "uniform"]
    assert control_names((), ["grad_cam"]) == []
    assert method_title("random") == "random map"
    for name in (*CONTROLS, "shuffled_grad_cam"):
        with pytest.raises(ValueError, match="`method`: none is called"):
            is_differentiable(name)
    for name in ("shuffled_gradcam", "uniformly"):
        with pytest.raises(ValueError, match="`methods`: none is called"):
            method_names(name)
    with pytest.raises(ValueError, match="`controls`: none is called 'shufled'; did you mean 'shuffled'"):
        control_of("shufled", "grad_cam")


def test_options_of_other_methods_are_ignored(network):
    made = methods_named("center,random,shuffled_input_gradient", network, "layer2", max_batch=3, seed=5, sigma=0.1)
    assert made["center"].sigma == 0.1
    assert made["random"].seed == made["shuffled_input_gradient"].seed == 5
    assert isinstance(made["shuffled_input_gradient"].method, InputGradient)
    with pytest.raises(TypeError, match="`max_bach`: no method has an option of that name"):
        method_named("center", network, max_bach=3)
    with pytest.raises(ValueError, match="`method`: expected a method for `network`"):
        image_maps(nn.Identity(), torch.rand(1, 3, 4, 4), made["center"])
