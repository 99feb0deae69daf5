from __future__ import annotations

import urllib.error
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.core.files import write_tensors
from igcam.models import weights as weights_module
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.weights import read_weights, use_v1_strides

SHARED = Path(__file__).parents[2].parent / "shared" / "weights" / "resnet50_imagenet_v1.safetensors"
V1 = {"stride": "v1: in layer2.0, layer3.0 and layer4.0 the stride sits in conv1"}


def network(name: str, **arguments: object) -> nn.Module:
    torch.manual_seed(1)
    return timm.create_model(name, **arguments).eval()


def save(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    write_tensors(folder / "weights.safetensors", tensors, metadata)
    return folder / "weights.safetensors"


def load(path: Path, name: str = "resnet10t", **options: object) -> Backbone:
    return build_backbone(BackboneOptions(name, weights=path, **options))  # type: ignore[arg-type]


def test_half_precision_convolutions_become_float32(tmp_path):
    source = network("resnet10t")
    state = {name: tensor.half() if tensor.ndim == 4 else tensor for name, tensor in source.state_dict().items()}
    backbone = load(save(tmp_path, state))
    assert all(parameter.dtype == torch.float32 for parameter in backbone.parameters())
    assert torch.equal(backbone.network.layer4[0].conv1.weight, state["layer4.0.conv1.weight"].float())
    assert torch.equal(backbone.network.bn1.running_var, state["bn1.running_var"])


def test_the_classifier_of_the_file_is_ignored_and_may_be_absent(tmp_path):
    state = network("resnet10t").state_dict()
    assert "fc.weight" in state
    headless = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    assert load(save(tmp_path / "a", state)).key == load(save(tmp_path / "b", headless)).key


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "vit_tiny_patch16_224"])
def test_files_as_timm_saves_them_load(tmp_path, name):
    arguments = {"depth": 2} if name.startswith("vit") else {}
    source = network(name, **arguments)
    backbone = load(save(tmp_path, source.state_dict()), name, arguments=arguments)
    kept = backbone.network.state_dict()
    assert kept
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in kept.items())


def test_position_embeddings_are_resampled(tmp_path):
    source = network("vit_tiny_patch16_224", depth=1)
    path = save(tmp_path, source.state_dict())
    backbone = load(path, "vit_tiny_patch16_224", arguments={"depth": 1, "img_size": 64})
    assert backbone.network.pos_embed.shape == (1, 1 + 16, 192)


def test_missing_tensors_are_named_up_to_five(tmp_path):
    state = network("resnet10t").state_dict()
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("layer4")}
    with pytest.raises(IgcamError) as error:
        load(save(tmp_path, kept))
    message = str(error.value)
    assert "is not a file of weights of resnet10t: lacks layer4.0.conv1.weight, layer4.0.bn1.weight" in message
    assert message.count("layer4.") == 5
    assert "more" in message
    assert "\n" not in message


def test_a_deeper_network_of_the_same_shapes_is_refused(tmp_path):
    path = save(tmp_path, network("resnet18").state_dict())
    with pytest.raises(IgcamError, match=r"weights of resnet10t: "):
        load(path)
    state = network("resnet10t").state_dict()
    extra = {name.replace("layer4.0", "layer4.1"): tensor.clone() for name, tensor in state.items()}
    with pytest.raises(IgcamError, match=r"has also layer4\.1\.bn1\.bias, .* more"):
        load(save(tmp_path, {**state, **extra}))


def test_another_shape_is_refused(tmp_path):
    state = dict(network("resnet10t").state_dict())
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    with pytest.raises(IgcamError, match=r"shape of layer1.0.conv1.weight \(64, 64, 1, 1\), not \(64, 64, 3, 3\)"):
        load(save(tmp_path, state))


