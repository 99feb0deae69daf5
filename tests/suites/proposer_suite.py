"""What every kind of proposals must do; a subclass names it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from igcam.proposals.segments import Proposer, overlaps


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo of 48 x 64 pixels with a red disc and a blue block on green, features of 12 x 16, and both objects."""
    rows, columns = np.indices((48, 64))
    disc = (rows - 18) ** 2 + (columns - 18) ** 2 <= 121
    block = (rows >= 16) & (rows < 40) & (columns >= 40) & (columns < 56)
    image = np.zeros((48, 64, 3), np.uint8)
    image[...] = [40, 150, 60]
    image[disc], image[block] = [200, 40, 40], [40, 60, 200]
    noise = np.random.default_rng(0).integers(-6, 7, image.shape)
    image = (image.astype(int) + noise).clip(0, 255).astype(np.uint8)
    shares = [layer.reshape(12, 4, 16, 4).mean(axis=(1, 3)) for layer in (~(disc | block), disc, block)]
    feature = np.stack([*shares, np.full((12, 16), 0.2)]).astype(np.float32)
    return image, feature, np.stack([disc, block])


class ProposerSuite:
    """Subclass it, and set `propose` and what is needed."""

    propose: ClassVar[Proposer]
    needs_feature: ClassVar[bool] = False
    least_overlap: ClassVar[float] = 0.9

    def test_both_objects_are_found(self) -> None:
        image, feature, objects = scene()
        masks = type(self).propose(image, feature).masks
        rows, columns = masks.shape[1:]
        at_grid = objects.reshape(2, rows, 48 // rows, columns, 64 // columns).mean(axis=(2, 4)) > 0.5
        assert overlaps(at_grid, masks).max(axis=1).min() > self.least_overlap

    def test_segments_are_fit_and_no_duplicates(self) -> None:
        image, feature, _ = scene()
        found = type(self).propose(image, feature)
        assert 2 <= len(found) <= 300
        area = found.masks.mean(axis=(1, 2))
        assert area.min() >= 0.01
        assert area.max() <= 0.9
        assert overlaps(found.masks, found.masks)[~np.eye(len(found), dtype=bool)].max() <= 0.9
        assert (np.diff(found.scores) <= 0).all()

    def test_the_same_photo_gives_the_same_segments(self) -> None:
        image, feature, _ = scene()
        first, other = (type(self).propose(image.copy(), feature.copy()) for _ in range(2))
        np.testing.assert_array_equal(first.masks, other.masks)

    def test_without_features(self) -> None:
        image, _, _ = scene()
        if self.needs_feature:
            with pytest.raises(ValueError, match=r"^feature: .* goes by features, got None$"):
                type(self).propose(image, None)
        else:
            assert len(type(self).propose(image, None)) >= 2

    def test_an_even_photo_is_no_trouble(self) -> None:
        found = type(self).propose(np.full((20, 30, 3), 90, np.uint8), np.ones((3, 5, 6), np.float32))
        assert found.masks.dtype == bool
