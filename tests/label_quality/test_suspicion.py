from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from igcam.label_quality.suspicion import Suspicion, fit_noise_model

Array = np.ndarray


def channel(
    lost: float, added: float, count: int = 4000, classes: int = 2, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Return scores, true tags and the tags of a table that lost some and gained some."""
    random = np.random.default_rng(seed)
    scores = 3 * random.standard_normal((count, classes)) - 2
    truth = (random.uniform(size=scores.shape) < expit(1.5 * scores)).astype(float)
    draw = random.uniform(size=scores.shape)
    return scores, truth, np.where(truth == 1, draw >= lost, draw < added).astype(float)


def test_rates_and_odds_of_a_known_channel_are_found() -> None:
    scores, truth, tags = channel(0.15, 0.04, count=20_000)
    found = fit_noise_model([scores], tags)
    assert found.lost == pytest.approx(0.15, abs=0.03)
    assert found.added == pytest.approx(0.04, abs=0.01)
    # The slope is that of the channel, 1.5, in standard deviations of the scores.
    assert found.slopes[0] == pytest.approx(1.5 * scores.std(), rel=0.15)
    probability = expit(found.log_odds)
    wrong = tags != truth
    for low, high in ((0.02, 0.2), (0.2, 0.6), (0.6, 1.0)):
        chosen = (probability >= low) & (probability < high)
        assert wrong[chosen].mean() == pytest.approx(probability[chosen].mean(), abs=0.05)


def test_odds_follow_bayes_rule() -> None:
    scores, _, tags = channel(0.1, 0.02)
    found = fit_noise_model([scores], tags)
    z = logit(found.present)
    tagged = tags == 1
    np.testing.assert_allclose(found.log_odds[tagged], np.log(found.added / (1 - found.lost)) - z[tagged], atol=1e-6)
    np.testing.assert_allclose(found.log_odds[~tagged], np.log(found.lost / (1 - found.added)) + z[~tagged], atol=1e-6)


def test_useless_scores_get_no_weight() -> None:
    scores, _, tags = channel(0.05, 0.02)
    noise = np.random.default_rng(7).standard_normal(scores.shape)
    both, reverse = fit_noise_model([scores, noise], tags), fit_noise_model([-scores], tags)
    assert both.slopes[0] > 10 * both.slopes[1]
    assert reverse.slopes[0] == 0
    assert np.isfinite(reverse.log_odds).all()


def test_missing_tags_weigh_more_where_the_channel_loses_more() -> None:
    scores, truth, tags = channel(0.2, 0.01)
    found = fit_noise_model([scores], tags)
    score = np.where(tags == 1, -1, 1) * logit(found.present)
    hits = int((tags != truth).sum())

    def precision(values: Array) -> float:
        return float((tags != truth).ravel()[np.argsort(-values.ravel())[:hits]].mean())

    assert precision(found.log_odds) > precision(score) + 0.02


def test_wrong_arrays_are_named() -> None:
    with pytest.raises(ValueError, match="scores"):
        fit_noise_model([np.zeros((3, 2))], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="tags"):
        fit_noise_model([np.zeros((3, 2))], np.full((3, 2), 2.0))


def test_the_posterior_follows_the_odds() -> None:
    odds = np.log([[1.0, 3.0], [1.0, 1 / 3]])
    found = Suspicion(odds, np.full((2, 2), 0.5), 0.1, 0.1, np.ones(1))
    tags = np.array([[1, 1], [0, 0]])
    np.testing.assert_allclose(found.posterior(tags), [[0.5, 0.25], [0.5, 0.25]])
    np.testing.assert_allclose(found.posterior(tags, 0.5), [[0.75, 0.625], [0.25, 0.125]])
    np.testing.assert_array_equal(found.posterior(tags, 0), tags)
