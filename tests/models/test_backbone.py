from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F

from igcam.core.errors import IgcamError
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone

# Name, arguments that make it small, stride by default, multiple that sides are resized to.
FAMILIES = [
    ("resnet10t", {}, 16, 1),
    ("resnet50", {"layers": (1, 1, 1, 1)}, 16, 1),
    ("convnext_atto", {}, 16, 16),
    ("efficientnet_b0", {}, 16, 1),
    ("mobilenetv3_small_050", {}, 32, 1),
    ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 2, 1)}, 32, 32),
    ("vit_tiny_patch16_224", {"depth": 2}, 16, 16),
    ("vit_small_patch14_dinov2", {"depth": 2}, 14, 14),
    ("vit_small_patch16_dinov3", {"depth": 2}, 16, 16),
    ("vit_base_patch16_clip_224", {"depth": 2}, 16, 16),
]


def build(name: str = "resnet10t", **options: object) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneOptions(name, pretrained=False, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "arguments", "stride", "multiple"), FAMILIES)
def test_every_family_gives_nchw_maps_of_any_image(name, arguments, stride, multiple):
    backbone = build(name, levels=(-2, -1), arguments=arguments)
    images = torch.rand(2, 3, 40, 53)
    # Nothing cached in inference mode may stand in the way of training later.
    with torch.inference_mode():
        maps = backbone(images)
    assert backbone.strides[-1] == stride
    assert backbone.multiple == multiple
    assert not backbone.training
    for feature, channels, cell in zip(maps, backbone.channels, backbone.strides, strict=True):
        sides = [-(-side // multiple) * multiple for side in (40, 53)]
        assert feature.shape[:2] == (2, channels)
        assert all(side // cell <= got <= -(-side // cell) for side, got in zip(sides, feature.shape[2:], strict=True))
        assert feature.isfinite().all()
    backbone.train()
    backbone(images)[-1].square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "efficientnet_b0"])
def test_families_with_dilation_have_three_output_strides(name):
    for stride in (8, 16, 32):
        backbone = build(name, output_stride=stride)
        assert backbone.strides == (stride,)
        assert backbone(torch.rand(1, 3, 64, 96))[0].shape[2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_finer_stride_holds_every_value_of_the_coarse_one(stride):
    images = torch.rand(1, 3, 64, 64)
    arguments = {"zero_init_last": False}
    coarse = build("resnet26", output_stride=32, arguments=arguments)(images)[0]
    fine = build("resnet26", output_stride=stride, arguments=arguments)(images)[0]
    step = 32 // stride
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "stride", "possible", "arguments"),
    [
        ("resnet10t", 12, "8, 16, 32", {}),
        ("efficientnet_b0", 14, "8, 16, 32", {}),
        ("vit_small_patch14_dinov2", 16, "14", {"depth": 1}),
        ("swin_tiny_patch4_window7_224", 16, "32", {"depths": (1, 1, 1, 1)}),
        ("mobilenetv3_small_050", 16, "32", {}),
    ],
)
def test_an_impossible_stride_is_refused_with_the_possible_ones(name, stride, possible, arguments):
    with pytest.raises(IgcamError, match=rf"^{name}: cannot have output stride {stride}, only {possible}$"):
        build(name, output_stride=stride, arguments=arguments)


