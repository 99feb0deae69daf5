from __future__ import annotations

import numpy as np
import pytest

from igcam.label_quality.suspicion import audit_passes, fit_noise_model, mean_suspicion
from igcam.label_quality.tag_scores import AuditOptions, score_tags

Array = np.ndarray
OPTIONS = AuditOptions(penalties=(0.05,), repeats=1)


def images(seed: int, count: int = 160, noise: float = 1.2) -> tuple[Array, Array, Array]:
    """Return features (n, 8), true tags (n, 2) and tags of which every eighth is wrong."""
    random = np.random.default_rng(seed)
    tags = (random.uniform(size=(count, 2)) < 0.5).astype(float)
    features = np.hstack([2.0 * tags, np.zeros((count, 6))]) + noise * random.normal(size=(count, 8))
    wrong = random.uniform(size=tags.shape) < 1 / 8
    return features, tags, np.abs(tags - wrong)


def test_the_first_pass_is_the_scores_alone() -> None:
    features, _, changed = images(0)
    passes = audit_passes(features, changed, options=OPTIONS, passes=1)
    scores = score_tags(features, changed, options=OPTIONS)
    expected = fit_noise_model(scores.kinds(), changed)
    np.testing.assert_array_equal(passes[0].scores.logits, scores.logits)
    mean = mean_suspicion(passes)
    np.testing.assert_array_equal(mean.log_odds, expected.log_odds)
    np.testing.assert_allclose(mean.present, expected.present, rtol=1e-9)


def test_heads_of_the_second_pass_are_trained_on_the_posterior() -> None:
    features, _, changed = images(1)
    first, second = audit_passes(features, changed, options=OPTIONS)
    posterior = np.abs(changed - 1 / (1 + np.exp(-first.suspicion.log_odds)))
    expected = score_tags(features, posterior, options=OPTIONS)
    np.testing.assert_allclose(second.scores.logits, expected.logits)
    np.testing.assert_allclose(second.suspicion.log_odds, fit_noise_model(expected.kinds(), changed).log_odds)
    mean = mean_suspicion([first, second])
    np.testing.assert_allclose(mean.log_odds, (first.suspicion.log_odds + second.suspicion.log_odds) / 2)
    assert (mean.lost, mean.added) == (first.suspicion.lost, first.suspicion.added)
    assert mean.lost != second.suspicion.lost


def test_a_second_pass_improves_the_posterior() -> None:
    """Squared error of the tag posterior, over ten sets."""
    errors = []
    for seed in range(10):
        features, tags, changed = images(seed)
        passes = audit_passes(features, changed, options=OPTIONS)
        for found in (passes[0].suspicion, mean_suspicion(passes)):
            posterior = np.abs(changed - 1 / (1 + np.exp(-found.log_odds)))
            errors.append(((posterior - tags) ** 2).mean())
    once, twice = np.array(errors).reshape(-1, 2).mean(axis=0)
    assert twice < once < ((changed - tags) ** 2).mean()


def test_the_number_of_passes_is_checked() -> None:
    with pytest.raises(ValueError, match="passes: must be at least 1, got 0"):
        audit_passes(*images(0)[::2], passes=0)
