from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from igcam.models import image_prior as module
from igcam.models.image_prior import Tagger, add_prior, fit_tagger
from igcam.models.linear_head import signed_sqrt


def softmax(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits, dim=1)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_whether_a_place_is_an_object_is_left_alone_where_every_class_is_surely_there(seed: int, share: float) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=random).double()
    prior = 40 + 3 * torch.randn(2, 3, generator=random).double()
    joined = add_prior(logits, prior, share)
    torch.testing.assert_close(softmax(joined)[:, 0], softmax(logits)[:, 0])
    # Within the object it is Bayes' rule with the evidence as odds.
    expected = softmax(logits[:, 1:] + share * prior[:, :, None, None])
    torch.testing.assert_close(softmax(joined)[:, 1:] / softmax(joined)[:, 1:].sum(1, keepdim=True), expected)


def test_one_class_counts_by_how_probable_it_is_that_the_photo_has_it() -> None:
    logits = torch.tensor([0.3, 1.1]).reshape(1, 2, 1, 1)
    for prior in (-5.0, 0.0, 5.0):
        joined = add_prior(logits, torch.tensor([[prior]]), 1.0)
        assert joined[0, 0, 0, 0] == pytest.approx(0.3)
        assert joined[0, 1, 0, 0] == pytest.approx(1.1 + np.log(expit(prior)))


def test_no_share_changes_nothing_and_a_class_that_is_not_there_is_found_nowhere() -> None:
    logits, prior = torch.randn(1, 4, 2, 2), torch.tensor([[4.0, -60.0, 1.0]])
    torch.testing.assert_close(add_prior(logits, prior, 0.0), logits)
    probability = softmax(add_prior(logits, prior, 1.0))
    assert probability[:, 2].max() < 1e-12
    # What was of that class is of another one: all of the object, as far as the photo has these classes.
    odds = softmax(logits)[:, 1:] * torch.exp(prior)[:, :, None, None]
    weight = odds / odds.sum(1, keepdim=True) * torch.sigmoid(prior)[:, :, None, None]
    expected = torch.cat([softmax(logits)[:, :1], (1 - softmax(logits)[:, :1]) * weight], 1)
    torch.testing.assert_close(probability, expected / expected.sum(1, keepdim=True))


def test_the_head_is_that_of_an_independent_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    pooled = random.gamma(1.0, 1.0, (60, 5))
    tags = (pooled[:, :2] + random.normal(0, 0.5, (60, 2)) > 1).astype(np.float32)
    penalty = 0.01
    monkeypatch.setattr(module, "PENALTIES", (penalty,))
    tagger = fit_tagger(pooled, tags, seed=0)
    power_normalised = np.sqrt(pooled)
    centred = power_normalised - power_normalised.mean(axis=0)
    centred *= 10 / np.sqrt((centred**2).sum(axis=1).mean())
    # The bias is penalised like the weight of a feature that is always one.
    features = np.hstack([centred, np.ones((60, 1))])
    peers = [
        LogisticRegression(C=1 / (60 * penalty), fit_intercept=False, tol=1e-10, max_iter=10_000)
        .fit(features, tags[:, index])
        .decision_function(features)
        for index in range(2)
    ]
    found = tagger(torch.from_numpy(pooled).float()).numpy()
    np.testing.assert_allclose(found, np.stack(peers, axis=1), rtol=1e-3, atol=1e-3)


def test_the_penalty_is_chosen_on_held_out_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    pooled, tags = random.gamma(1.0, 1.0, (40, 30)), (random.random((40, 1)) < 0.5).astype(np.float32)
    # Nothing is to be learnt here, so that the head that says least is best.
    monkeypatch.setattr(module, "PENALTIES", (0.001, 1.0, 0.01))
    chosen = fit_tagger(pooled, tags, 0)
    monkeypatch.setattr(module, "PENALTIES", (1.0,))
    torch.testing.assert_close(chosen.weight, fit_tagger(pooled, tags, 0).weight)


def test_roots_keep_the_sign() -> None:
    torch.testing.assert_close(signed_sqrt(torch.tensor([4.0, -9.0, 0.0])), torch.tensor([2.0, -3.0, 0.0]))
    logits = Tagger(torch.tensor([[1.0, 1.0]]), torch.tensor([0.5]))(torch.tensor([[4.0, -9.0]]))
    assert logits.item() == pytest.approx(-0.5)


def test_beliefs_between_0_and_1_are_learnt_too() -> None:
    random = np.random.default_rng(2)
    pooled = random.gamma(1.0, 1.0, (30, 4))
    tagger = fit_tagger(pooled, np.full((30, 1), 0.25, np.float32), 0)
    found = expit(tagger(torch.from_numpy(pooled).float()).numpy())
    np.testing.assert_allclose(found, 0.25, atol=0.05)
