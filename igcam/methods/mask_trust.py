"""How far a few given masks count beside many guesses: tried on those of the masks that are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igcam.methods.head_training import HeadOptions, predict_all, train_head
from igcam.methods.inputs import Inputs
from igcam.metrics.confusion import IGNORE, confusion, scores

Array = NDArray[np.float32]
FEWEST = 4
"""Masks below which none is held out: a half of them would not tell anything."""


def mask_weight(trust: Array, masked: NDArray[np.bool_], share: float, most: float) -> float:
    """Return the factor that gives the masks this share of all trust: at least 1, at most `most`.

    Args:
        trust: float32 (N, h, w).
        masked: bool (N,), the images with a mask.
        share: 0 to 1, exclusive.
        most: Upper bound.
    """
    wanted = share / (1 - share) * float(trust[~masked].sum())
    return min(max(wanted / max(float(trust[masked].sum()), 1e-6), 1.0), most)


def choose_share(
    inputs: Inputs,
    targets: Array,
    trust: Array,
    masked: NDArray[np.bool_],
    shares: Sequence[float],
    most: float,
    head: HeadOptions,
) -> float:
    """Return the share of the trust with which masks help most on images whose masks are held out.

    Two halves of the masks are held out in turn; a head learns from all other images, and its predictions for the
    half, with the tags known, are compared with the masks. The smallest share is taken unless a larger one is better
    by more than the standard error of the gain over the images: many copies of a few masks are learnt by heart.

    Args:
        inputs: Features, tags, seed.
        targets: float32 (N, K, h, w), those of masks included.
        trust: float32 (N, h, w), before masks are weighed.
        masked: bool (N,).
        shares: To choose from; where nothing can be held out, the first.
        most: Upper bound of a mask's weight.
        head: Of the heads that are tried.
    """
    order = np.random.default_rng(inputs.seed).permutation(np.flatnonzero(masked))
    if len(shares) < 2 or len(order) < FEWEST or masked.all():
        return shares[0]
    halves = (np.sort(order[::2]), np.sort(order[1::2]))
    chosen, *larger = sorted(set(shares))
    best = _held_out_scores(inputs, targets, trust, masked, halves, chosen, most, head)
    for share in larger:
        found = _held_out_scores(inputs, targets, trust, masked, halves, share, most, head)
        gain = found - best
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            chosen, best = share, found
    return chosen


def _held_out_scores(
    inputs: Inputs,
    targets: Array,
    trust: Array,
    masked: NDArray[np.bool_],
    halves: Sequence[NDArray[np.int64]],
    share: float,
    most: float,
    head: HeadOptions,
) -> NDArray[np.float64]:
    """Return the mIoU of each image with a mask, of the classes in it, by a head that has not seen the mask."""
    found = []
    for held in halves:
        weighed = trust.copy()
        weighed[held] = 0
        weighed[masked] *= mask_weight(weighed, masked & (weighed.max(axis=(1, 2)) > 0), share, most)
        others = np.setdiff1d(np.arange(len(masked)), held)
        trained, _ = train_head(inputs, others, targets, weighed, head)
        predicted = predict_all(inputs, trained, held).argmax(axis=1).astype(np.uint8)
        truth = np.where(trust[held] > 0, targets[held].argmax(axis=1), IGNORE).astype(np.uint8)
        known = (pair for pair in zip(truth, predicted, strict=True) if (pair[0] != IGNORE).any())
        found += [scores(confusion(*pair, targets.shape[1] - 1)).miou for pair in known]
    return np.array(found)
