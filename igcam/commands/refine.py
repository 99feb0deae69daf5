"""`refine`: align masks or score maps of any origin with the edges of their photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.core.parallel import in_parallel
from igcam.core.progress import Progress, no_progress
from igcam.data.images import find_files, find_images, image_size, load_image, sample_name
from igcam.data.masks import IGNORE, read_mask_file, write_mask
from igcam.methods.base import Refinement
from igcam.methods.refinements import DenseCrf, Sharpen
from igcam.refine.pyramid import PyramidOptions
from igcam.runs.refined_masks import final_mask

Array = NDArray[np.float32]
CERTAINTY = 0.9
"""Probability of the class of a mask; above the margin below which the pyramid solves pixels again."""


def refine_masks(
    given: str | Path,
    photos: str | Path,
    out: str | Path,
    steps: Sequence[Refinement] | None = None,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> list[Path]:
    """Refine each mask or score map of a folder by the colours of its photo, without a network.

    Args:
        given: Folder with masks NAME.png, ids 0..254 and 255 = unknown, or scores NAME.npy of at least 0, float
            (K, h, w), background first, up to the size of the photo.
        photos: Folder of photos, searched with its subfolders.
        out: Folder for NAME.png; masks that are there already are skipped.
        steps: Refinements, in order; None for boundary refinement and a dense CRF.
        workers: Threads; None is one a core.
        progress: Called with the name of the task, the number done and the number to do.

    Returns:
        The masks' files, in the order of their names.

    >>> len(igcam.refine_masks("masks", "photos", "refined"))
    16

    Raises:
        IgcamError: The folder is empty, photos are missing, or files have a wrong size or wrong values; all of them
            are listed, after the others are done.
    """
    given, out = Path(given), Path(out)
    steps = (Sharpen(PyramidOptions()), DenseCrf()) if steps is None else steps
    if out.resolve() == given.resolve():
        raise IgcamError(f"{out}: must not be the folder of the masks or maps that are refined")
    files = find_files(given, (".png", ".npy"))
    if not files:
        raise IgcamError(f"{given}: has no masks NAME.png and no maps NAME.npy")
    images = {sample_name(image, Path(photos)): image for image in find_images(photos)}
    pairs, problems = {}, []
    for file in files:
        name = sample_name(file, given)
        if name in pairs:
            problems.append(f"{file}: there is a mask and a map of this name; keep one of them")
        elif name not in images:
            problems.append(f"{file}: has no photo of this name in {photos}")
        else:
            pairs[name] = file
    todo = [name for name in pairs if not (out / f"{name}.png").exists()]

    def work(name: str) -> str | None:
        try:
            write_mask(out / f"{name}.png", _refine_one(pairs[name], images[name], steps))
        except IgcamError as error:
            return str(error)
        return None

    for done, problem in enumerate(in_parallel(work, todo, workers), start=1):
        problems += [problem] if problem else []
        progress("refine", done, len(todo))
    if problems:
        raise IgcamError.from_lines(f"{given}: {len(problems)} of {len(files)} files cannot be refined:", problems)
    return [out / f"{name}.png" for name in pairs]


def _refine_one(file: Path, photo: Path, steps: Sequence[Refinement]) -> NDArray[np.uint8]:
    height, width = image_size(photo)
    if file.suffix == ".npy":
        return final_mask(load_image(photo), _read_map(file, height, width), steps)
    mask = read_mask_file(file)
    if mask.shape != (height, width):
        raise IgcamError(f"{file}: is {mask.shape[1]} x {mask.shape[0]} pixels, its photo {width} x {height}")
    labels = np.unique(mask[mask != IGNORE])
    if len(labels) < 2:
        return np.full(mask.shape, labels[0] if len(labels) else 0, np.uint8)
    # Unknown pixels have a uniform probability over the classes of the mask.
    unsure = np.where(mask == IGNORE, 1 / len(labels), (1 - CERTAINTY) / (len(labels) - 1)).astype(np.float32)
    scores = np.where(mask == labels[:, None, None], np.float32(CERTAINTY), unsure)
    return np.asarray(labels[final_mask(load_image(photo), scores, steps)], np.uint8)


def _read_map(file: Path, height: int, width: int) -> Array:
    scores = read_array(file)
    if scores.ndim != 3 or not 1 <= len(scores) <= IGNORE or not np.issubdtype(scores.dtype, np.floating):
        raise IgcamError(f"{file}: must be float (K, h, w) with K in 1..{IGNORE}, got {scores.dtype} {scores.shape}")
    if 0 in scores.shape or scores.shape[1] > height or scores.shape[2] > width:
        raise IgcamError(f"{file}: must be 1 x 1 to {height} x {width} like its photo, got {scores.shape[1:]}")
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise IgcamError(f"{file}: must be finite and at least 0; give probabilities, not logits")
    return scores.astype(np.float32)
