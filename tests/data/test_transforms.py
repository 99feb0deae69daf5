from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from igcam.core.errors import IgcamError
from igcam.data.transforms import AugmentOptions, PairedAugment

STILL = AugmentOptions(size=48, brightness=0, contrast=0, saturation=0, hue=0, fill=(0, 0, 255))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A ramp, and as mask the ids 0..3 of its four steps, which the image still shows after scaling."""
    ramp = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.49, width))
    image = np.repeat((ramp * 255).astype(np.uint8)[..., None], 3, 2)
    image[..., 2] = 0
    return image, (image[..., 0] // 64).astype(np.uint8)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (40, 40)])
def test_image_and_masks_stay_together(shape, seed):
    image, ids = smooth_pair(*shape)
    picture, masks = PairedAugment(STILL)(
        image, {"ids": ids, "confidence": (ids / 4).astype(np.float32)}, generator(seed)
    )
    beside = (picture[2] > 0.5).numpy()
    level = (picture[0] * 255).numpy()
    shown = masks["ids"].numpy()
    assert (shown[beside] == 255).all()
    assert not masks["confidence"][torch.from_numpy(beside)].any()
    assert (shown[~beside] <= 3).all()
    # The level of the image tells the id but for the rounding at the edge of a step.
    surely = ~beside & (np.abs(level % 64 - 32) < 24)
    assert surely.sum() > 100
    assert (level[surely] // 64 == shown[surely]).all()
    np.testing.assert_allclose(masks["confidence"].numpy()[surely], shown[surely] / 4)


def test_types_and_ranges():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    layers = {
        "ids": image[..., 0],
        "soft": np.zeros((2, 50, 70), np.float32),
        "flags": np.ones((50, 70), bool),
    }
    for options in (AugmentOptions(size=33), AugmentOptions(size=33, hue=0, flip=0)):
        picture, masks = PairedAugment(options)(image, layers, generator(1))
        assert isinstance(picture, tv_tensors.Image)
        assert picture.dtype == torch.float32
        assert picture.shape == (3, 33, 33)
        assert 0 <= picture.min() <= picture.max() <= 1
        assert all(isinstance(mask, tv_tensors.Mask) for mask in masks.values())
        assert {name: (tuple(mask.shape), mask.dtype) for name, mask in masks.items()} == {
            "ids": ((33, 33), torch.uint8),
            "soft": ((2, 33, 33), torch.float32),
            "flags": ((33, 33), torch.bool),
        }


def test_a_seed_decides_everything():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    augment = PairedAugment(AugmentOptions(size=32))
    first, again, other = (augment(image, {"m": image[..., 0]}, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1]["m"], again[1]["m"])
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(3)
    torch.testing.assert_close(augment(image)[0], first[0])


def test_masks_do_not_change_the_image():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    augment = PairedAugment(AugmentOptions(size=32))
    assert torch.equal(augment(image, None, generator(1))[0], augment(image, {"m": image[..., 0]}, generator(1))[0])


def test_nothing_to_vary_is_the_image_itself():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    options = AugmentOptions(20, (1, 1), 0, 0, 0, 0, 0, 0)
    picture, masks = PairedAugment(options)(image, {"m": image[..., 1]})
    torch.testing.assert_close(picture, torch.from_numpy(image / 255).float().permute(2, 0, 1), check_dtype=False)
    np.testing.assert_array_equal(masks["m"], image[..., 1])
    mirrored, masks = PairedAugment(AugmentOptions(20, (1, 1), 0, 1, 0, 0, 0, 0))(image, {"m": image[..., 1]})
    assert torch.equal(mirrored, picture.flip(-1))
    np.testing.assert_array_equal(masks["m"], image[:, ::-1, 1])


def test_colour_varies_the_image_only():
    image = np.random.default_rng(0).integers(60, 190, (20, 20, 3), np.uint8)
    plain = AugmentOptions(20, (1, 1), 0, 0, 0, 0, 0, 0)
    for name, value in {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}.items():
        options = AugmentOptions(**(vars(plain) | {name: value}))
        changes = []
        for seed in range(4):
            picture, masks = PairedAugment(options)(image, {"m": image[..., 1]}, generator(seed))
            np.testing.assert_array_equal(masks["m"], image[..., 1])
            changes.append(float((picture - torch.from_numpy(image / 255).permute(2, 0, 1)).abs().max()))
        assert max(changes) > 0.05, name


def test_scale_is_relative_to_the_longer_side():
    image = np.full((30, 60, 3), 200, np.uint8)
    options = AugmentOptions(40, (0.5, 0.5), 0, 0, 0, 0, 0, 0, (0, 0, 0))
    places = set()
    for seed in range(20):
        picture, _ = PairedAugment(options)(image, None, generator(seed))
        rows, columns = np.nonzero(picture[0].numpy() > 0.5)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (10, 20)
        places.add((rows.min(), columns.min()))
    assert len(places) > 10


def test_resizing_masks_takes_the_nearest_pixel():
    def resized(side, size):
        options = AugmentOptions(size=size, scale=(1, 1), stretch=0, flip=0)
        ids = np.arange(side, dtype=np.uint8)[None].repeat(side, 0)
        _, masks = PairedAugment(options)(np.zeros((side, side, 3), np.uint8), {"m": ids}, generator(0))
        return masks["m"][0].tolist()

    # Pixel centres 0.5, 1.5, 2.5 lie at 1, 3, 5 of the six, on edges; three to two tells the shift.
    assert resized(6, 3) == [1, 3, 5]
    assert resized(3, 2) == [0, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 40), st.integers(0, 10**6))
def test_any_size_fits(height, width, size, seed):
    image = np.full((height, width, 3), 9, np.uint8)
    augment = PairedAugment(AugmentOptions(size=size, scale=(0.2, 5)))
    picture, masks = augment(image, {"m": image[..., 0]}, generator(seed))
    assert picture.shape == (3, size, size)
    assert set(masks["m"].unique().tolist()) <= {9, 255}
    assert (masks["m"] == 9).any()


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"scale": (0, 1)},
        {"scale": (2, 1)},
        {"flip": 1.1},
        {"hue": 0.6},
        {"stretch": 1},
        {"contrast": -1},
    ],
)
def test_options_are_checked(options):
    (name,) = options
    with pytest.raises(IgcamError, match=f"^{name} must be"):
        AugmentOptions(**options)


def test_arrays_are_checked():
    image = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="image must be uint8"):
        PairedAugment()(image / 255)
    with pytest.raises(ValueError, match="image must be uint8"):
        PairedAugment()(image[..., 0])
    with pytest.raises(ValueError, match=r"mask 'm' must be \(4, 5\) as the image, got \(5, 4\)"):
        PairedAugment()(image, {"m": np.zeros((5, 4), np.uint8)})
