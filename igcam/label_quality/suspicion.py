"""From out-of-fold scores to the odds that each tag is wrong: a model of label noise, fitted to the tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from igcam.influence.design import checked_features, checked_tags
from igcam.label_quality.tag_scores import AuditOptions, TagScores, score_tags

Array = NDArray[np.float64]
MIN_RATE, MAX_RATE = 1e-4, 0.4
RIDGE = 1.0
"""Penalty on slopes, in images: it only matters for tiny sets."""


@dataclass(frozen=True)
class Suspicion:
    """How likely each tag is wrong."""

    log_odds: Array
    """float64 (n, C): log of P(tag is wrong) / P(tag is right); above zero, wrong is likelier."""
    present: Array
    """float64 (n, C): probability that the class is in the image by the scores alone, without the tag."""
    lost: float
    """Noise rate: fraction of true tags that the table lacks."""
    added: float
    """Noise rate: fraction of absent classes that are tagged."""
    slopes: Array
    """float64 (k,): weight of each kind of score, in its standard deviations; never negative."""

    def posterior(self, tags: ArrayLike, weight: float = 1.0) -> Array:
        """Return the tag posterior, float64 (n, C): |tag - weight P(the tag is wrong)|, of the judged tags (n, C)."""
        return np.asarray(np.abs(np.asarray(tags, np.float64) - weight * expit(self.log_odds)))


def fit_noise_model(scores: Sequence[ArrayLike], tags: ArrayLike) -> Suspicion:
    """Combine kinds of scores into the odds that each tag is wrong.

    With z = sum_k slope_k s_k + intercept_c the class is in the image with probability sigmoid(z), and it is
    tagged with probability added + (1 - lost - added) sigmoid(z). Slopes, intercepts and both noise rates
    maximise the likelihood of the tags. Then, by Bayes' rule,

        log odds that a tag is wrong   = log(added / (1 - lost)) - z,
        log odds that a tag is missing = log(lost / (1 - added)) + z.

    Source: Bootkrajang and Kaban, "Label-noise Robust Logistic Regression", ECML 2012.

    Args:
        scores: At least one array (n, C), higher where a class is likelier, that has not seen the image's own tags.
        tags: (n, C), 0 or 1.

    Raises:
        ValueError: Wrong shapes or values of arrays.
    """
    tags = checked_tags("tags", tags, len(np.asarray(tags)))
    count, classes = tags.shape
    stacked = np.stack([checked_features("scores", item, classes) for item in scores])
    if stacked.shape[1] != count:
        raise ValueError(f"scores: must have {count} rows as the tags, got {stacked.shape[1]}")
    kinds = len(stacked)
    stacked = stacked / np.maximum(stacked.std(axis=(1, 2), keepdims=True), 1e-12)

    def objective(vector: Array) -> tuple[float, Array]:
        slopes, intercepts, (lost, added) = vector[:kinds], vector[kinds:-2], vector[-2:]
        present = expit(np.tensordot(slopes, stacked, 1) + intercepts)
        kept = 1 - lost - added
        tagged = np.clip(added + kept * present, 1e-12, 1 - 1e-12)
        value = -(tags * np.log(tagged) + (1 - tags) * np.log1p(-tagged)).sum()
        pull = (1 - tags) / (1 - tagged) - tags / tagged
        inner = pull * kept * present * (1 - present)
        penalty = RIDGE * np.concatenate([slopes, 0.01 * intercepts])
        gradient = np.concatenate([(inner * stacked).sum(axis=(1, 2)), inner.sum(axis=0)]) + penalty
        # A prior of one wrong tag of each kind keeps the rates above zero.
        rates = np.array([-(pull * present).sum() - 1 / lost, (pull * (1 - present)).sum() - 1 / added])
        value += (penalty * vector[:-2]).sum() / 2 - np.log(lost * added)
        return float(value), np.concatenate([gradient, rates])

    start = np.concatenate([np.ones(kinds), -np.ones(classes), [0.05, 0.02]])
    bounds = [(0, None)] * kinds + [(None, None)] * classes + [(MIN_RATE, MAX_RATE)] * 2
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000}).x
    slopes, intercepts, (lost, added) = found[:kinds], found[kinds:-2], found[-2:]
    logits = np.tensordot(slopes, stacked, 1) + intercepts
    wrong = np.log(added / (1 - lost)) - logits
    missing = np.log(lost / (1 - added)) + logits
    return Suspicion(np.where(tags > 0.5, wrong, missing), expit(logits), float(lost), float(added), slopes)


@dataclass(frozen=True)
class AuditPass:
    """The result of one pass over the tags."""

    scores: TagScores
    """Out-of-fold scores; in the first pass they are independent of an image's own tags."""
    suspicion: Suspicion
    """How likely each of the given tags is wrong."""


def audit_passes(
    average: ArrayLike,
    tags: ArrayLike,
    feature_map: Callable[[int], ArrayLike] | None = None,
    options: AuditOptions | None = None,
    passes: int = 2,
) -> list[AuditPass]:
    """Judge the tags in several passes, with heads trained on the tags, then on the posterior of the pass before.

    Later passes score images out of fold too, but their tags leak a little through the posteriors of other images.

    Args:
        average: (n, D), average-pooled features.
        tags: (n, C), 0 or 1.
        feature_map: As in `score_tags`; called for every image in every pass.
        options: Defaults to `AuditOptions()`.
        passes: At least 1.

    Raises:
        ValueError: Wrong shapes or values of arrays, or no pass.
        IgcamError: There are fewer images than folds.
    """
    if passes < 1:
        raise ValueError(f"passes: must be at least 1, got {passes}")
    given = checked_tags("tags", tags, len(np.asarray(average)))
    found: list[AuditPass] = []
    posterior = given
    for _ in range(passes):
        scores = score_tags(average, posterior, feature_map, options)
        found.append(AuditPass(scores, fit_noise_model(scores.kinds(), given)))
        posterior = found[-1].suspicion.posterior(given)
    return found


def mean_suspicion(passes: Sequence[AuditPass]) -> Suspicion:
    """Return the mean log odds of all passes, with the noise rates and slopes of the first pass.

    Heads trained on the tag posterior agree with the tags more, so later passes underestimate the rates.
    """
    found = [item.suspicion for item in passes]
    present = expit(np.mean([logit(np.clip(item.present, 1e-12, 1 - 1e-12)) for item in found], axis=0))
    return replace(found[0], log_odds=np.mean([item.log_odds for item in found], axis=0), present=present)
