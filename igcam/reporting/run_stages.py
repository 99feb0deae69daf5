"""What the report knows of the stages of a method: order, titles and the arrays that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_array

_TITLES = {
    "finetune": ("Fine-tuning", "the backbone is trained on the tags"),
    "features": ("Features", "the backbone runs once over every photo"),
    "classify": ("Activation maps", "class heads are trained on the tags"),
    "noisy_tags": ("Noisy tags", "tags that look wrong get a lower weight"),
    "doubt": ("Noisy tags", "tags that look wrong get a lower weight"),
    "tagger": ("Tagger", "predicts the classes of photos without tags"),
    "guide": ("Instance guidance", "cues and proposals become pseudo labels"),
    "reweight": ("Influence weights", "harmful pseudo labels get a lower weight"),
    "objects": ("Objects", "classifies locations by all similar ones, in photos without tags"),
    "sharpen": ("Boundary refinement", "from coarse maps to full resolution"),
    "crf": ("Dense CRF", "masks follow the colours of the photo"),
    "masks": ("Masks", "the masks of every stage at full resolution"),
}

_FILES = {
    "maps": ("classify/maps",),
    "pseudo_labels": ("guide/pseudo_labels", "guide/targets"),
    "confidence": ("guide/confidence", "guide/trust"),
}
"""Array -> where it is, the place in older runs last."""


def stage_titles(run: Path) -> Mapping[str, tuple[str, str]]:
    """Return title and one-line description of each finished stage, in the order of the run.

    Args:
        run: The run folder. A stage is finished when its stage.json is written; unknown ones come last.
    """
    finished = sorted(path.parent.name for path in run.glob("stages/*/stage.json"))
    finished.sort(key=lambda name: list(_TITLES).index(name) if name in _TITLES else len(_TITLES))
    return {name: _TITLES.get(name, (name, "")) for name in finished}


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
    found = {}
    for key, names in _FILES.items():
        leading = (images,) if key == "confidence" else (images, classes + 1)
        for path in (run / "stages" / f"{name}.npy" for name in names):
            if path.is_file():
                array = found[key] = read_array(path, mmap=True)
                *outer, height, width = array.shape if array.ndim > 2 else (0, 0)
                if tuple(outer) != leading or not height * width or array.dtype.kind != "f":
                    wanted = " x ".join([*map(str, leading), "h", "w"])
                    got = " x ".join(map(str, array.shape))
                    raise IgcamError(f"{path}: must be {wanted} floats, got {got} of {array.dtype}")
                break
    return found
