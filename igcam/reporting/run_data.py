"""A run folder as the report reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_json
from igcam.data.masks import MaskFile
from igcam.data.sample import Sample
from igcam.methods.base import Stage as DeclaredStage
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import read_results
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

Result = TypeVar("Result")


@dataclass(frozen=True)
class Stage:
    """One finished stage of the run."""

    name: str
    title: str
    about: str
    """What it does, in one line; may be empty."""
    seconds: float | None
    """Computing time; None = unknown, or contained in that of another stage."""
    curve: tuple[Mapping[str, float | None], ...] = ()
    """Training curve: for each epoch "epoch" and the losses."""
    ledger: Ledger | None = None
    """Supervision of its metrics; None without truth."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Row id -> percent; empty without truth."""


@dataclass(frozen=True)
class RunData:
    """A run folder; what is missing is empty or None."""

    folder: Path
    method: str
    version: str
    seed: int | None
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    entries: tuple[Sample, ...]
    """The images, without their cues."""
    cues: tuple[Mapping[str, int], ...]
    """For each image the number of its cues by kind."""
    stages: tuple[Stage, ...]
    environment: Mapping[str, Any]
    image_scores: Mapping[str, float]
    """Name of an image -> its mIoU in percent; empty without truth."""
    arrays: Mapping[str, NDArray[np.floating]]
    """`maps`, `pseudo_labels` and `confidence`, as far as the run has them; see `gallery_arrays`."""

    @property
    def measured(self) -> tuple[Stage, ...]:
        """The stages that have metrics."""
        return tuple(stage for stage in self.stages if stage.ledger is not None and "miou" in stage.values)

    @property
    def seconds(self) -> float | None:
        """Computing time: that of the last ledger, or the sum over the stages; None = unknown."""
        for stage in reversed(self.stages):
            if stage.ledger is not None and stage.ledger.wall_seconds is not None:
                return stage.ledger.wall_seconds
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if known else None

    def mask(self, entry: Sample) -> MaskFile | None:
        """Return the final mask of an image, None if it is not written yet."""
        path = self.folder / "masks" / f"{entry.name}.png"
        return MaskFile(path) if path.is_file() else None


def read_run(folder: str | Path) -> RunData:
    """Read a run folder, arrays left on the disk; IgcamError if it is none, or a file is damaged or does not fit."""
    folder = Path(folder)
    for name in ("run.json", "samples.json"):
        if not (folder / name).is_file():
            raise IgcamError(f"{folder}: is not a run folder: {name} is missing")
    run = _parsed(folder / "run.json", dict)
    dataset = read_dataset_file(folder / "samples.json")
    return RunData(
        folder=folder,
        method=str(run.get("method", "igcam")),
        version=str(run.get("version", "unknown")),
        seed=run.get("seed"),
        options=_parsed(folder / "run.json", lambda content: dict(content.get("options") or {})),
        classes=dataset.classes,
        entries=dataset.samples,
        cues=_parsed(folder / "samples.json", _cues),
        stages=_stages(folder),
        environment=_optional(folder / "environment.json", dict) or {},
        image_scores=_optional(folder / "images.json", _image_scores) or {},
        arrays=gallery_arrays(folder, len(dataset), len(dataset.classes)),
    )


def stage_titles(run: Path) -> Mapping[str, tuple[str, str]]:
    """Return title and one-line description of each finished stage of a run folder, in the order of its method.

    A stage is finished when its stage.json is written; unknown ones come last.
    """
    known = {stage.name: (stage.title or stage.name, stage.about) for stage in _declared_stages(run)}
    known["masks"] = ("Masks", "the masks of every stage at full resolution")
    finished = sorted(path.parent.name for path in run.glob("stages/*/stage.json"))
    finished.sort(key=lambda name: list(known).index(name) if name in known else len(known))
    return {name: known.get(name, (name, "")) for name in finished}


def gallery_arrays(run: Path, images: int, classes: int) -> Mapping[str, NDArray[np.floating]]:
    """Return the arrays of a run folder that are drawn over its N photos of C classes, memory-mapped.

    Returns:
        Those that the run has of `maps`, (N, C + 1, h, w), background score, then class activations in 0..1;
        `pseudo_labels`, (N, C + 1, h, w), probabilities; `confidence`, (N, h, w), of the pseudo labels in 0..1.

    Raises:
        IgcamError: A file is damaged, or its array has another shape or no floats.
    """
    artefacts, stages, found = RunArtefacts(RunFolder(run)), _declared_stages(run), {}
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


def _declared_stages(run: Path) -> tuple[DeclaredStage, ...]:
    """Return the stages of a run's method in order; none where its options cannot be read or the method is unknown."""
    try:
        return RunFolder(run).options.stages
    except IgcamError:
        return ()


def _cues(content: Mapping[str, Any]) -> tuple[dict[str, int], ...]:
    return tuple(dict(Counter(row.get("cues"))) for row in content["samples"])


def _stages(run: Path) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for name, (title, about) in reversed([*stage_titles(run).items()]):
        folder, ledger, values = run / "stages" / name, None, {}
        seconds, curve = _parsed(folder / "stage.json", _stage_facts)
        if (folder / "metrics.json").is_file():
            ledger, rows = read_results(folder / "metrics.json")
            values = {row.id: row.value for row in rows}
        if any(seconds == later.seconds for later in stages):
            seconds = None  # Stages that share one pass over the photos may each note the time of that pass.
        stages.append(Stage(name, title, about, seconds, curve, ledger, values))
    return tuple(reversed(stages))


def _stage_facts(content: Mapping[str, Any]) -> tuple[float | None, tuple[dict[str, float | None], ...]]:
    seconds = content.get("seconds")
    curve = tuple(
        {str(key): None if value is None else float(value) for key, value in point.items()}
        for point in content.get("curve") or ()
    )
    return None if seconds is None else float(seconds), curve


def _image_scores(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    # An image without a scored pixel has no mIoU.
    return {str(row["name"]): float(row["miou"]) for row in content["scores"] if row["miou"] is not None}


def _parsed(path: Path, parse: Callable[[Any], Result]) -> Result:
    content = read_json(path)
    try:
        return parse(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IgcamError(f"{path}: is not of the form that a run writes: {error!r}") from error


def _optional(path: Path, parse: Callable[[Any], Result]) -> Result | None:
    return _parsed(path, parse) if path.is_file() else None
