"""What a run folder holds, as far as the report shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_array, read_json
from igcam.data.masks import MaskFile
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import read_results

STAGES = (
    "finetune",
    "features",
    "classify",
    "doubt",
    "tagger",
    "guide",
    "reweight",
    "objects",
    "sharpen",
    "crf",
    "masks",
)
"""Steps of a run in their order; others follow by name."""

_DRAWN_TOGETHER = ("sharpen", "crf")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Entry:
    """One image of the run."""

    name: str
    """Unique in the run."""
    image: Path
    """The photo's file."""
    tags: tuple[int, ...] | None
    """0-based class indices; None = unknown."""
    truth: MaskFile | None
    """The true mask, where there is one."""
    cues: Mapping[str, int]
    """Kind of cue -> how many of them this image has."""


@dataclass(frozen=True)
class Stage:
    """One stage, or another step of the run, that is complete."""

    name: str
    """Name of its folder."""
    seconds: float | None
    """Time it took; None where it is not known, or is in that of another stage."""
    curve: tuple[Mapping[str, float | None], ...] = ()
    """Training curve: one mapping an epoch, "epoch" and losses."""
    ledger: Ledger | None = None
    """What its numbers were bought with; None without truth."""
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
    """Names without background."""
    entries: tuple[Entry, ...]
    stages: tuple[Stage, ...]
    """In the order of the schedule."""
    environment: Mapping[str, Any]
    """Versions and machine."""
    image_scores: Mapping[str, float]
    """Name of an image -> its mIoU in percent; empty without truth."""
    maps: NDArray[np.floating] | None
    """Activation maps (N, C + 1, h, w), memory-mapped: background score, then classes in 0..1."""
    targets: NDArray[np.floating] | None
    """Guidance targets (N, C + 1, h, w), memory-mapped: probabilities."""
    confidence: NDArray[np.floating] | None
    """Trust in the targets (N, h, w), memory-mapped, 0..1."""

    @property
    def measured(self) -> tuple[Stage, ...]:
        """The stages that have metrics."""
        return tuple(stage for stage in self.stages if stage.ledger is not None and "miou" in stage.values)

    @property
    def seconds(self) -> float | None:
        """Time of the run: that of its last ledger, or of all steps together; None where nothing is known."""
        for stage in reversed(self.stages):
            if stage.ledger is not None and stage.ledger.wall_seconds is not None:
                return stage.ledger.wall_seconds
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if known else None

    def mask(self, entry: Entry) -> MaskFile | None:
        """Return the final mask of an image, None where none was written."""
        path = self.folder / "masks" / f"{entry.name}.png"
        return MaskFile(path) if path.is_file() else None


def read_run(folder: str | Path) -> RunData:
    """Read a run folder; arrays stay on the disk.

    Raises:
        IgcamError: It is no run folder, or a file in it is damaged or does not fit the others.
    """
    folder = Path(folder)
    for name in ("run.json", "samples.json"):
        if not (folder / name).is_file():
            raise IgcamError(f"{folder}: is not a run folder: {name} is missing")
    run = _parsed(folder / "run.json", dict)
    samples = _parsed(folder / "samples.json", lambda content: list(map(_entry, content["samples"])))
    classes = _parsed(folder / "samples.json", lambda content: tuple(map(str, content["classes"])))
    maps = ("classify/maps.npy", (len(samples), len(classes) + 1))
    targets = ("guide/pseudo_labels.npy", (len(samples), len(classes) + 1))
    confidence = ("guide/confidence.npy", (len(samples),))
    return RunData(
        folder=folder,
        method=str(run.get("method", "igcam")),
        version=str(run.get("version", "unknown")),
        seed=run.get("seed"),
        options=_parsed(folder / "run.json", lambda content: dict(content.get("options") or {})),
        classes=classes,
        entries=tuple(samples),
        stages=_stages(folder / "stages"),
        environment=_optional(folder / "environment.json", dict) or {},
        image_scores=_optional(folder / "images.json", _image_scores) or {},
        maps=_array(folder / "stages", *maps, dimensions=4),
        targets=_array(folder / "stages", *targets, dimensions=4),
        confidence=_array(folder / "stages", *confidence, dimensions=3),
    )


def _entry(row: Mapping[str, Any]) -> Entry:
    tags, truth, lookup = row.get("tags"), row.get("truth"), row.get("truth_lookup")
    return Entry(
        name=str(row["name"]),
        image=Path(row["image"]),
        tags=None if tags is None else tuple(int(tag) for tag in tags),
        truth=None if truth is None else MaskFile(Path(truth), None if lookup is None else tuple(lookup)),
        cues={str(kind): int(count) for kind, count in (row.get("cues") or {}).items()},
    )


def _stages(folder: Path) -> tuple[Stage, ...]:
    """Return the stages whose stage.json is written, in their order."""
    names = sorted(path.parent.name for path in folder.glob("*/stage.json"))
    names.sort(key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))
    stages = {name: _stage(folder / name) for name in names}
    for name in _DRAWN_TOGETHER:
        # One pass draws the masks of these stages, and each of them notes the time of the pass.
        if name in stages and "masks" in stages and stages[name].seconds == stages["masks"].seconds:
            stages[name] = replace(stages[name], seconds=None)
    return tuple(stages.values())


def _stage(folder: Path) -> Stage:
    seconds, curve = _parsed(folder / "stage.json", _stage_facts)
    if not (folder / "metrics.json").is_file():
        return Stage(folder.name, seconds, curve)
    ledger, rows = read_results(folder / "metrics.json")
    return Stage(folder.name, seconds, curve, ledger, {row.id: row.value for row in rows})


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


def _array(folder: Path, name: str, leading: tuple[int, ...], dimensions: int) -> NDArray[np.floating] | None:
    path = folder / name
    if not path.is_file():
        return None
    array = read_array(path, mmap=True)
    if array.ndim != dimensions or array.shape[: len(leading)] != leading:
        wanted = " x ".join([*map(str, leading), "h", "w"])
        raise IgcamError(f"{path}: must be {wanted}, got {' x '.join(map(str, array.shape))}")
    return array


def _parsed(path: Path, parse: Callable[[Any], Result]) -> Result:
    content = read_json(path)
    try:
        return parse(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IgcamError(f"{path}: is not of the form that a run writes: {error!r}") from error


def _optional(path: Path, parse: Callable[[Any], Result]) -> Result | None:
    return _parsed(path, parse) if path.is_file() else None
