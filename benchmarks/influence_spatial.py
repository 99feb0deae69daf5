"""Spatial influence: its sum, and hiding the places that it calls harmful. Called by benchmarks/influence.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from igcam.influence import HeadInfluence, spatial_influence
from igcam.models.linear_head import fit_linear_head

Array = NDArray[np.float64]
Add = Callable[[str, list[float], str, str], None]
PENALTY, SHARE, HELD_OUT = 0.01, 0.1, 109


def spatial_rows(
    pooled: Array, tags: Array, maps: Callable[[int], NDArray[np.float32]], seeds: int, add: Add, quick: bool
) -> None:
    """Add the relative error of the sum, and the paired test of hidden harmful against hidden random places.

    Hiding a place takes it out of the average, so that the image is the mean over the others. The head is
    retrained with one image changed; 50 images, one after the other.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(pooled))
    held, own = order[:HELD_OUT], order[HELD_OUT:]
    scale = 10 / np.sqrt((pooled**2).sum(axis=1).mean())
    features = pooled * scale
    train, valid = features[own].copy(), features[held]
    chosen = random.choice(len(own), 5 if quick else 50, replace=False)
    for row in chosen:
        # The sum is exact for the mean of the maps as they are kept, in half precision.
        train[row] = maps(own[row]).astype(np.float64).mean(axis=(1, 2)) * scale
    head = fit_linear_head(train, tags[own], PENALTY)
    exact = HeadInfluence(train, tags[own], head.weight, head.bias, PENALTY)
    influence = exact.on_loss(valid, tags[held])
    directions = exact.directions(valid, tags[held])
    before = loss(head.logits(valid), tags[held])
    errors: list[float] = []
    harmful: list[float] = []
    by_chance: list[float] = []
    for row in chosen:
        flat = maps(own[row]).astype(np.float64) * scale
        spatial = spatial_influence(flat, exact.residual[row], directions)
        errors.append(np.abs(spatial.sum(axis=(1, 2)) - influence[row]).max() / np.abs(influence[row]).max())
        locations = spatial.sum(axis=0).ravel()
        hidden = round(SHARE * len(locations))
        worst = np.argsort(-locations)[:hidden]
        for drawn, results in ((worst, harmful), (random.choice(len(locations), hidden, replace=False), by_chance)):
            kept = np.setdiff1d(np.arange(len(locations)), drawn)
            changed = train.copy()
            changed[row] = flat.reshape(len(flat), -1)[:, kept].mean(axis=1)
            retrained = fit_linear_head(changed, tags[own], PENALTY)
            results.append(loss(retrained.logits(valid), tags[held]) - before)
    add("spatial/sum-error", [max(errors)], "", "largest relative difference to the image's influence")
    test = ttest_rel(harmful, by_chance, alternative="less")
    add("spatial/occlusion-p", [float(test.pvalue)], "", f"one-sided paired t test over {len(chosen)} images")
    add("spatial/occlusion-harmful", [1e4 * float(np.mean(harmful))], "1e-4", "mean change of the held-out loss")
    add("spatial/occlusion-random", [1e4 * float(np.mean(by_chance))], "1e-4", "the same for random places")
    lower = np.less(harmful, by_chance).mean()
    add("spatial/occlusion-lower", [100 * float(lower)], "%", "images where hiding harmful places is better")


def loss(logits: Array, tags: Array) -> float:
    """Return the mean over images of the summed tag loss."""
    return float((np.logaddexp(0, logits) - tags * logits).mean(axis=0).sum())
