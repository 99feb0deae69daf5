"""The run folder: what was asked, what is done, and what came out of it."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from filelock import FileLock, Timeout

from igcam.core.errors import IgcamError
from igcam.core.files import check_new_folder, read_json, write_json
from igcam.core.validation import from_plain, to_plain
from igcam.core.version import __version__
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.runs.dataset_file import dataset_to_plain
from igcam.runs.old_options import modernised_run

LOCK = ".lock"
"""Held by the process that writes."""


class RunFolder:
    """A folder with the state of one run.

        run.json           method, seed, options, classes
        samples.json       images, tags, truth
        environment.json   versions
        log.txt            what happened when
        features/          pooled and reduced features
        stages/NAME/       arrays, heads, masks and metrics of each stage; stage.json marks it as done
        masks/             the masks of the last stage
        metrics.json       the metrics of all stages

    Every file is written under a temporary name and then renamed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def begin(cls, path: str | Path, options: FitOptions, dataset: Dataset) -> Self:
        """Open a new folder, or one that holds the same run.

        A run without a finished stage may be begun anew with other options.

        Raises:
            IgcamError: It holds another run, whose options that differ are named, or other files.
        """
        run = cls(path)
        asked = {
            "version": __version__,
            "method": options.entry.name,
            "seed": options.seed,
            "options": to_plain(options),
            "classes": list(dataset.classes),
            "images": len(dataset),
        }
        samples = dataset_to_plain(dataset)
        if run.file("run.json").exists() and any(run.path.glob("stages/*/stage.json")):
            run._check_same(asked, samples)
        else:
            run._check_new()
            write_json(run.file("samples.json"), samples)
            write_json(run.file("environment.json"), environment())
            write_json(run.file("run.json"), asked)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing run; IgcamError if there is none."""
        run = cls(path)
        if not run.file("run.json").is_file():
            raise IgcamError(f"{path}: is not a run folder: it has no run.json")
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing to the run.

        Raises:
            IgcamError: One does already, the folder has other files, or it cannot be made.
        """
        self._check_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.file(LOCK), timeout=0)
            lock.acquire()
        except Timeout as error:
            raise IgcamError(f"{self.path}: another process is writing to this run") from error
        except OSError as error:
            raise IgcamError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def file(self, *parts: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path.joinpath(*parts)

    @property
    def options(self) -> FitOptions:
        """Options of the run."""
        plain = self._asked("options", dict)
        if self.version == "0.1.0":
            plain = modernised_run(plain)
        return from_plain(FitOptions, plain, str(self.file("run.json")))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without background."""
        classes = self._asked("classes", list)
        if not classes or not all(isinstance(name, str) for name in classes):
            raise IgcamError(f"{self.file('run.json')}: classes must be names, got {shortened(classes)}")
        return tuple(classes)

    @property
    def version(self) -> str:
        """Version of this library that began it."""
        return str(self._asked("version", str))

    def done_file(self, stage: str) -> Path:
        """Return the path of the file that marks a stage as done."""
        return self.file("stages", stage, "stage.json")

    def is_done(self, stage: str) -> bool:
        """Tell whether a stage is done."""
        return self.done_file(stage).is_file()

    def finish(self, stage: str, seconds: float, **facts: Any) -> None:
        """Mark a stage as done, with its time and other facts."""
        write_json(self.done_file(stage), {"stage": stage, "seconds": seconds, **facts})
        self.log(f"{stage}: done in {seconds:.1f} s")

    def facts(self, stage: str) -> dict[str, Any]:
        """Return what `finish` wrote about a stage."""
        file = self.done_file(stage)
        facts = read_json(file)
        if not isinstance(facts, dict):
            raise IgcamError(f"{file}: must be a JSON object, got {shortened(facts)}")
        return facts

    def log(self, line: str) -> None:
        """Add a line with the time to log.txt."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
        file = self.file("log.txt")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(f"{now} {line}\n")
        except OSError as error:
            raise IgcamError(f"{file}: cannot be written: {error.strerror or error}") from error

    def _check_new(self) -> None:
        if not self.file("run.json").exists():
            check_new_folder(self.path, "a run folder", "samples.json", "environment.json", LOCK)

    def _asked(self, name: str, kind: type[Any]) -> Any:
        """Return a value of run.json."""
        file = self.file("run.json")
        content = read_json(file)
        value = content.get(name) if isinstance(content, dict) else None
        if not isinstance(value, kind):
            raise IgcamError(f"{file}: is not of a run: {name} must be a {kind.__name__}, got {shortened(value)}")
        return value

    def _check_same(self, asked: Mapping[str, Any], samples: Mapping[str, Any]) -> None:
        # Options added later have their defaults in older runs.
        held = {**read_json(self.file("run.json")), "options": to_plain(self.options), "version": __version__}
        differing = differences(held, asked)
        if not differing and read_json(self.file("samples.json")) != samples:
            differing = ["the images, tags, cues or true masks differ"]
        if differing:
            raise IgcamError.from_lines(f"{self.path}: holds another run; choose another --out:", differing)


def environment() -> dict[str, Any]:
    """Return the versions that a result depends on."""
    return {
        "igcam": __version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def differences(held: Any, asked: Any, name: str = "") -> list[str]:
    """Return a line for each value that differs in two nested dictionaries: its dotted name and both values."""
    if isinstance(held, dict) and isinstance(asked, dict):
        return [
            found
            for key in sorted(held.keys() | asked.keys())
            for found in differences(held.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if held == asked else [f"{name}: {shortened(held)} here, {shortened(asked)} asked"]


def shortened(value: Any) -> str:
    """Return the repr of a value, in 60 characters at most."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
