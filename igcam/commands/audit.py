"""`audit`: the tags of a finished run that are probably wrong or missing, ranked, with what shows it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from igcam.commands.label import Labeller
from igcam.core.errors import IgcamError
from igcam.core.files import read_array, write_text
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.influence import HeadChanges, HeadInfluence
from igcam.label_quality.readings import joint_suspicion, read_tags
from igcam.label_quality.suspicion import Suspicion
from igcam.label_quality.tag_scores import AuditOptions, TagScores
from igcam.methods.features import mean_level
from igcam.models.linear_head import CrossFit, cross_fit
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

Array = NDArray[np.float64]
Maps = NDArray[np.float32]
COLUMNS = ("rank", "image", "class", "kind", "probability", "score", "logit", "neighbours", "places", "change", "fix")
"""Columns of the table. `fix` is empty: what the user answers there is what `apply_fixes` applies."""


@dataclass(frozen=True)
class Suspect:
    """One tag that may be wrong."""

    image: int
    """Index in the run."""
    name: str
    """The image's name."""
    label: str
    """Name of the class."""
    kind: str
    """`wrong`: the tag is there, `missing`: it is not."""
    probability: float
    """That the tag is wrong, or missing."""
    score: float
    """Log odds of the same: the table is sorted by it."""
    logit: float
    """Out-of-fold logit of the class for the whole image."""
    neighbours: float
    """Log odds of the class among the most similar images."""
    locations: float
    """Out-of-fold logit of the top tenth of the places."""
    change: float
    """Predicted change of the tag loss of other images when this one tag is turned; below zero it helps them."""
    scores: Maps
    """float32 (h, w): out-of-fold logit of the class at each place."""
    influence: Maps
    """float32 (h, w): spatial influence of the image on the class's loss of other images; positive harms."""


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    dataset: Dataset
    """The images of the run with their tags."""
    suspicion: Suspicion
    """Odds of every tag, and the estimated rates."""
    typical: Array
    """float64 (C,): median of the evidence of places in images with the tag: what a clear case looks like."""
    suspects: tuple[Suspect, ...]
    """The most suspicious tags, most suspicious first."""


def audit(
    run: str | Path | RunFolder,
    *,
    bank: str | Path | None = None,
    maximum: int = 200,
    options: AuditOptions | None = None,
    progress: Progress = no_progress,
) -> Audit:
    """Rank the tags of a run's images by the odds that they are wrong, from heads that have not seen them.

    Args:
        run: A finished run.
        bank: Folder of its feature bank; default: RUN/bank.
        most: Number of tags to list.
        options: Defaults to `AuditOptions()` with the seed of the run.
        progress: Called with what is being done, the number done and the number to do.

    Raises:
        IgcamError: The run is not finished, or photos cannot be read.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if maximum < 1:
        raise IgcamError(f"most: must be at least 1, got {maximum}")
    labeller = Labeller.open(run, Path(bank) if bank else run.file("bank"))
    dataset = read_dataset_file(run.file("samples.json"))
    options = options or AuditOptions(folds=min(AuditOptions().folds, len(dataset)), seed=run.options.seed)
    tags = dataset.tag_matrix().astype(np.float64)
    pooled = read_array(run.file("stages", "features", "pooled.npy")).astype(np.float64)

    def feature_map(index: int) -> Maps:
        progress("look at places", index + 1, len(dataset))
        return mean_level(labeller.bank, dataset.samples[index].image)

    readings = read_tags(pooled, tags, feature_map, options)
    scores, found = readings[0].scores, joint_suspicion(readings)
    order = np.argsort(-found.log_odds, axis=None, kind="stable")[:maximum]
    pairs = np.stack(np.unravel_index(order, tags.shape), axis=1)
    suspects = _suspects(dataset, labeller, pooled, tags, scores, found, pairs, options, progress)
    locations = scores.logits if scores.locations is None else scores.locations
    typical = np.array([np.median(column[tag > 0.5]) for column, tag in zip(locations.T, tags.T, strict=True)])
    return Audit(dataset, found, typical, tuple(suspects))


def write_suspects(path: str | Path, suspects: tuple[Suspect, ...]) -> None:
    """Write the table of suspects as CSV, with an empty column `fix` for the user's answers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, item in enumerate(suspects, 1):
        numbers = (item.probability, item.score, item.logit, item.neighbours, item.locations, item.change)
        writer.writerow([rank, item.name, item.label, item.kind, *(f"{number:.6g}" for number in numbers), ""])
    write_text(path, stream.getvalue())


def _suspects(
    dataset: Dataset,
    labeller: Labeller,
    pooled: Array,
    tags: Array,
    scores: TagScores,
    found: Suspicion,
    pairs: NDArray[np.int64],
    options: AuditOptions,
    progress: Progress,
) -> list[Suspect]:
    """Look closely at these pairs of image and class, (k, 2)."""
    classifier = labeller.classifier
    features = pooled * classifier.scale
    fitted = cross_fit(features, tags, classifier.head.l2, options.folds, options.seed)
    changes = held_out_changes(features, tags, fitted, pairs)

    @lru_cache(maxsize=1)
    def maps(image: int) -> Maps:
        return mean_level(labeller.bank, dataset.samples[image].image) * np.float32(classifier.scale)

    suspects = []
    for done, ((image, c), change) in enumerate(zip(pairs.tolist(), changes.tolist(), strict=True)):
        head = fitted.heads[fitted.fold[image]]
        seen = np.tensordot(head.weight[c].astype(np.float32), maps(image), 1) + np.float32(head.bias[c])
        locations = np.nan if scores.locations is None else float(scores.locations[image, c])
        odds = float(found.log_odds[image, c])
        suspects.append(
            Suspect(
                image,
                dataset.samples[image].name,
                dataset.classes[c],
                "wrong" if tags[image, c] else "missing",
                float(expit(odds)),
                odds,
                float(scores.logits[image, c]),
                float(scores.neighbours[image, c]),
                locations,
                change,
                seen,
                fitted.spatial(image, maps(image))[c].astype(np.float32),
            )
        )
        progress("look at suspects", done + 1, len(pairs))
    return suspects


def held_out_changes(features: Array, tags: Array, fitted: CrossFit, pairs: NDArray[np.int64]) -> Array:
    """Return the predicted change of the tag loss of held-out images when each tag alone is turned, (k,).

    The mean over the folds that the image was trained in.
    """
    total = np.zeros(len(pairs))
    for k, head in enumerate(fitted.heads):
        on = fitted.fold != k
        exact = HeadInfluence(features[on], tags[on], head.weight, head.bias, head.l2)
        trained = np.flatnonzero(on[pairs[:, 0]])
        position = np.cumsum(on) - 1
        own = np.stack([position[pairs[trained, 0]], pairs[trained, 1]], axis=1)
        total[trained] += HeadChanges(exact, features[~on], tags[~on]).flip_tags(own) / (len(fitted.heads) - 1)
    return total
