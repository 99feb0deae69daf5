"""Predicted changes of a validation loss against those of retraining. Called by benchmarks/influence.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from igcam.influence import HeadChanges, HeadInfluence
from igcam.models.linear_head import fit_linear_head

Array = NDArray[np.float64]
Add = Callable[[str, list[float], str, str], None]
PENALTY = 0.01
"""The one that igcam's classify stage chooses for these features by out-of-fold loss is 0.003 or 0.01."""
HELD_OUT = 109


def exact_rows(pooled: Array, tags: Array, seeds: int, add: Add, quick: bool) -> None:
    """Add the correlation of prediction and retraining, for one step and for first-order influence."""
    scores: dict[str, list[float]] = {}
    for seed in range(seeds):
        print(f"retrain 400 heads, seed {seed}", flush=True)
        for name, value in one_split(pooled, tags, seed, 10 if quick else 100).items():
            scores.setdefault(name, []).append(value)
    for name in ("loo", "group10", "group40", "flip"):
        note = "one Newton step of the changed objective, of best length; loss evaluated there"
        add(f"{name}/pearson", scores[name], "", note)
        add(f"{name}/slope", scores[f"{name}/slope"], "", "retrained change by predicted change, least squares")
        note = "-I/n" if name != "flip" else "influence of the tag, first order"
        add(f"{name}/first-order/pearson", scores[f"{name}/first"], "", note)


def one_split(pooled: Array, tags: Array, seed: int, count: int) -> dict[str, float]:
    """Return the correlations of one random split into training and held-out images."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(pooled))
    held, own = order[:HELD_OUT], order[HELD_OUT:]
    # Rotated to as many columns as there are images: the same inner products, so the same heads, in half the time.
    features = np.linalg.qr(pooled.T)[1].T * 10 / np.sqrt((pooled**2).sum(axis=1).mean())
    train, train_tags, valid, valid_tags = features[own], tags[own], features[held], tags[held]
    head = fit_linear_head(train, train_tags, PENALTY)
    exact = HeadInfluence(train, train_tags, head.weight, head.bias, PENALTY)
    changes = HeadChanges(exact, valid, valid_tags)
    influence = exact.on_loss(valid, valid_tags)

    def retrained(weight: Array | None, new_tags: Array) -> Array:
        return loss(fit_linear_head(train, new_tags, PENALTY, weight).logits(valid), valid_tags)

    before = loss(head.logits(valid), valid_tags)
    groups = {
        "loo": [np.array([image]) for image in random.choice(len(own), count, replace=False)],
        "group10": [random.choice(len(own), 10, replace=False) for _ in range(count)],
        "group40": [random.choice(len(own), 40, replace=False) for _ in range(count)],
    }
    scores: dict[str, float] = {}
    for name, chosen in groups.items():
        actual = []
        for group in chosen:
            weight = np.ones(len(own))
            weight[group] = 0
            actual.append((retrained(weight, train_tags) - before).sum())
        first = [-influence[group].sum() / len(own) for group in chosen]
        compare(scores, name, actual, changes.leave_out_groups(chosen).sum(axis=1), first)
    pairs = tag_pairs(train_tags, count, random)
    actual = []
    for image, c in pairs:
        turned = train_tags[:, [c]].copy()
        turned[image] = 1 - turned[image]
        actual.append(loss(fit_linear_head(train, turned, PENALTY).logits(valid), valid_tags[:, [c]])[0] - before[c])
    # The tag's own share: the residual changes by (old tag - new tag).
    pulls = influence / exact.residual
    first = [pulls[i, c] * (2 * train_tags[i, c] - 1) / len(own) for i, c in pairs]
    compare(scores, "flip", actual, changes.flip_tags(pairs), first)
    return scores


def compare(scores: dict[str, float], name: str, actual: list[float], predicted: Array, first: list[float]) -> None:
    """Add the correlations of two estimates with retraining, and the slope of the better one."""
    scores[name] = float(np.corrcoef(actual, predicted)[0, 1])
    scores[f"{name}/slope"] = float(np.polyfit(predicted, actual, 1)[0])
    scores[f"{name}/first"] = float(np.corrcoef(actual, first)[0, 1])


def loss(logits: Array, tags: Array) -> Array:
    """Return the mean tag loss of every class."""
    return np.asarray((np.logaddexp(0, logits) - tags * logits).mean(axis=0))


def tag_pairs(tags: Array, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return pairs of image and class: half of them tags that are there, half of them missing ones."""
    present, absent = np.argwhere(tags == 1), np.argwhere(tags == 0)
    halves = [
        chosen[random.choice(len(chosen), number, replace=False)]
        for chosen, number in ((present, count // 2), (absent, count - count // 2))
    ]
    return np.concatenate(halves)
