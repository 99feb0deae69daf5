"""`fit`: from photos, tags and cues to a run folder with heads, masks and metrics, stage by stage, for any method."""

from __future__ import annotations

from pathlib import Path

from igcam.commands.run import Run
from igcam.commands.stage_metrics import write_stage_metrics
from igcam.core.errors import IgcamError
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.runs.folder import RunFolder
from igcam.runs.reuse import reuse_stages
from igcam.runs.stage_masks import write_stage_masks
from igcam.runs.stage_runner import run_stages
from igcam.runs.work import RunWork


def fit(
    dataset: Dataset,
    out: str | Path,
    options: FitOptions | None = None,
    *,
    bank: str | Path | None = None,
    earlier: str | Path | None = None,
    split: str = "train",
    progress: Progress = no_progress,
) -> Run:
    """Train on tags and cues, and draw masks of the training images.

    The same call again goes on where it was stopped: finished stages are not repeated, and the outcome is
    that of an undisturbed run.

    Args:
        dataset: Images without tags are left out. Cues of all kinds guide; truth is only used for metrics.
        out: The run folder.
        options: Method, network and all else; defaults to `FitOptions()`.
        bank: Folder of the feature bank, which runs may share; default: OUT/bank.
        earlier: Another run, whose stages are reused where they would come out the same: after new cues have
            been drawn, features and classifier need not be computed again.
        split: Name of these images in the ledger.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        The finished run.

    >>> dataset = igcam.read_folder("photos", "tags.csv", "masks")
    >>> run = igcam.fit(dataset, "runs/new", small)
    >>> list(run.metrics())
    ['cam', 'guide', 'reweight', 'sharpen', 'crf']

    Raises:
        IgcamError: There are no tagged images, a class has none, weights cannot be had, OUT holds another run,
            or a file cannot be read or written.
    """
    options = options or FitOptions()
    dataset = dataset.tagged()
    _check_tags(dataset)
    source = None if earlier is None else RunFolder.open(earlier)
    run = Run.begin(out, options, dataset)
    run.log(f"fit: {len(dataset)} images, classes {', '.join(dataset.classes)}")
    if source is not None:
        reuse_stages(run, source, dataset, bank=bank is None)
    work = RunWork(run, options, dataset, bank, progress)
    run_stages(work, options.stages)
    write_stage_masks(work, dataset)
    write_stage_metrics(run, options, dataset, split, progress)
    return run


def _check_tags(dataset: Dataset) -> None:
    if len(dataset) < 2:
        raise IgcamError(f"fit: needs at least 2 tagged images, got {len(dataset)}")
    counts = dataset.tag_matrix().sum(axis=0)
    empty = [name for name, count in zip(dataset.classes, counts, strict=True) if count == 0]
    if empty:
        raise IgcamError(f"fit: no image is tagged with {', '.join(empty)}; leave the class out of --classes")
