"""Batches of views of image files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.models.views import View

Task = tuple[Path, View]
"""A view of an image file."""
_Item = TypeVar("_Item")


def batches(tasks: Sequence[Task], batch_size: int) -> list[list[Task]]:
    """Cut tasks into batches of one size of image."""
    by_size: defaultdict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        by_size[task[1].size].append(task)
    return [same[start : start + batch_size] for same in by_size.values() for start in range(0, len(same), batch_size)]


def filled_up(batch: Sequence[_Item], size: int) -> list[_Item]:
    """Repeat the last item up to `size`: what a network gives for an image can depend on the size of its batch."""
    return [*batch, *[batch[-1]] * (size - len(batch))]


def decoded(batch: list[Task]) -> list[tuple[Task, NDArray[np.uint8] | IgcamError]]:
    """Read the views of a batch; an image that cannot be read is stood for by its error."""
    images: dict[Path, NDArray[np.uint8] | IgcamError] = {}
    result: list[tuple[Task, NDArray[np.uint8] | IgcamError]] = []
    for path, view in batch:
        if path not in images:
            images.clear()
            try:
                images[path] = load_image(path)
            except IgcamError as error:
                images[path] = error
        image = images[path]
        result.append(((path, view), image if isinstance(image, IgcamError) else view.apply(image)))
    return result