def test_a_resnet_sees_normalised_images():
    backbone = build("resnet10t", output_stride=32)
    torch.manual_seed(0)
    plain = timm.create_model("resnet10t", num_classes=0).eval()
    images = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = plain.forward_features((images - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(backbone(images)[0], expected)


def test_a_transformers_tokens_lie_where_their_patches_are():
    backbone = build("vit_tiny_patch16_224", arguments={"depth": 2})
    torch.manual_seed(0)
    plain = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=0).eval()
    images = torch.rand(1, 3, 224, 224)
    tokens = plain.forward_features((images - 0.5) / 0.5)[:, 1:]
    torch.testing.assert_close(backbone(images)[0].flatten(2).mT, tokens, rtol=1e-4, atol=1e-5)


def test_images_are_resized_up_to_whole_patches():
    backbone = build("vit_small_patch14_dinov2", arguments={"depth": 1})
    images = torch.rand(1, 3, 60, 56)
    resized = F.interpolate(images, (70, 56), mode="bilinear", align_corners=False)
    assert torch.equal(backbone(images)[0], backbone(resized)[0])
    assert backbone(images)[0].shape == (1, 384, 5, 4)


def test_levels_come_shallow_to_deep_whatever_their_order():
    backbone = build("resnet10t", levels=(-1, 1, 2, 4))
    assert backbone.levels == (1, 2, 4)
    assert backbone.strides == (4, 8, 16)
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [tuple(feature.shape[1:]) for feature in maps] == [(64, 16, 16), (128, 8, 8), (512, 4, 4)]


@pytest.mark.parametrize("levels", [(), (5,), (-6, -1)])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(IgcamError, match=r"resnet10t: levels must be among its stages 0..4 or -5..-1"):
        build("resnet10t", levels=levels)


def test_a_wrong_name_is_refused_with_near_ones():
    with pytest.raises(IgcamError, match="resnet10x: timm has no network of this name"):
        build("resnet10x")
    with pytest.raises(IgcamError, match=r"resnet10t: .*unexpected keyword argument 'bogus'"):
        build("resnet10t", arguments={"bogus": 1})
    with pytest.raises(IgcamError, match="Invalid pretrained tag"):
        build("resnet10t.bogus")


def test_a_network_of_one_size_says_so():
    backbone = build("beit_base_patch16_224", arguments={"depth": 1})
    with pytest.raises(IgcamError, match="cannot take images of 64x64"):
        backbone(torch.rand(1, 3, 64, 64))
    fitting = build("beit_base_patch16_224", arguments={"depth": 1, "img_size": 64})
    assert fitting(torch.rand(1, 3, 64, 64))[0].shape == (1, 768, 4, 4)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8)]
)
def test_images_of_another_kind_are_refused(images):
    with pytest.raises(ValueError, match=r"images must be float \(N, 3, H, W\)"):
        build()(images)


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4, -2, -1])
def test_the_tail_goes_on_where_the_trunk_stopped(level):
    backbone = build()
    images = torch.rand(1, 3, 48, 40)
    middle = backbone.trunk(images, level)
    torch.testing.assert_close(backbone.tail(middle, level), backbone(images)[-1])


def test_other_families_split_at_the_end_only():
    backbone = build("convnext_atto")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(backbone.tail(backbone.trunk(images)), backbone(images)[0])
    for split in (backbone.trunk, backbone.tail):
        with pytest.raises(IgcamError, match="convnext_atto: cannot be split at level -2"):
            split(images, -2)
        with pytest.raises(IgcamError, match=r"level 4 is not one of its stages -4..3"):
            split(images, 4)


def test_the_key_tells_apart_whatever_changes_the_features():
    backbone = build()
    keys = {
        backbone.key,
        build(output_stride=32).key,
        build(levels=(3, 4)).key,
        build(arguments={"zero_init_last": False}).key,
        build("resnet18").key,
    }
    assert len(keys) == 5
    assert build().key == backbone.key
    next(backbone.network.parameters()).data[0, 0, 0, 0] += 1e-3
    assert backbone.key not in keys


def test_the_key_follows_batch_norm_statistics():
    backbone = build().train()
    before = backbone.key
    backbone(torch.rand(2, 3, 32, 32))
    assert backbone.key != before


def test_many_images_are_taken_in_passes_that_give_the_same(monkeypatch):
    backbone = build_backbone(BackboneOptions("resnet10t", pretrained=False, levels=(-2, -1)))
    images = torch.rand(5, 3, 64, 48)
    sizes = []
    backbone.network.conv1.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    with torch.no_grad():
        whole = backbone(images)
    monkeypatch.setattr("igcam.models.backbone.PASS_PIXELS", 2 * 64 * 48 + 1)
    with torch.inference_mode():
        parts = backbone(images)
    assert sizes == [5, 2, 2, 1]
    for expected, found in zip(whole, parts, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
