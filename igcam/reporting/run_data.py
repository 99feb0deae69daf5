"""A run folder as the report reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_json
from igcam.data.masks import MaskFile
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import read_results
from igcam.reporting.run_stages import gallery_arrays, stage_titles

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
    """One finished stage of the run."""

    name: str
    """Name of its folder."""
    title: str
    """Name on the page."""
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
    """Names without background."""
    entries: tuple[Entry, ...]
    stages: tuple[Stage, ...]
    """The finished stages, in the order of the run."""
    environment: Mapping[str, Any]
    """Versions and machine."""
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

    def mask(self, entry: Entry) -> MaskFile | None:
        """Return the final mask of an image, None if it is not written yet."""
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
    return RunData(
        folder=folder,
        method=str(run.get("method", "igcam")),
        version=str(run.get("version", "unknown")),
        seed=run.get("seed"),
        options=_parsed(folder / "run.json", lambda content: dict(content.get("options") or {})),
        classes=classes,
        entries=tuple(samples),
        stages=_stages(folder),
        environment=_optional(folder / "environment.json", dict) or {},
        image_scores=_optional(folder / "images.json", _image_scores) or {},
        arrays=gallery_arrays(folder, len(samples), len(classes)),
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
