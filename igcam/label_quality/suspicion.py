"""From out-of-fold evidence to the odds that a tag is wrong: calibration through a channel of label noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from igcam.influence.design import checked_features, checked_tags

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
    """float64 (n, C): probability that the class is in the image by the evidence alone, whatever the tag says."""
    lost: float
    """Share of true tags that the table lacks."""
    added: float
    """Share of absent classes that the table names all the same."""
    slopes: Array
    """float64 (k,): how much each kind of evidence counts, in its standard deviations; never negative."""

    def posterior(self, tags: ArrayLike, share: float = 1.0) -> Array:
        """Return how far each class is believed, float64 (n, C): |tag - share P(the tag is wrong)|.

        Args:
            tags: (n, C) of 0 and 1, those that it is about.
            share: How far the odds decide, 0 to 1; 0 takes the tags as they are.
        """
        return np.asarray(np.abs(np.asarray(tags, np.float64) - share * expit(self.log_odds)))


def suspicion(scores: Sequence[ArrayLike], tags: ArrayLike) -> Suspicion:
    """Weigh kinds of evidence for the classes, and tell for each tag the odds that it is wrong.

    With z = sum_k slope_k e_k + intercept_c the class is in the image with probability sigmoid(z), and the
    table names it with probability added + (1 - lost - added) sigmoid(z). Slopes, intercepts and both rates
    are the ones that make the tags of the table likeliest. Then, by Bayes' rule,

        log odds of a tag that is there = log(added / (1 - lost)) - z,
        log odds of one that is not     = log(lost / (1 - added)) + z.

    So missing tags and wrong ones stand in one list at their true odds: where a class that is there loses its
    tag more often than one that is not gains it, equal evidence speaks louder for a missing tag.

    Args:
        scores: Arrays (n, C) that are higher where a class is more likely, from predictions that have not
            seen the image's own tags; at least one.
        tags: (n, C), 0 or 1.

    Source of the noise channel: Bootkrajang and Kaban, "Label-noise Robust Logistic Regression", ECML 2012.

    Raises:
        ValueError: Shapes or values that are wrong.
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
        named = np.clip(added + kept * present, 1e-12, 1 - 1e-12)
        value = -(tags * np.log(named) + (1 - tags) * np.log1p(-named)).sum()
        pull = (1 - tags) / (1 - named) - tags / named
        inner = pull * kept * present * (1 - present)
        penalty = RIDGE * np.concatenate([slopes, 0.01 * intercepts])
        gradient = np.concatenate([(inner * stacked).sum(axis=(1, 2)), inner.sum(axis=0)]) + penalty
        # One imagined wrong tag of each kind keeps the rates off zero.
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


def neighbour_scores(features: ArrayLike, tags: ArrayLike, neighbours: int = 10, chunk: int = 1024) -> Array:
    """Return the log odds, float64 (n, C), of a class among the most similar other images.

    Similarity is the cosine; a neighbour counts by exp(10 (cosine - 1)), and the class's share of all images
    counts as one more neighbour.

    Args:
        features: (n, D), n at least 2; centred, or all cosines are alike.
        tags: (n, C), 0 or 1, or how far each is believed.
        neighbours: How many count.
        chunk: Images worked on at a time.
    """
    features = checked_features("features", features)
    count = len(features)
    tags = checked_tags("tags", tags, count)
    if count < 2 or neighbours < 1:
        raise ValueError(f"features, neighbours: needs 2 images and 1 neighbour, got {count} and {neighbours}")
    neighbours = min(neighbours, count - 1)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    share = np.clip(tags.mean(axis=0), 0.5 / count, 1 - 0.5 / count)
    odds = np.empty(tags.shape)
    for start in range(0, count, chunk):
        own = np.arange(start, min(start + chunk, count))
        cosine = unit[own] @ unit.T
        cosine[np.arange(len(own)), own] = -np.inf
        nearest = np.argpartition(-cosine, neighbours - 1, axis=1)[:, :neighbours]
        weight = np.exp(10 * (np.take_along_axis(cosine, nearest, axis=1) - 1))
        weight /= weight.sum(axis=1, keepdims=True)
        agreed = np.einsum("nk,nkc->nc", weight, tags[nearest])
        mixed = (neighbours * agreed + share) / (neighbours + 1)
        odds[own] = np.log(mixed / (1 - mixed))
    return odds
