from __future__ import annotations

import numpy as np
import pytest
import torch

from igcam.core.errors import IgcamError
from igcam.data.images import save_png
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.image_prior import ImagePrior, Tagger
from igcam.models.reduction import fit_reduction
from igcam.models.segmenter import Encoder, Segmenter, SegmenterOptions
from igcam.models.views import View


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneOptions("resnet10t", pretrained=False, levels=(1, 3, 4)))
    return Encoder(backbone, (4, 8, 8)).eval()


def segmenter(encoder: Encoder) -> Segmenter:
    torch.manual_seed(1)
    return Segmenter(encoder, SegmenterOptions(components=(4, 8, 8), width=32), 3).eval()


@torch.no_grad()
def test_the_projections_are_the_reduction(encoder: Encoder) -> None:
    images = torch.rand(1, 3, 64, 64)
    levels = encoder.backbone(images)
    locations = [level[0].flatten(1).T.numpy() for level in levels]
    reduction = fit_reduction(locations, encoder.channels)
    encoder.use_reduction(reduction)
    for level, found, index in zip(levels, encoder(images), range(3), strict=True):
        flat = level[0].flatten(1).T
        expected = (flat - reduction.means[index]) @ reduction.projections[index]
        torch.testing.assert_close(found[0].flatten(1).T, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_key_follows_the_projections_and_the_backbone(encoder: Encoder) -> None:
    before = encoder.key
    assert encoder.key == before
    encoder.projections[2].bias[0] += 1
    changed = encoder.key
    encoder.projections[2].bias[0] -= 1
    assert changed != before
    first = next(encoder.backbone.parameters())
    first += 1
    assert encoder.key not in (before, changed)
    first -= 1


@torch.no_grad()
def test_a_feature_bank_keeps_the_reduced_levels(encoder: Encoder, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    save_png(tmp_path / "photo.png", pixels)
    bank = FeatureBank(tmp_path / "bank", encoder, (View(64), View(64, flip=True)))
    bank.fill([tmp_path / "photo.png"])
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    for view, given in zip(bank.views, (images, images.flip(-1)), strict=True):
        for kept, computed in zip(bank.read(tmp_path / "photo.png", view), encoder(given), strict=True):
            np.testing.assert_allclose(kept, computed[0].numpy(), rtol=2e-2, atol=2e-2)


@torch.no_grad()
def test_what_the_last_level_says_as_a_whole_takes_part_in_every_place(encoder: Encoder) -> None:
    model, images = segmenter(encoder), torch.rand(2, 3, 64, 64)
    before = model(images)
    heads = [Tagger(torch.randn(3, encoder.backbone.channels[-1]), torch.randn(3)) for _ in range(2)]
    model.prior = ImagePrior(heads[0], 0.7, heads[1], 0.6)
    expected = ImagePrior(heads[0], 0.7, heads[1], 0.6)(before, encoder.backbone(images)[-1])
    assert (expected - before).abs().max() > 0.1
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_norms_of_the_backbone_keep_their_statistics_in_training(encoder: Encoder) -> None:
    model = segmenter(encoder).train()
    assert model.decoder.training
    assert not any(module.training for module in model.encoder.backbone.modules())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "unet"}, "decoder must be one of deeplabv3plus, upernet, fpn, segformer, got 'unet'"),
        ({"width": 48}, "width must be a multiple of 32, got 48"),
        ({"components": (8, 8)}, "components must be 3 numbers of at least 1 for deeplabv3plus"),
        ({"dropout": 1.0}, "dropout must be 0 to 0.99, got 1.0"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(IgcamError, match=message):
        SegmenterOptions(**changes)  # type: ignore[arg-type]
