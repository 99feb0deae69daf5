"""What the report knows of the stages of a method: order, titles and the arrays that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.methods.base import Stage
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

_MASKS = ("Masks", "the masks of every stage at full resolution")


def declared_stages(run: Path) -> tuple[Stage, ...]:
    """Return the stages of a run's method in order; none where its options cannot be read or the method is unknown."""
    try:
        return RunFolder(run).options.stages
    except IgcamError:
        return ()


def stage_titles(run: Path) -> Mapping[str, tuple[str, str]]:
    """Return title and one-line description of each finished stage, in the order of the run.

    Args:
        run: The run folder. A stage is finished when its stage.json is written; unknown ones come last.
    """
    known = {stage.name: (stage.title or stage.name, stage.about) for stage in declared_stages(run)} | {"masks": _MASKS}
    finished = sorted(path.parent.name for path in run.glob("stages/*/stage.json"))
    finished.sort(key=lambda name: list(known).index(name) if name in known else len(known))
    return {name: known.get(name, (name, "")) for name in finished}


def gallery_arrays(run: Path, images: int, classes: int) -> Mapping[str, NDArray[np.floating]]:
    """Return the arrays of a run that are drawn over its photos, memory-mapped.

    Args:
        run: The run folder.
        images: Number N of images.
        classes: Number C of classes without background.

    Returns:
        Those that the run has of `maps`, (N, C + 1, h, w), background score, then class activations in 0..1;
        `pseudo_labels`, (N, C + 1, h, w), probabilities; `confidence`, (N, h, w), of the pseudo labels in 0..1.

    Raises:
        IgcamError: A file is damaged, or its array has another shape or no floats.
    """
    artefacts, stages, found = RunArtefacts(RunFolder(run)), declared_stages(run), {}
    chosen = {"maps": next((f"{stage.name}/{stage.scores}" for stage in stages if stage.scores), None)}
    for name in ("pseudo_labels", "confidence"):
        chosen[name] = next((f"{stage.name}/{name}" for stage in stages if name in stage.leaves), None)
    for key, artefact in chosen.items():
        leading = (images,) if key == "confidence" else (images, classes + 1)
        if artefact is not None and artefacts.has(artefact):
            array = found[key] = artefacts.load_array(artefact)
            *outer, height, width = array.shape if array.ndim > 2 else (0, 0)
            if tuple(outer) != leading or not height * width or array.dtype.kind != "f":
                wanted = " x ".join([*map(str, leading), "h", "w"])
                got = " x ".join(map(str, array.shape))
                raise IgcamError(f"{artefacts.file(artefact)}: must be {wanted} floats, got {got} of {array.dtype}")
    return found
