"""Proposals on disk, one file per image and kind."""

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
    """A kind of proposals with its answers on disk; itself a `Proposer`.

    The file name depends on the photo, the feature and the name of the kind, which must change with its options. A
    damaged file is computed again. Several processes may share a folder.

        FOLDER/3f/3f...c1.safetensors

    Args:
        folder: May hold several kinds.
        name: The kind with its options, such as `f"clusters {options}"`.
        proposer: Called for missing files.
    """

    def __init__(self, folder: str | Path, name: str, proposer: Proposer) -> None:
        self.folder, self.name, self.proposer = Path(folder), name, proposer

    def __call__(self, image: NDArray[np.uint8], feature: NDArray[np.floating] | None) -> Segments:
        """Return the segments of a photo, from the folder if they are there."""
        file = self.file(image, feature)
        try:
            tensors = read_tensors(file)
            shape = tuple(tensors["shape"].tolist())
            bits = np.unpackbits(tensors["bits"].numpy(), count=int(np.prod(shape)))
            return Segments(bits.reshape(shape).astype(bool), tensors["scores"].numpy())
        except (IgcamError, KeyError, ValueError):
            found = self.proposer(image, feature)
            bits, scores = np.packbits(found.masks), found.scores.astype(np.float32)
            tensors = {"shape": torch.tensor(found.masks.shape), "bits": torch.from_numpy(bits)}
            write_tensors(file, tensors | {"scores": torch.from_numpy(scores)})
            return found

    def file(self, image: NDArray[np.uint8], feature: NDArray[np.floating] | None) -> Path:
        """Return the file of the segments of a photo."""
        parts = [f"{FORMAT}\n{self.name}"]
        for array in (image, feature):
            content = "none" if array is None else digest(np.ascontiguousarray(array).tobytes())
            shape = "" if array is None else f"{array.dtype} {array.shape}"
            parts.append(f"{shape} {content}")
        key = digest("\n".join(parts).encode())
        return self.folder / key[:2] / f"{key}.safetensors"
