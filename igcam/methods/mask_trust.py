"""How far a few given masks count beside many guesses: tried on those of the masks that are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igcam.methods.head_training import HeadOptions, predict_all, train_head
from igcam.methods.inputs import Inputs
from igcam.metrics.confusion import Confusion, confusion, scores

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
    half, with the tags known, are compared with the masks.

    Args:
        inputs: Features, tags, seed.
        targets: float32 (N, K, h, w), those of masks included.
        trust: float32 (N, h, w), before masks are weighed.
        masked: bool (N,).
        shares: To choose from; of equally good ones the first.
        most: Upper bound of a mask's weight.
        head: Of the heads that are tried.
    """
    order = np.random.default_rng(inputs.seed).permutation(np.flatnonzero(masked))
    if len(shares) < 2 or len(order) < FEWEST or masked.all():
        return shares[0]
    found = []
    for share in shares:
        total = Confusion.zeros(targets.shape[1] - 1)
        for held in (order[::2], order[1::2]):
            others = np.setdiff1d(np.arange(len(masked)), held)
            weighed = trust.copy()
            weighed[held] = 0
            weighed[masked] *= mask_weight(weighed, masked & (weighed.max(axis=(1, 2)) > 0), share, most)
            trained, _ = train_head(inputs, others, targets, weighed, head)
            predicted = predict_all(inputs, trained, np.sort(held)).argmax(axis=1)
            truth = np.where(trust[np.sort(held)] > 0, targets[np.sort(held)].argmax(axis=1), 255)
            total = total + confusion(truth.astype(np.uint8), predicted.astype(np.uint8), targets.shape[1] - 1)
        found.append(scores(total).miou)
    return shares[int(np.argmax(found))]
