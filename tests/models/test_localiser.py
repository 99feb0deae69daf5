from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from igcam.cams.cam import class_activation_maps
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.localiser import Localiser, stack_levels


def backbone(levels: tuple[int, ...] = (-1,)) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneOptions("resnet10t", pretrained=False, levels=levels))


def randomised(localiser: Localiser) -> Localiser:
    torch.nn.init.normal_(localiser.head.weight)
    torch.nn.init.normal_(localiser.head.bias)
    return localiser


def test_logit_maps_are_those_of_the_head():
    localiser = randomised(Localiser(backbone(), classes=4))
    images = torch.rand(2, 3, 64, 48)
    logits = localiser(images)
    assert logits.shape == (2, 4, 4, 3)
    feature = localiser.backbone(images)[0]
    by_hand = torch.einsum("cd,ndhw->nchw", localiser.head.weight[:, :, 0, 0], feature)
    torch.testing.assert_close(logits, by_hand + localiser.head.bias.view(1, -1, 1, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(localiser.image_logits(images), logits.mean(dim=(2, 3)))
    maps = class_activation_maps(feature, localiser.head.weight, localiser.head.bias)
    torch.testing.assert_close(maps, logits.relu(), rtol=1e-4, atol=1e-4)


def test_the_average_commutes_with_the_head():
    localiser = randomised(Localiser(backbone(), classes=3))
    images = torch.rand(2, 3, 64, 64)
    pooled = localiser.backbone(images)[0].mean(dim=(2, 3))
    expected = F.linear(pooled, localiser.head.weight.flatten(1), localiser.head.bias)
    torch.testing.assert_close(localiser.image_logits(images), expected, rtol=1e-4, atol=1e-4)


def test_several_levels_feed_the_head_at_the_finest_size():
    localiser = randomised(Localiser(backbone((2, 3, 4)), classes=2, pooling="max"))
    images = torch.rand(1, 3, 64, 64)
    features = localiser.backbone(images)
    assert localiser.head.in_channels == 128 + 256 + 512
    logits = localiser.logit_maps(features)
    assert logits.shape == (1, 2, 8, 8)
    torch.testing.assert_close(localiser.image_logits(images), logits.amax(dim=(2, 3)))
    assert torch.equal(stack_levels(features)[:, :128], features[0])


def test_a_new_head_gives_zeros_and_gradients_reach_the_backbone():
    localiser = Localiser(backbone(), classes=2)
    images = torch.rand(2, 3, 32, 32)
    assert not localiser(images).any()
    randomised(localiser).image_logits(images).sum().backward()
    assert localiser.backbone.network.conv1[0].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="classes must be positive, got 0"):
        Localiser(localiser.backbone, 0)
