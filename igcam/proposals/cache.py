"""Proposals on disk: one file an image and kind, written once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import digest, read_tensors, write_tensors
from igcam.proposals.segments import Proposer, Segments

FORMAT = "igcam proposals 1"


class ProposalCache:
    """A kind of proposals that remembers what it found; itself a `Proposer`.

    A file is named after everything that decides on it: the kind's name, which must change with its options, the
    photo and the feature. A damaged file is made again. Several processes may share a folder.

        FOLDER/3f/3f...c1.safetensors
    """

    def __init__(self, folder: str | Path, name: str, proposer: Proposer) -> None:
        """Open or begin a cache.

        Args:
            folder: May hold several kinds.
            name: The kind with its options, such as `f"clusters {options}"`.
            proposer: Is called for what is not there.
        """
        self.folder, self.name, self.proposer = Path(folder), name, proposer

    def __call__(self, image: NDArray[np.uint8], feature: NDArray[np.floating] | None) -> Segments:
        """Return the segments of a photo, from the folder if they are there."""
        file = self.file(image, feature)
        try:
            return _from_tensors(read_tensors(file))
        except (IgcamError, KeyError, ValueError):
            found = self.proposer(image, feature)
            write_tensors(file, _to_tensors(found))
            return found

    def file(self, image: NDArray[np.uint8], feature: NDArray[np.floating] | None) -> Path:
        """Return where the segments of a photo are kept."""
        parts = [f"{FORMAT}\n{self.name}"]
        for array in (image, feature):
            content = "none" if array is None else digest(np.ascontiguousarray(array).tobytes())
            shape = "" if array is None else f"{array.dtype} {array.shape}"
            parts.append(f"{shape} {content}")
        key = digest("\n".join(parts).encode())
        return self.folder / key[:2] / f"{key}.safetensors"


def _to_tensors(segments: Segments) -> dict[str, torch.Tensor]:
    return {
        "shape": torch.tensor(segments.masks.shape),
        "bits": torch.from_numpy(np.packbits(segments.masks)),
        "scores": torch.from_numpy(segments.scores.astype(np.float32)),
    }


def _from_tensors(tensors: dict[str, torch.Tensor]) -> Segments:
    shape = tuple(tensors["shape"].tolist())
    bits = np.unpackbits(tensors["bits"].numpy(), count=int(np.prod(shape)))
    return Segments(bits.reshape(shape).astype(bool), tensors["scores"].numpy())
