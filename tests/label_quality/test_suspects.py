from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from igcam.data.sample import Dataset, Sample
from igcam.label_quality.suspects import find_suspects, held_out_changes
from igcam.label_quality.suspicion import Suspicion
from igcam.label_quality.tag_scores import TagScores
from igcam.models.linear_head import cross_fit, fit_linear_head


def test_held_out_changes_are_those_of_retraining() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 6))
    tags = (features[:, :2] + random.standard_normal((40, 2)) > 0).astype(float)
    fitted = cross_fit(features, tags, 0.1, folds=4, seed=0)
    pairs = np.array([[0, 1], [7, 0], [30, 1]])
    actual = np.zeros(3)
    for row, (image, c) in enumerate(pairs):
        turned = tags.copy()
        turned[image, c] = 1 - turned[image, c]
        for k in range(4):
            on = fitted.fold != k
            if on[image]:
                losses = []
                for table in (turned, tags):
                    logits = fit_linear_head(features[on], table[on], 0.1).logits(features[~on])
                    losses.append((np.logaddexp(0, logits) - tags[~on] * logits).mean(axis=0)[c])
                actual[row] += (losses[0] - losses[1]) / 3
    np.testing.assert_allclose(held_out_changes(features, tags, fitted, pairs), actual, atol=2e-3)


def test_suspects_are_described_by_the_arrays() -> None:
    random = np.random.default_rng(0)
    maps = random.standard_normal((12, 5, 3, 4)).astype(np.float32)
    features = maps.mean(axis=(2, 3)).astype(np.float64)
    tags = np.arange(24).reshape(12, 2) % 3 == 0
    names = [Sample(str(i), Path(f"{i}.jpg"), tuple(np.flatnonzero(row).tolist())) for i, row in enumerate(tags)]
    dataset = Dataset(("cat", "dog"), tuple(names))
    fitted = cross_fit(features, tags, 0.1, folds=3)
    odds = random.standard_normal(tags.shape)
    suspicion = Suspicion(odds, np.full(tags.shape, 0.5), 0.1, 0.1, np.ones(2))
    scores = TagScores(random.standard_normal(tags.shape), random.standard_normal(tags.shape), None, 0.1)
    found = find_suspects(dataset, scores, suspicion, fitted, features, maps.__getitem__, 7)
    assert [item.score for item in found] == sorted(odds.ravel(), reverse=True)[:7]
    for item in found:
        c = dataset.classes.index(item.label)
        assert item.name == str(item.image)
        assert item.kind == ("wrong" if tags[item.image, c] else "missing")
        assert item.probability == pytest.approx(expit(odds[item.image, c]))
        assert (item.logit, item.neighbours) == (scores.logits[item.image, c], scores.neighbours[item.image, c])
        assert np.isnan(item.locations)
        assert item.scores.mean() == pytest.approx(fitted.logits[item.image, c], abs=1e-4)
        assert item.influence.sum() == pytest.approx(fitted.influence[item.image, c], abs=1e-5)
