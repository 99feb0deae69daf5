from __future__ import annotations

import numpy as np
import pytest
import torch

from igcam.models.views import View, filled_up, mean_over_views, pixels_of_views, to_pixels

CPU = torch.device("cpu")


def test_pixels_are_channels_first_and_shares() -> None:
    squares = np.zeros((2, 3, 3, 3), np.uint8)
    squares[1, 0, 2] = (255, 51, 0)
    pixels = to_pixels(squares, CPU)
    assert pixels.shape == (2, 3, 3, 3)
    assert pixels[1, :, 0, 2].tolist() == pytest.approx([1, 0.2, 0])
    assert pixels.sum() == pytest.approx(1.2)


def test_views_of_a_batch_are_what_each_view_gives_and_sizes_are_squashed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20, 30, 3), np.uint8), random.integers(0, 256, (9, 14, 3), np.uint8)]
    views = (View(8), View(8, flip=True), View(5))
    expected = [to_pixels(np.stack([view.apply(image) for image in images]), CPU) for view in views]
    apply, calls = View.apply, []
    monkeypatch.setattr(View, "apply", lambda view, image: calls.append(view) or apply(view, image))
    found = list(pixels_of_views(images, views, CPU))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert calls == [View(8), View(8), View(5), View(5)]


def test_the_mean_over_views_mirrors_those_back_that_are_mirrored() -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mean_over_views([maps, maps.flip(-1)], [False, True]), maps)
    assert torch.equal(mean_over_views([maps], [True]), maps.flip(-1))
    assert not torch.equal(mean_over_views([maps, maps.flip(-1)], [False, False]), maps)
    with pytest.raises(ValueError, match="zip"):
        mean_over_views([maps], [False, True])


def test_a_batch_is_filled_up_by_its_last_item() -> None:
    assert filled_up([1, 2], 4) == [1, 2, 2, 2]
    assert filled_up([1, 2], 2) == [1, 2]
