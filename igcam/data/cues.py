"""cues.jsonl, the file of instance cues: reading, checking, writing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.findings import Finding, did_you_mean, raise_errors
from igcam.data.images import image_size, name_index, normal_name
from igcam.data.masks import BACKGROUND, FORBIDDEN, MaskFile, class_lookup, tags_in_mask, write_mask
from igcam.data.sample import Dataset, Sample, mask_id_to_tag, tag_to_mask_id

KINDS = ("point", "box", "scribble", "mask")

_COORDINATES = {"point": ("x", "y"), "box": ("left", "top", "right", "bottom")}


def read_cues(path: str | Path, dataset: Dataset) -> dict[str, tuple[Cue, ...]]:
    """Read a cues.jsonl by the name of the sample, in the file's order; docs/cues.md has the format.

    Masks are named relative to the file's folder. Cues must match images, classes and tags of the data set; samples
    without cues are absent.

    Raises:
        IgcamError: All bad lines with their numbers: no JSON, another format, an unknown image or class, a class
            that the image is not tagged with, coordinates outside the image, an unusable or empty mask.
    """
    cues, findings = examine_cues(path, dataset)
    raise_errors(path, findings)
    return cues


def examine_cues(path: str | Path, dataset: Dataset) -> tuple[dict[str, tuple[Cue, ...]], list[Finding]]:
    """Return the good cues as `read_cues` does, and an error for each bad line."""
    path = Path(path)
    cues: dict[str, list[Cue]] = {}
    whole: dict[str, int] = {}
    findings: list[Finding] = []

    def report(rule: str, message: str, line: int | None = None) -> None:
        findings.append(Finding("error", str(path), rule, message, line))

    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        report("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return {}, findings

    samples = {sample.name: sample for sample in dataset.samples}
    index = name_index({name: sample.image for name, sample in samples.items()})
    size_of = cache(image_size)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line)
            name = index.get(normal_name(record["image"]))
            if name is None:
                raise _BadCueError("unknown-image", f"no image '{record['image']}'")
            cue = _from_record(record, dataset.classes, path.parent)
            if cue.label:
                _require_tags((mask_id_to_tag(cue.label),), samples[name], dataset.classes)
            _check_location(cue, samples[name], dataset.classes, size_of)
            if isinstance(cue, MaskCue) and cue.label is None and whole.setdefault(name, number) != number:
                raise _BadCueError("bad-cue", f"'{name}' has a mask of the whole image in line {whole[name]}")
        except _BadCueError as error:
            report(error.rule, str(error), number)
        else:
            cues.setdefault(name, []).append(cue)
    return {name: tuple(found) for name, found in cues.items()}, findings


def write_cues(path: str | Path, cues: Mapping[str, Sequence[Cue]], classes: Sequence[str]) -> None:
    """Write a cues.jsonl that `read_cues` reads back, atomically; IgcamError if it cannot, ValueError for other cues.

    Masks that are files with the right ids already are referenced. All others are written as PNG to a folder
    beside the file: for cues.jsonl to cues_masks.
    """
    path = Path(path)
    lines = []
    for name, found in cues.items():
        for number, cue in enumerate(found):
            stored = path.parent / f"{path.stem}_masks" / f"{name}_{number}.png"
            record = {"image": name} | _to_record(cue, classes, path.parent, stored)
            lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(path, "".join(lines))


class _BadCueError(Exception):
    """A line of the file is invalid."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_refuse, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise _BadCueError("not-json", f"is not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("kind") not in KINDS:
        raise _BadCueError("bad-cue", f"must be an object whose kind is one of {', '.join(KINDS)}")
    if "trust" in record and "confidence" not in record:  # the field's name until version 0.1.0
        record["confidence"] = record.pop("trust")
    kind = record["kind"]
    if kind in ("box", "mask") and record.get("class") == BACKGROUND:
        raise _BadCueError("bad-cue", f"a {kind} cannot show the {BACKGROUND}; a point or scribble can")
    problem = jsonschema.exceptions.best_match(_validators()[kind].iter_errors(record))
    if problem is not None:
        field = "/".join(map(str, problem.absolute_path))
        raise _BadCueError("bad-cue", (f"{field}: " * bool(field) + problem.message)[:200])
    return record


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return int(text) if text.lstrip("-").isdigit() else value


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number")


@cache
def _validators() -> dict[str, Any]:
    schema = json.loads(files("igcam.data").joinpath("cues.schema.json").read_text(encoding="utf-8"))
    return {
        kind: jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]}) for kind in KINDS
    }


