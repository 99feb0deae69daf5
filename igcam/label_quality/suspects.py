"""The most suspicious tags: scores, spatial maps and the effect of flipping each one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.influence import HeadChanges, HeadInfluence
from igcam.label_quality.suspicion import Suspicion
from igcam.label_quality.tag_scores import TagScores
from igcam.models.linear_head import CrossFit

Array = NDArray[np.float64]
Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Suspect:
    """One tag that is probably wrong or missing."""

    image: int
    """Index in the run."""
    name: str
    """Name of the image."""
    label: str
    """Name of the class."""
    kind: str
    """`wrong`: the image is tagged with the class; `missing`: it is not."""
    probability: float
    """Probability that the tag is wrong, or missing."""
    score: float
    """Log odds of the same; the table is sorted by it."""
    logit: float
    """Out-of-fold logit of the class for the whole image."""
    neighbours: float
    """Log odds of the class among the most similar images."""
    locations: float
    """Out-of-fold logit of the top tenth of the locations; NaN where none were scored."""
    change: float
    """Predicted change of the tag loss of held-out images when this tag alone is flipped; negative helps them."""
    scores: Maps
    """float32 (h, w): out-of-fold logit of the class at each location."""
    influence: Maps
    """float32 (h, w): spatial influence of the image on the class's loss of held-out images; positive harms."""


def find_suspects(
    dataset: Dataset,
    scores: TagScores,
    suspicion: Suspicion,
    fitted: CrossFit,
    features: Array,
    feature_map: Callable[[int], Maps],
    limit: int,
    progress: Progress = no_progress,
) -> list[Suspect]:
    """Return the most suspicious tags, most suspicious first.

    Args:
        dataset: The n images with their tags and classes.
        scores: Scores of the classes.
        suspicion: How likely each tag is wrong: the tags are ranked by its log odds.
        fitted: Heads cross-fitted to the features and tags.
        features: float64 (n, D), what `fitted` was fitted to.
        feature_map: Returns the features (D, h, w) of one image before pooling, scaled as `features` are.
        limit: Number of tags to return.
        progress: Called with what is being done, the number done and the number to do.
    """
    tags = dataset.tag_matrix().astype(np.float64)
    order = np.argsort(-suspicion.log_odds, axis=None, kind="stable")[:limit]
    pairs = np.stack(np.unravel_index(order, tags.shape), axis=1)
    changes = held_out_changes(features, tags, fitted, pairs)
    suspects = []
    for done, ((image, c), change) in enumerate(zip(pairs.tolist(), changes.tolist(), strict=True)):
        maps = feature_map(image)
        head = fitted.heads[fitted.fold[image]]
        odds = float(suspicion.log_odds[image, c])
        suspects.append(
            Suspect(
                image=image,
                name=dataset.samples[image].name,
                label=dataset.classes[c],
                kind="wrong" if tags[image, c] else "missing",
                probability=float(expit(odds)),
                score=odds,
                logit=float(scores.logits[image, c]),
                neighbours=float(scores.neighbours[image, c]),
                locations=np.nan if scores.locations is None else float(scores.locations[image, c]),
                change=change,
                scores=np.tensordot(head.weight[c].astype(np.float32), maps, 1) + np.float32(head.bias[c]),
                influence=fitted.spatial(image, maps)[c].astype(np.float32),
            )
        )
        progress("examine suspects", done + 1, len(pairs))
    return suspects


def held_out_changes(features: Array, tags: Array, fitted: CrossFit, pairs: NDArray[np.int64]) -> Array:
    """Return the predicted change, float64 (k,), of the held-out tag loss when each tag alone is flipped.

    It is the mean over the folds that trained on the image. `fitted` are heads fitted to the features (n, D) and tags
    (n, C) without sample weights, `pairs` (k, 2) the image and class of each tag.
    """
    total = np.zeros(len(pairs))
    for k, head in enumerate(fitted.heads):
        on = fitted.fold != k
        exact = HeadInfluence(features[on], tags[on], head.weight, head.bias, head.l2)
        trained = np.flatnonzero(on[pairs[:, 0]])
        row = np.cumsum(on) - 1
        own = np.stack([row[pairs[trained, 0]], pairs[trained, 1]], axis=1)
        total[trained] += HeadChanges(exact, features[~on], tags[~on]).flip_tags(own) / (len(fitted.heads) - 1)
    return total
