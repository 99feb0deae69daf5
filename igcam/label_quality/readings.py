"""Suspicious tags in readings: heads that have learnt what is believed by now judge the tags again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from igcam.influence.design import checked_tags
from igcam.label_quality.suspicion import Suspicion
from igcam.label_quality.tag_scores import AuditOptions, TagScores, score_tags


@dataclass(frozen=True)
class Reading:
    """What was found when the tags were read once."""

    scores: TagScores
    """Of the first reading it has not seen an image's own tags in any way."""
    suspicion: Suspicion
    """What it says of the tags that were given."""


def read_tags(
    average: ArrayLike,
    tags: ArrayLike,
    feature_map: Callable[[int], ArrayLike] | None = None,
    options: AuditOptions | None = None,
    readings: int = 2,
) -> list[Reading]:
    """Gather evidence against tags, as often as there are readings.

    In the first reading the heads learn the tags as they are, wrong ones too. In those after it they learn how probable
    each class is by the reading before, `Suspicion.belief`; an image is still judged by heads without its fold,
    though what these have learnt of others may go back, a little, to its own tags.

    Args:
        average: (n, D), average-pooled features.
        tags: (n, C), 0 or 1.
        feature_map: As in `tag_prior`; asked for every image in every reading.
        options: Defaults to `AuditOptions()`.
        readings: At least 1.

    Raises:
        ValueError: Wrong shapes or values of arrays, or no reading.
        IgcamError: There are fewer images than folds.
    """
    if readings < 1:
        raise ValueError(f"readings: must be at least 1, got {readings}")
    given = checked_tags("tags", tags, len(np.asarray(average)))
    found: list[Reading] = []
    posterior = given
    for _ in range(readings):
        scores = score_tags(average, posterior, feature_map, options)
        found.append(Reading(scores, scores.suspicion(given)))
        posterior = found[-1].suspicion.posterior(given)
    return found


def joint_suspicion(readings: list[Reading]) -> Suspicion:
    """Return the mean log odds of all readings, so that no single one decides; rates and slopes are the first one's.

    Heads that have learnt what is believed agree with the tags more, so that later readings put the rates too low.
    """
    found = [reading.suspicion for reading in readings]
    present = expit(np.mean([logit(np.clip(item.present, 1e-12, 1 - 1e-12)) for item in found], axis=0))
    return replace(found[0], log_odds=np.mean([item.log_odds for item in found], axis=0), present=present)
