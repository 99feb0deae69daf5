from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from igcam.core.errors import IgcamError
from igcam.label_quality.suspicion import fit_noise_model
from igcam.label_quality.tag_scores import AuditOptions, TagScores, neighbour_scores, score_tags, top_mean

Array = np.ndarray
FAST = AuditOptions(penalties=(0.1, 0.02), repeats=2)


def images(count: int = 120, seed: int = 0) -> tuple[Array, Array, Array]:
    """Return maps (n, 12, 6, 6), true tags (n, 2) and tags with eight wrong ones; class 1 is small in its images."""
    random = np.random.default_rng(seed)
    tags = (random.uniform(size=(count, 2)) < 0.4).astype(float)
    maps = random.uniform(size=(count, 12, 6, 6))
    maps[:, 0] += 0.8 * tags[:, 0, None, None]
    maps[:, 1, :2, :2] += 4 * tags[:, 1, None, None]
    changed = tags.copy()
    for image, c in ((3, 0), (17, 0), (40, 0), (77, 0), (5, 1), (21, 1), (60, 1), (99, 1)):
        changed[image, c] = 1 - changed[image, c]
    return maps, tags, changed


def test_planted_tags_are_found() -> None:
    maps, tags, changed = images()
    scores = score_tags(maps.mean(axis=(2, 3)), changed, maps.__getitem__, FAST)
    found = fit_noise_model(scores.kinds(), changed)
    top = np.argsort(-found.log_odds, axis=None)[:8]
    assert (changed != tags).ravel()[top].sum() >= 7
    assert found.log_odds.shape == (120, 2)


def test_an_image_does_not_see_its_own_tag() -> None:
    maps, _, changed = images()
    average = maps.mean(axis=(2, 3))
    options = AuditOptions(penalties=(0.05,), repeats=1)
    before = score_tags(average, changed, maps.__getitem__, options)
    turned = changed.copy()
    turned[3] = 1 - turned[3]
    after = score_tags(average, turned, maps.__getitem__, options)
    assert after.locations is not None
    assert before.locations is not None
    np.testing.assert_allclose(after.logits[3], before.logits[3], atol=1e-5)
    np.testing.assert_allclose(after.locations[3], before.locations[3], atol=1e-4)
    assert np.abs(after.logits - before.logits).max() > 1e-2


def test_locations_are_optional() -> None:
    maps, _, changed = images()
    scores = score_tags(maps.mean(axis=(2, 3)), changed, options=FAST)
    assert scores.locations is None
    assert len(fit_noise_model(scores.kinds(), changed).slopes) == 2


def test_more_features_than_images_change_nothing() -> None:
    maps, _, changed = (item[:40] for item in images())
    average = maps.mean(axis=(2, 3))
    # Columns of a constant vanish when centred, and make 60 features of 12.
    wide = np.hstack([average, np.full((40, 48), 0.5)])
    options = AuditOptions(penalties=(0.05,), repeats=1, folds=4)
    narrow, rotated = (score_tags(item, changed, options=options).logits for item in (average, wide))
    np.testing.assert_allclose(rotated, narrow, atol=1e-5)


def test_the_top_tenth_is_averaged() -> None:
    assert top_mean(np.arange(20.0)[None]) == pytest.approx([18.5])
    assert top_mean(np.array([[3.0, 7.0]])) == pytest.approx([7.0])


def test_neighbours_are_found_by_hand() -> None:
    features = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    tags = np.array([[1.0], [1.0], [0.0], [0.0]])
    odds = neighbour_scores(features, tags, neighbours=1)
    # One neighbour, and the share of all as another: (1 + 0.5) / 2 and (0 + 0.5) / 2.
    np.testing.assert_allclose(odds[:, 0], [logit(0.75)] * 2 + [logit(0.25)] * 2)
    np.testing.assert_allclose(neighbour_scores(features, tags, 1, chunk=3), odds)


def test_an_image_is_not_its_own_neighbour() -> None:
    random = np.random.default_rng(0)
    features, tags = random.standard_normal((30, 4)), (random.uniform(size=(30, 2)) < 0.3).astype(float)
    turned = tags.copy()
    turned[4] = 1 - turned[4]
    shift = neighbour_scores(features, turned)[4] - neighbour_scores(features, tags)[4]
    # Only the share of all images knows of it, by 1 / 30 of one neighbour in eleven.
    assert np.abs(shift).max() < 0.1
    with pytest.raises(ValueError, match="neighbours"):
        neighbour_scores(np.zeros((1, 2)), np.zeros((1, 1)))


def test_a_typical_score_is_the_median_of_tagged_images() -> None:
    logits, locations = np.array([[1.0], [2.0], [6.0], [9.0]]), np.array([[3.0], [0.0], [5.0], [1.0]])
    tags = np.array([[1], [0], [1], [1]])
    np.testing.assert_array_equal(TagScores(logits, logits, locations, 1.0).typical(tags), [3.0])
    np.testing.assert_array_equal(TagScores(logits, logits, None, 1.0).typical(tags), [6.0])


def test_options_are_checked() -> None:
    with pytest.raises(IgcamError, match="penalties"):
        AuditOptions(penalties=(0.0,))
    with pytest.raises(IgcamError, match="folds"):
        AuditOptions(folds=1)
