"""Which images to annotate next, and with which kind of cue, for a budget in seconds."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from igcam.core.errors import IgcamError
from igcam.influence.design import checked_features, checked_tags

Array = NDArray[np.float64]
RESOLVED: Mapping[str, float] = {"point": 0.45, "scribble": 0.68, "box": 0.7, "mask": 1.0}
"""Fraction of an image's uncertainty that a kind of cue resolves.

Share of the gap between tags and masks on VOC 2012: 29.8 mIoU with tags, 42.7 with a point, 49.1 with scribbles, 58.3
with masks (Bearman et al., ECCV 2016). They had no boxes; 0.7 is our assumption.
"""


@dataclass(frozen=True)
class Proposal:
    """One image to annotate."""

    image: int
    """Index of the image."""
    kind: str
    """Kind of cue."""
    seconds: float
    """Annotation time beyond the tags."""
    gain: float
    """Uncertainty that it resolves, in this image and similar ones, given the proposals before it."""


def next_cues(
    uncertainty: ArrayLike,
    features: ArrayLike,
    budget: float,
    prices: Mapping[str, float],
    annotated: Mapping[int, float] | None = None,
    bandwidth: float = 0.5,
) -> list[Proposal]:
    """Choose the cues that resolve the most uncertainty within the budget, in the order of the choice.

    A cue of kind k on image i resolves the fraction r_k s(i, j) of the uncertainty u_j of image j, with s the
    similarity of their features. A set S of cues resolves F(S) = sum_j u_j max_{(i, k) in S} r_k s(i, j), a
    facility-location function, monotone and submodular. The better of the greedy choices by gain per second and by
    gain is within a constant of the optimum (Leskovec et al., KDD 2007). An image is proposed at most once.

    Args:
        uncertainty: (n,), at least 0: the uncertainty of each image's maps, times any weight of the image.
        features: (n, D).
        budget: Seconds, positive.
        prices: Kind -> seconds per image, for the kinds of `RESOLVED` that may be proposed.
        annotated: Image -> fraction of its uncertainty that its cues have resolved; it is not proposed.
        bandwidth: Of the similarity exp(-d^2 / (2 (bandwidth m)^2)), as a multiple of the median distance m
            between images, with features of length one. Memory grows with n^2.

    Raises:
        IgcamError: The budget or a price is not positive, or a kind is unknown: all kinds are listed.
        ValueError: Wrong arrays.
    """
    if not 0 < budget < np.inf:
        raise IgcamError(f"budget: must be a positive number of seconds, got {budget}")
    wrong = [f"{kind}: {price:g} s" for kind, price in prices.items() if not 0 < price < np.inf]
    wrong += [f"{kind}: unknown kind" for kind in prices if kind not in RESOLVED]
    if wrong or not prices:
        known = ", ".join(RESOLVED)
        raise IgcamError(f"cue prices: must be positive seconds for {known}, got {', '.join(wrong) or 'none'}")
    need = np.asarray(uncertainty, np.float64)
    features = checked_features("features", features)
    if need.shape != (len(features),) or not ((need >= 0) & (need < np.inf)).all():
        raise ValueError(f"uncertainty: must be {len(features)} finite numbers of at least 0, got {need.shape}")
    similar = _similarity(features, bandwidth)
    covered = np.zeros(len(need))
    for image, share in (annotated or {}).items():
        covered = np.maximum(covered, share * similar[image])
    candidates = [image for image in range(len(need)) if image not in (annotated or {})]
    lists = [_greedy(need, similar, covered, candidates, budget, prices, by_price) for by_price in (True, False)]
    return max(lists, key=lambda proposals: sum(proposal.gain for proposal in proposals))


def map_uncertainty(probabilities: ArrayLike) -> Array:
    """Return the uncertainty of score maps (n, K, h, w), float64 (n,) in 0..1, by margin sampling.

    One minus the margin of the two best classes, of scores that sum to one, mean over locations (Scheffer et al., IDA
    2001).
    """
    uncertainty = []
    for scores in np.asarray(probabilities):
        shares = np.asarray(scores, np.float64)
        shares = shares / np.maximum(shares.sum(axis=0), 1e-12)
        best = np.partition(shares, len(shares) - 2, axis=0)
        uncertainty.append(float((1 - (best[-1] - best[-2])).mean()))
    return np.array(uncertainty)


def rarity(tags: ArrayLike) -> Array:
    """Return the weight of each image, float64 (n,), by the rarity of its classes, from tags (n, C) of 0 and 1.

    The sum over its tags of 1 / (number of images with that class), with mean one over tagged images: mIoU weights
    rare classes like common ones.
    """
    tags = checked_tags("tags", tags, len(np.asarray(tags)))
    shares = (tags / np.maximum(tags.sum(axis=0), 1)).sum(axis=1)
    tagged = shares > 0
    return np.asarray(shares / shares[tagged].mean() if tagged.any() else shares)


def _similarity(features: Array, bandwidth: float) -> Array:
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    square = np.maximum(2 - 2 * unit @ unit.T, 0)
    others = square[~np.eye(len(square), dtype=bool)]
    width = bandwidth**2 * (float(np.median(others)) if others.size else 1.0)
    return np.asarray(np.exp(-square / (2 * max(width, 1e-12))))


def _greedy(
    need: Array,
    similar: Array,
    covered: Array,
    images: Sequence[int],
    budget: float,
    prices: Mapping[str, float],
    by_price: bool,
) -> list[Proposal]:
    """Choose by gain per second or by gain (lazy greedy: a gain is only updated when it leads)."""

    def gain_of(image: int, kind: str) -> float:
        return float((need * np.maximum(RESOLVED[kind] * similar[image] - covered, 0)).sum())

    def rank(gain: float, kind: str) -> float:
        return -gain / prices[kind] if by_price else -gain

    covered, left, chosen = covered.copy(), budget, set()
    queue = [(rank(gain_of(image, kind), kind), image, kind, 0) for image in images for kind in prices]
    heapq.heapify(queue)
    proposals: list[Proposal] = []
    while queue:
        _, image, kind, known = heapq.heappop(queue)
        if image in chosen or prices[kind] > left:
            continue
        gain = gain_of(image, kind)
        if known < len(proposals):
            heapq.heappush(queue, (rank(gain, kind), image, kind, len(proposals)))
            continue
        if gain <= 0:
            break
        covered = np.maximum(covered, RESOLVED[kind] * similar[image])
        left -= prices[kind]
        chosen.add(image)
        proposals.append(Proposal(image, kind, prices[kind], gain))
    return proposals
