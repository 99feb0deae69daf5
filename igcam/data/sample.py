"""Samples and data sets: images with their tags, cues and true masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.cue import Cue
from igcam.data.findings import did_you_mean
from igcam.data.masks import BACKGROUND, MAXIMUM_CLASSES, MaskSource


@dataclass(frozen=True)
class Sample:
    """One image with its labels."""

    name: str
    """Unique in its data set: the path relative to the photos, without suffix, with forward slashes."""
    image: Path
    tags: tuple[int, ...] | None = None
    """Sorted 0-based indices of the classes in the image; () = none; None = unknown."""
    cues: tuple[Cue, ...] = ()
    """Instance cues, in pixels of the displayed image."""
    truth: MaskSource | None = None
    """The true mask, for evaluation only."""


@dataclass(frozen=True)
class Dataset:
    """Samples over one list of classes."""

    classes: tuple[str, ...]
    """Names without background: the class with index i has mask id i + 1."""
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count > MAXIMUM_CLASSES:
            raise ValueError(f"classes must be at most {MAXIMUM_CLASSES}, got {count}")
        if len(set(self.classes)) != count or BACKGROUND in self.classes:
            raise ValueError(f"classes must be unique and without '{BACKGROUND}', got {self.classes}")
        names: set[str] = set()
        for sample in self.samples:
            if sample.name in names:
                raise ValueError(f"sample names must be unique, got '{sample.name}' twice")
            names.add(sample.name)
            if sample.tags is not None and sample.tags != tuple(sorted(set(sample.tags) & set(range(count)))):
                raise ValueError(f"tags must be sorted, unique and in 0..{count - 1}, got {sample.tags}")

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def _repr_html_(self) -> str:
        # Pages are drawn by a room above this one.
        return import_module("igcam.reporting.notebook").dataset_html(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the samples, in order."""
        return tuple(sample.name for sample in self.samples)

    def subset(self, names: Iterable[str]) -> Dataset:
        """Return the samples of these names, in the order given; IgcamError for a name that is not in the data set."""
        by_name = {sample.name: sample for sample in self.samples}
        names = list(names)
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise IgcamError.from_lines("images that are not in the data set:", unknown)
        return replace(self, samples=tuple(by_name[name] for name in names))

    def tagged(self) -> Dataset:
        """Return the samples whose tags are known."""
        return replace(self, samples=tuple(sample for sample in self.samples if sample.tags is not None))

    def with_cues(self, cues: Mapping[str, Sequence[Cue]]) -> Dataset:
        """Return the data set with these cues in place of its own, none where no entry is; errors as `subset`."""
        self.subset(cues)
        samples = tuple(replace(sample, cues=tuple(cues.get(sample.name, ()))) for sample in self.samples)
        return replace(self, samples=samples)

    def tag_matrix(self) -> NDArray[np.float32]:
        """Return the tags as float32 (N, C) of zeros and ones; IgcamError if the tags of a sample are unknown."""
        unknown = [sample.name for sample in self.samples if sample.tags is None]
        if unknown:
            raise IgcamError.from_lines("images without tags:", unknown)
        matrix = np.zeros((len(self.samples), len(self.classes)), np.float32)
        for row, sample in zip(matrix, self.samples, strict=True):
            row[list(sample.tags or ())] = 1
        return matrix


def tag_to_mask_id(tag: int) -> int:
    """Return the mask id (1..C) of a 0-based tag; background (0) has no tag."""
    if tag < 0:
        raise ValueError(f"tag must be at least 0, got {tag}")
    return tag + 1


def mask_id_to_tag(mask_id: int) -> int:
    """Return the 0-based tag of a mask id in 1..C."""
    if mask_id < 1:
        raise ValueError(f"mask_id must be at least 1, got {mask_id}: background has no tag")
    return mask_id - 1


def choose_classes(available: Sequence[str], wanted: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Return the wanted classes in the order of their mask ids, by default all available ones of the `source`.

    IgcamError: a wanted name is unknown or repeated.
    """
    if wanted is None:
        return tuple(available)
    problems = [f"'{name}'{did_you_mean(name, available)}" for name in wanted if name not in available]
    if problems:
        raise IgcamError(f"classes: {source} has no {', '.join(problems)}")
    return named_once(wanted)


def named_once(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes; IgcamError if there are none or too many, one is repeated, or one is called background."""
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise IgcamError(f"classes: '{twice[0]}' is named twice")
    if not classes:
        raise IgcamError("classes: at least one is needed")
    if len(classes) > MAXIMUM_CLASSES:
        raise IgcamError(f"classes: at most {MAXIMUM_CLASSES} fit in a mask of 8 bits, got {len(classes)}")
    if BACKGROUND in map(str.casefold, classes):
        raise IgcamError(f"classes: '{BACKGROUND}' is mask id 0 and no class of its own")
    return tuple(classes)
