"""The artefacts of the stages of a run on disk: arrays as .npy, tensors as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.files import read_array, read_tensors, write_array, write_tensors
from igcam.methods.base import Model, Refinement
from igcam.runs.folder import RunFolder

Loaded = TypeVar("Loaded")
OLD_NAMES = {
    "cam/maps": "classify/maps",
    "guide/pseudo_labels": "guide/targets",
    "guide/confidence": "guide/trust",
    "reweight/pseudo_labels": "reweight/targets",
    "reweight/confidence": "reweight/trust",
}
"""Names of artefacts in version 0.1.0."""


class RunArtefacts:
    """The artefacts of one run; see `igcam.methods.base.Artefacts`."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def file(self, artefact: str) -> Path:
        """Return where an artefact is, or the .npy that it would be."""
        for name in (artefact, OLD_NAMES.get(artefact, artefact)):
            for suffix in (".npy", ".safetensors"):
                path = self._path(name, suffix)
                if path.is_file():
                    return path
        return self._path(artefact, ".npy")

    def has(self, artefact: str) -> bool:
        """Tell whether it exists."""
        return self.file(artefact).is_file()

    def load_array(self, artefact: str) -> NDArray[Any]:
        """Return an array, memory-mapped, read-only; IgcamError if it is missing or damaged."""
        return read_array(self.file(artefact), mmap=True)

    def load(self, artefact: str, parse: Callable[[dict[str, Tensor]], Loaded]) -> Loaded:
        """Return what `parse` makes of tensors; IgcamError if the file is missing or damaged, or does not fit."""
        path = self._path(artefact, ".safetensors")
        tensors = read_tensors(path)
        what = parse.__qualname__.split(".")[0]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise IgcamError(f"{path}: holds NaN or infinity")
        try:
            return parse(tensors)
        except KeyError as error:
            raise IgcamError(f"{path}: is no file of a {what}: {error} is missing") from error
        except (TypeError, ValueError, RuntimeError) as error:
            # Torch lists every tensor in a line of its own.
            raise IgcamError(f"{path}: is no file of a {what}: {' '.join(str(error).split())[:200]}") from error

    def leave(self, artefact: str, value: NDArray[Any] | Mapping[str, Tensor]) -> None:
        """Write an array or tensors."""
        if isinstance(value, Mapping):
            write_tensors(self._path(artefact, ".safetensors"), dict(value))
        else:
            write_array(self._path(artefact, ".npy"), value)

    def _path(self, artefact: str, suffix: str) -> Path:
        stage, _, name = artefact.partition("/")
        return self.run.file("stages", stage, name + suffix)


def open_model(run: RunFolder) -> Model:
    """Load what a run has trained, by the method of the run.

    Raises:
        IgcamError: The run is not finished, or its files are damaged or do not fit each other.
    """
    options = run.options
    steps = [stage.name for stage in options.stages if not isinstance(stage, Refinement)]
    unfinished = [name for name in steps if not run.is_done(name)]
    # Runs of version 0.1.0 keep activation maps with the classifier.
    unfinished = [name for name in unfinished if not (name == "cam" and run.is_done("classify"))]
    if unfinished:
        raise IgcamError(f"{run.path}: is not finished: no {', '.join(unfinished)}; run igcam fit again")
    return options.entry.model(RunArtefacts(run), options.chosen, options, len(run.classes))
