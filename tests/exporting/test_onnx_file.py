"""Maps in ONNX files are those of camtrain."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import nn

from camtrain import image_maps
from camtrain.exporting import FORWARD_METHODS, NetworkWithMap, onnx_file, write_onnx
from camtrain.networks import CIFARResNet, build_network
from tests.small_networks import attended, flat_head, tiny

HEAD_METHODS = FORWARD_METHODS[:-1]


def of_one_logit():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=1, width=4)


@pytest.mark.parametrize("make", [tiny, of_one_logit, lambda: build_network("timm:test_resnet", 5)])
@pytest.mark.parametrize("method", HEAD_METHODS)
def test_maps_without_a_backward_pass_are_those_with_one(make, method):
    network = make().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(4, 3, 40, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits, maps = NetworkWithMap(network, method, None, images[:2])(images)
    torch.testing.assert_close(logits, network(images))
    torch.testing.assert_close(maps, image_maps(network, images, method), rtol=0, atol=1e-5)
    assert float(maps.amax()) == 1
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_attention_map_is_put_out():
    network, images = attended().eval(), torch.randn(2, 3, 8, 8)
    _, maps = NetworkWithMap(network, "attention_map", None, images)(images)
    torch.testing.assert_close(maps, image_maps(network, images, "attention_map"))


@pytest.mark.slow
def test_channels_may_be_last():
    network = build_network("swin_t", 4).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        _, maps = NetworkWithMap(network, "grad_cam", "norm", images)(images)
    torch.testing.assert_close(maps, image_maps(network, images, "grad_cam", target_layer="norm"), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "method", "layer", "message"),
    [
        (flat_head, "grad_cam", None, "Grad-CAM of this network cannot be a part of an ONNX file.*one linear layer"),
        (tiny, "grad_cam", "layer2", "the target layer is followed by global average pooling"),
        (tiny, "attention_map", None, "has no attention head"),
        (tiny, "eigen_cam", None, "Eigen-CAM cannot be a part of an ONNX file, .*these can: cam, grad_cam"),
        (tiny, "integrated_gradients", None, "Integrated Gradients cannot be a part"),
        (tiny, "gradcam", None, "none is called 'gradcam'; did you mean 'grad_cam'"),
        (tiny, "grad_cam", "layer9", "`target_layer`: "),
    ],
)
def test_other_maps_are_refused(make, method, layer, message):
    with pytest.raises(ValueError, match=message):
        NetworkWithMap(make().eval(), method, layer, torch.randn(2, 3, 16, 16))


def test_the_file_computes_what_the_network_does(tmp_path):
    network = tiny().eval()
    write_onnx(network, (3, 24, 16), tmp_path / "model.onnx", "grad_cam")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    check(network, tmp_path / "model.onnx", "grad_cam", (24, 16))
    # What PyTorch notes for its developers: where the code is, and its lines.
    content = (tmp_path / "model.onnx").read_bytes()
    assert not [word for word in (b".py", b"self.", b"site-packages", b"camtrain/") if word in content]


def check(network, path, method, size):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(count))
        logits, *maps = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(images), rtol=1e-4, atol=1e-4)
        if method is not None:
            expected = image_maps(network, images, method)
            torch.testing.assert_close(torch.from_numpy(maps[0]), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "method", "size"),
    [
        *(
            (tiny, method, (24, 24))
            for method in ("cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam")
        ),
        (attended, "attention_map", (8, 8)),
        (of_one_logit, "grad_cam", (24, 24)),
        (flat_head, None, (16, 16)),
        (lambda: build_network("resnet18", 4), "grad_cam", (64, 64)),
        (lambda: build_network("mobilenet_v2", 4), "layer_cam", (64, 64)),
        (lambda: build_network("timm:test_resnet", 4), "grad_cam", (64, 64)),
    ],
)
def test_the_file_of_other_maps_and_networks(make, method, size, tmp_path):
    network = make().eval()
    write_onnx(network, (3, *size), tmp_path / "model.onnx", method)
    check(network, tmp_path / "model.onnx", method, size)


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    class Other(nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3))

    written = onnx_file._write
    monkeypatch.setattr(onnx_file, "_write", lambda _module, *rest: written(Other(), *rest))
    with pytest.raises(ValueError, match="`onnx`: the logits of the file differ from those of the network by"):
        write_onnx(tiny().eval(), (3, 16, 16), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_pytorch_cannot_write_is_said(tmp_path):
    class Surprising(nn.Module):
        def forward(self, images):
            return images[images > 0.5].view(len(images), -1) if images.sum() > 0 else images.flatten(1)

    with pytest.raises(ValueError, match="`onnx`: PyTorch cannot write Surprising as ONNX: "):
        write_onnx(Surprising(), (3, 4, 4), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_for_one_number_of_images_is_not_kept(tmp_path):
    class Counting(nn.Module):
        def forward(self, images):
            return images.reshape(len(images), -1)

    with pytest.raises(ValueError, match="`onnx`: PyTorch can write this network only for a fixed number of images"):
        write_onnx(Counting(), (3, 4, 4), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