def test_pickles_are_refused_with_a_conversion_that_works(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    torch.save({"state_dict": network("resnet10t").state_dict()}, path)
    with pytest.raises(IgcamError, match=r"net.pth: weights are read from .safetensors only") as error:
        load(path)
    assert "\n" not in str(error.value)
    monkeypatch.chdir(tmp_path)
    program = str(error.value).split('python -c "')[1].rstrip('"')
    exec(program, {})
    assert load(tmp_path / "net.safetensors").name == "resnet10t"


def test_files_that_are_missing_or_damaged(tmp_path):
    with pytest.raises(IgcamError, match=r"none\.safetensors: cannot be read"):
        load(tmp_path / "none.safetensors")
    path = save(tmp_path, network("resnet10t").state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IgcamError, match="is not a whole safetensors file"):
        load(path)


def v1_block(block: nn.Module, x: Tensor) -> Tensor:
    """A bottleneck block whose stride of 2 is in the first convolution, written out."""
    out = F.conv2d(x, block.conv1.weight, stride=2)
    out = F.conv2d(block.bn1(out).relu(), block.conv2.weight, padding=1)
    out = F.conv2d(block.bn2(out).relu(), block.conv3.weight)
    shortcut = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2))
    return (block.bn3(out) + shortcut).relu()


def test_v1_files_stride_in_the_first_convolution(tmp_path):
    source = network("resnet26", zero_init_last=False)
    backbone = load(save(tmp_path, source.state_dict(), V1), "resnet26", output_stride=32)
    x = torch.rand(1, 3, 64, 64)
    middle = backbone.trunk(x, 1)
    for layer in (source.layer2, source.layer3, source.layer4):
        middle = layer[1](v1_block(layer[0], middle))
    torch.testing.assert_close(backbone(x)[0], middle, rtol=1e-4, atol=1e-5)
    later = load(save(tmp_path, source.state_dict()), "resnet26", output_stride=32)
    assert not torch.allclose(later(x)[0], middle, rtol=1e-2)
    assert later.key != backbone.key


@pytest.mark.parametrize("stride", [8, 16])
def test_v1_files_keep_their_values_under_a_finer_stride(tmp_path, stride):
    path = save(tmp_path, network("resnet26", zero_init_last=False).state_dict(), V1)
    x = torch.rand(1, 3, 64, 64)
    coarse = load(path, "resnet26", output_stride=32)(x)[0]
    fine = load(path, "resnet26", output_stride=stride)(x)[0]
    step = 32 // stride
    assert fine.shape[2] == 64 // stride
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, rtol=1e-4, atol=1e-5)


def test_v1_files_need_bottleneck_blocks(tmp_path):
    path = save(tmp_path, network("resnet10t").state_dict(), V1)
    with pytest.raises(IgcamError, match="only a ResNet of bottleneck blocks"):
        load(path)
    assert not use_v1_strides(network("convnext_atto"))


@pytest.mark.skipif(not SHARED.exists(), reason="no weights beside the checkout")
def test_the_shared_imagenet_file_loads():
    _, metadata = read_weights(SHARED)
    assert metadata["stride"].startswith("v1")
    backbone = load(SHARED, "resnet50")
    first = backbone.network.layer4[0]
    assert (first.conv1.stride, first.conv2.stride, first.conv2.dilation) == ((1, 1), (1, 1), (2, 2))
    assert backbone.network.layer3[0].conv1.stride == (2, 2)
    with torch.inference_mode():
        feature = backbone(torch.rand(1, 3, 64, 64))[0]
    assert feature.shape == (1, 2048, 4, 4)
    assert feature.isfinite().all()


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route"),
        TimeoutError("timed out"),
        RuntimeError("No pretrained weights exist for resnet10t."),
        FileNotFoundError("cannot find the requested files\nin the local cache"),
    ],
)
def test_a_failing_download_is_one_line(monkeypatch, failure):
    create = timm.create_model
    offline = []

    def fail(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
        if not pretrained:
            return create(name, pretrained=False, **arguments)
        offline.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        raise failure

    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.setattr(weights_module, "_reachable", lambda address: False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(IgcamError, match=r"^resnet10t: its pretrained weights cannot be fetched") as error:
        build_backbone(BackboneOptions("resnet10t"))
    assert "--weights FILE" in str(error.value)
    assert "\n" not in str(error.value)
    assert offline == [True]
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_without_a_network_the_hub_is_not_asked_again_and_again(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IgcamError, match="resnet10t: its pretrained weights cannot be fetched"):
        build_backbone(BackboneOptions("resnet10t"))


def test_a_download_that_works_is_passed_through(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(weights_module, "_reachable", lambda address: True)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **arguments: create(name, **arguments))
    assert build_backbone(BackboneOptions("resnet10t")).name == "resnet10t"
