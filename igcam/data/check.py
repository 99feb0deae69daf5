"""`igcam check`: all errors and warnings about a folder, before any work starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from igcam.core.errors import IgcamError
from igcam.data.cues import examine_cues
from igcam.data.findings import Finding, has_errors, sort_findings
from igcam.data.formats.folder import examine_folder
from igcam.data.images import ImageFacts, inspect_image
from igcam.data.masks import MaskSource, tags_in_mask
from igcam.data.sample import Sample

__all__ = ["Finding", "check_folder", "has_errors"]

MIN_SIDE, SMALL_SIDE = 16, 64
"""Shorter side in pixels below which a photo is an error, and below which it is a warning."""

_MODES = {
    **dict.fromkeys(("L", "LA", "I;16", "I;16B", "I"), ("greyscale", "is greyscale; it becomes RGB")),
    "1": ("greyscale", "has black and white pixels only; it becomes RGB"),
    "CMYK": ("cmyk", "is CMYK; it becomes RGB without its colour profile"),
}


def check_folder(
    photos: str | Path,
    tags: str | Path | None,
    cues: str | Path | None = None,
    masks: str | Path | None = None,
    classes: Sequence[str] | None = None,
    workers: int = 1,
) -> list[Finding]:
    """Check photos, tags, cues and masks completely; every photo and mask is decoded, by `workers` threads.

    `cues` is a cues.jsonl, `masks` a folder of true masks; the others are those of `read_folder`.

    Returns:
        All findings, sorted by file and line. Work can start if none is an error.
    """
    dataset, findings = examine_folder(photos, tags, masks, classes)
    with ThreadPoolExecutor(max(1, workers)) as threads:
        for found in threads.map(lambda sample: list(_check_sample(sample, dataset.classes)), dataset.samples):
            findings += found
    if cues is not None:
        findings += examine_cues(cues, dataset)[1]
    return sort_findings(findings)


def _check_sample(sample: Sample, classes: Sequence[str]) -> Iterator[Finding]:
    file = str(sample.image)
    try:
        facts = inspect_image(sample.image)
    except IgcamError as error:
        yield Finding("error", file, "unreadable", str(error).removeprefix(f"{file}: "))
        return
    side, size = min(facts.height, facts.width), f"{facts.width} x {facts.height} pixels"
    turned = f"is rotated by EXIF orientation {facts.orientation}; it is used as displayed, {size}"
    for applies, rule, message in (
        (side < MIN_SIDE, "tiny", f"has {size}; the shorter side must have at least {MIN_SIDE}"),
        (MIN_SIDE <= side < SMALL_SIDE, "small", f"has only {size}"),
        (facts.orientation != 1, "rotated", turned),
        (facts.mode in _MODES, *_MODES.get(facts.mode, ("", ""))),
        (facts.alpha, "alpha", "has transparency; it is laid over white"),
        (facts.sixteen_bit, "16-bit", "has 16 bits a channel; 0..65535 is scaled to 0..255"),
        (facts.frames > 1, "frames", f"has {facts.frames} pages or frames; the first is used"),
    ):
        if applies:
            yield Finding("error" if rule == "tiny" else "warning", file, rule, message)
    if sample.truth is not None:
        yield from _check_mask(sample, sample.truth, facts, classes)


def _check_mask(sample: Sample, truth: MaskSource, facts: ImageFacts, classes: Sequence[str]) -> Iterator[Finding]:
    file = str(getattr(truth, "path", sample.name))
    try:
        mask = truth.read()
    except IgcamError as error:
        yield Finding("error", file, "bad-mask", str(error).removeprefix(f"{file}: "))
        return
    if mask.shape != (facts.height, facts.width):
        message = f"has {mask.shape[1]} x {mask.shape[0]} pixels, its photo {facts.width} x {facts.height}"
        if facts.orientation >= 5 and mask.shape == (facts.width, facts.height):
            message += " as displayed (EXIF); rotate the mask"
        yield Finding("error", file, "mask-size", message)
    if sample.tags is not None:
        untagged = [classes[tag] for tag in tags_in_mask(mask) if tag not in sample.tags]
        if untagged:
            message = f"shows {', '.join(untagged)}, which the photo is not tagged with"
            yield Finding("warning", file, "mask-without-tag", message)