def _from_record(record: dict[str, Any], classes: Sequence[str], folder: Path) -> Cue:
    name, kind = record.get("class"), record["kind"]
    if name is not None and name != BACKGROUND and name not in classes:
        raise _BadCueError("unknown-class", f"unknown class '{name}'{did_you_mean(name, classes)}")
    common: dict[str, Any] = {key: record[key] for key in ("instance", "confidence", "seconds") if key in record}
    if kind == "mask":
        label = None if name is None else tag_to_mask_id(classes.index(name))
        lookup = class_lookup(len(classes)) if label is None else None
        source = MaskFile(folder / record["file"], lookup)
        return MaskCue(label=label, source=source, value=record.get("value"), **common)
    common["label"] = 0 if name == BACKGROUND else tag_to_mask_id(classes.index(name))
    if kind in _COORDINATES:
        coordinates: dict[str, Any] = dict(zip(_COORDINATES[kind], map(float, record[kind]), strict=True))
        return (PointCue if kind == "point" else BoxCue)(**coordinates, **common)
    points = tuple((float(x), float(y)) for x, y in record["points"])
    return ScribbleCue(points=points, width=float(record.get("width", ScribbleCue.width)), **common)


def _to_record(cue: Cue, classes: Sequence[str], folder: Path, stored: Path) -> dict[str, Any]:
    if not isinstance(cue, PointCue | BoxCue | ScribbleCue | MaskCue):
        raise ValueError(f"cue must be a point, box, scribble or mask, got {type(cue).__name__}")
    record: dict[str, Any] = {"kind": cue.kind}
    if cue.label is not None:
        record["class"] = classes[mask_id_to_tag(cue.label)] if cue.label else BACKGROUND
    if isinstance(cue, PointCue | BoxCue):
        record[cue.kind] = _tidy(*(getattr(cue, name) for name in _COORDINATES[cue.kind]))
    elif isinstance(cue, ScribbleCue):
        record |= {"points": [_tidy(x, y) for x, y in cue.points], "width": _tidy(cue.width)[0]}
    else:
        record |= _mask_to_record(cue, folder, stored)
    if cue.instance is not None:
        record["instance"] = cue.instance
    if cue.confidence != 1:
        record["confidence"] = cue.confidence
    if cue.seconds is not None:
        record["seconds"] = cue.seconds
    return record


def _mask_to_record(cue: MaskCue, folder: Path, stored: Path) -> dict[str, Any]:
    source, value = cue.source, cue.value
    if not isinstance(source, MaskFile) or not _keeps_ids(source):
        mask = source.read()
        if cue.label is not None:
            mask = cue.region(*mask.shape).astype(np.uint8)
            value = None
        write_mask(stored, mask)
        source = MaskFile(stored)
    record: dict[str, Any] = {"file": Path(os.path.relpath(source.path, folder)).as_posix()}
    return record if value is None else record | {"value": value}


def _keeps_ids(source: MaskFile) -> bool:
    return source.lookup is None or all(ours in (FORBIDDEN, theirs) for theirs, ours in enumerate(source.lookup))


def _tidy(*values: float) -> list[int | float]:
    return [int(value) if float(value).is_integer() else value for value in values]


def _require_tags(tags: Sequence[int], sample: Sample, classes: Sequence[str]) -> None:
    if sample.tags is None:
        return
    missing = [classes[tag] for tag in tags if tag not in sample.tags]
    if missing:
        tagged = ", ".join(classes[tag] for tag in sample.tags) or "none"
        message = f"{', '.join(missing)} is not among the tags of '{sample.name}' ({tagged})"
        raise _BadCueError("class-without-tag", message)


def _check_location(
    cue: Cue, sample: Sample, classes: Sequence[str], size_of: Callable[[Path], tuple[int, int]]
) -> None:
    try:
        height, width = size_of(sample.image)
    except IgcamError as error:
        raise _BadCueError("unreadable", f"the size of its image is unknown: {error}") from error
    extent = f"the image of {width} x {height} pixels"
    if isinstance(cue, PointCue | ScribbleCue):
        points = ((cue.x, cue.y),) if isinstance(cue, PointCue) else cue.points
        for x, y in points:
            if not (0 <= x < width and 0 <= y < height):
                raise _BadCueError("outside", f"({x:g}, {y:g}) is outside {extent}")
    elif isinstance(cue, BoxCue):
        box = f"box [{cue.left:g}, {cue.top:g}, {cue.right:g}, {cue.bottom:g}]"
        if cue.left >= cue.right or cue.top >= cue.bottom:
            raise _BadCueError("bad-cue", f"{box} must be left < right and top < bottom")
        if cue.left < 0 or cue.top < 0 or cue.right > width or cue.bottom > height:
            raise _BadCueError("outside", f"{box} is outside {extent}")
    elif isinstance(cue, MaskCue):
        try:
            mask = cue.source.read()
        except IgcamError as error:
            raise _BadCueError("bad-mask", str(error)) from error
        if mask.shape != (height, width):
            message = f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, but {extent} is to be masked"
            raise _BadCueError("mask-size", message)
        if cue.label is None:
            _require_tags(tags_in_mask(mask), sample, classes)
        elif not (mask.any() if cue.value is None else (mask == cue.value).any()):
            what = "pixels that are not 0" if cue.value is None else f"pixels of value {cue.value}"
            raise _BadCueError("bad-mask", f"the mask has no {what}")
