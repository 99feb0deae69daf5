"""`audit`: the tags of a finished run that are probably wrong or missing, most suspicious first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.commands.label import Labeller
from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.label_quality.suspects import Suspect, find_suspects
from igcam.label_quality.suspicion import Suspicion, audit_passes, mean_suspicion
from igcam.label_quality.tag_scores import AuditOptions
from igcam.methods.classifier import Classifier
from igcam.methods.features import mean_level
from igcam.models.linear_head import cross_fit
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder


@dataclass(frozen=True)
class Audit:
    """The result of an audit."""

    dataset: Dataset
    """The images of the run with their tags."""
    suspicion: Suspicion
    """Odds of every tag, and the estimated noise rates."""
    typical: NDArray[np.float64]
    """float64 (C,): median score of the locations in images with the tag: a clear case of the class."""
    suspects: tuple[Suspect, ...]
    """The most suspicious tags, most suspicious first."""


def audit(
    run: str | Path | RunFolder,
    *,
    bank: str | Path | None = None,
    limit: int = 200,
    options: AuditOptions | None = None,
    progress: Progress = no_progress,
) -> Audit:
    """Rank the tags of a run by the odds that they are wrong, by heads that have not seen them.

    Args:
        run: A finished run.
        bank: Folder of its feature bank; default: RUN/bank.
        limit: Number of tags to list, at least 1.
        options: Defaults to `AuditOptions()` with the seed of the run.
        progress: Called with what is being done, the number done and the number to do.

    >>> found = igcam.audit("runs/mine", limit=3)
    >>> len(found.suspects)
    3

    Raises:
        IgcamError: The run is not finished, limit is below 1, or photos cannot be read.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if limit < 1:
        raise IgcamError(f"limit: must be at least 1, got {limit}")
    if not run.is_done("classify"):
        method = run.options.entry.name
        raise IgcamError(f"{run.path}: audit needs the stage classify; a run of {method} lacks it, or is not finished")
    labeller = Labeller.open(run, Path(bank) if bank else run.file("bank"))
    dataset = read_dataset_file(run.file("samples.json"))
    options = options or AuditOptions(folds=min(AuditOptions().folds, len(dataset)), seed=run.options.seed)
    tags = dataset.tag_matrix().astype(np.float64)
    pooled = read_array(run.file("stages", "features", "pooled.npy")).astype(np.float64)
    classifier = RunArtefacts(run).load("classify/head", Classifier.from_tensors)

    def level(index: int) -> NDArray[np.float32]:
        return mean_level(labeller.bank, dataset.samples[index].image)

    def counted_level(index: int) -> NDArray[np.float32]:
        progress("score locations", index + 1, len(dataset))
        return level(index)

    passes = audit_passes(pooled, tags, counted_level, options)
    scores, found = passes[0].scores, mean_suspicion(passes)
    features = pooled * classifier.scale
    fitted = cross_fit(features, tags, classifier.head.l2, options.folds, options.seed)
    scale = np.float32(classifier.scale)
    suspects = find_suspects(
        dataset, scores, found, fitted, features, lambda index: level(index) * scale, limit, progress
    )
    return Audit(dataset, found, scores.typical(tags), tuple(suspects))
