"""Runs and data sets in a notebook: a small table and a few photos with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from igcam.core.errors import IgcamError
from igcam.data.cue import MaskCue
from igcam.data.images import load_image
from igcam.data.masks import MaskSource
from igcam.data.sample import Dataset
from igcam.reporting.gallery import evenly, hex_colour
from igcam.reporting.overlay import mask_overlay, thumbnail
from igcam.reporting.rendering import Panel, render
from igcam.reporting.run_data import read_run
from igcam.reporting.words import count, duration, kinds_of_cues, percent

MAX_PICTURES = 8
_MAX_ROWS = 20
_WIDTH = 340

Item = tuple[str, Path, MaskSource | None]


def run_html(folder: str | Path) -> str:
    """Return a run as an HTML fragment: the metrics of its stages and up to 8 photos with their final masks.

    Pictures are inline; photos that cannot be read are named. IgcamError: it is no run, or a file of it is damaged.
    """
    run = read_run(folder)
    about = f"run of {run.method}: {count(len(run.entries), 'image')}, {count(len(run.classes), 'class')}"
    columns = ("miou", "boundary_iou") if run.measured else ()
    rows = [
        (stage.title, *(percent(stage.values.get(key)) for key in columns), duration(stage.seconds))
        for stage in run.stages
    ]
    head = ("Stage", "mIoU %", "Boundary IoU %", "Time") if run.measured else ("Stage", "Time")
    items = [(entry.name, entry.image, run.mask(entry)) for entry in run.entries]
    drawn = [item for item in items if item[2] is not None]
    return _fragment(run.folder.resolve().name, about, head, rows, run.classes, drawn or items)


def dataset_html(dataset: Dataset) -> str:
    """Return a data set as an HTML fragment: images of each class, and up to 8 photos with their masks.

    The mask of a photo is its truth or, without truth, the mask cue of the whole image. Pictures are inline; photos
    that cannot be read are named.
    """
    samples = dataset.samples
    cues = Counter(kind for sample in samples for kind in {cue.kind for cue in sample.cues})
    parts = [
        f"tags on {count(sum(sample.tags is not None for sample in samples), 'image')}",
        *kinds_of_cues(dict(sorted(cues.items()))),
        f"truth masks on {count(sum(sample.truth is not None for sample in samples), 'image')}",
    ]
    about = f"{count(len(samples), 'image')}, {count(len(dataset.classes), 'class')}; {', '.join(parts)}"
    tagged = Counter(tag for sample in samples for tag in sample.tags or ())
    rows = [(name, f"{tagged[tag]:,}") for tag, name in enumerate(dataset.classes)]
    items = []
    for sample in samples:
        whole = [cue.source for cue in sample.cues if isinstance(cue, MaskCue) and cue.label is None]
        items.append((sample.name, sample.image, sample.truth or next(iter(whole), None)))
    return _fragment("Data set", about, ("Class", "Images"), rows, dataset.classes, items)


def _fragment(
    title: str,
    about: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    classes: Sequence[str],
    items: Sequence[Item],
) -> str:
    panels, problems = [], []
    for index in evenly(len(items), MAX_PICTURES):
        name, image, source = items[index]
        try:
            photo = thumbnail(load_image(image), _WIDTH)
            if source is not None:
                photo = mask_overlay(photo, source.read(), len(classes))
            panels.append(Panel(name, f"Photo {name}" + (" with its mask" if source else ""), photo))
        except IgcamError as error:
            problems.append(str(error))
    keys = [(hex_colour(label, len(classes)), name) for label, name in enumerate(classes[:_MAX_ROWS], 1)]
    shown = [*rows[:_MAX_ROWS], *([(f"and {len(rows) - _MAX_ROWS} more",)] if len(rows) > _MAX_ROWS else [])]
    return render(
        "notebook.html", title=title, about=about, head=head, rows=shown, keys=keys, panels=panels, problems=problems
    )
