"""`export`: masks in the formats of other tools, each with its photos; interrupted exports go on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from igcam.core.errors import IgcamError
from igcam.core.files import digest, read_json, write_json
from igcam.core.progress import Progress, no_progress
from igcam.data.cues import read_cues
from igcam.data.export_item import ExportItem, ExportOptions, Record, Writer, flat_name
from igcam.data.formats.coco import CocoWriter
from igcam.data.formats.image_folder import ImageFolderWriter
from igcam.data.formats.label_studio import LabelStudioWriter
from igcam.data.formats.voc import VocWriter
from igcam.data.formats.yolo import YoloWriter
from igcam.data.images import ImageFacts, find_files, inspect_image, sample_name
from igcam.data.mask_objects import split_objects
from igcam.data.masks import MaskFile, class_lookup
from igcam.data.sample import Dataset, Sample
from igcam.data.truth import read_photos, read_truth
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

WRITERS: dict[str, Callable[[Path, tuple[str, ...], ExportOptions], Writer]] = {
    "voc": VocWriter,
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "label-studio": LabelStudioWriter,
    "folder": ImageFolderWriter,
}
"""The formats by name."""

_MARKER = "igcam-export.json"
_PARTS = ".parts"


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    out: Path
    format: str
    images: int
    objects: int
    """Connected parts, or what cues call one object."""
    unknown_lost: int
    """Images with pixels of 255 that the format cannot hold; they are background in it."""

    def __str__(self) -> str:
        text = f"{self.images} images with {self.objects} objects in {self.out}"
        if self.unknown_lost:
            text += f"; pixels of 255 became background in {self.unknown_lost}, as {self.format} has no word for them"
        return text


def open_masks(
    masks: Path | None,
    photos: Path | None = None,
    run: Path | None = None,
    classes: Sequence[str] | None = None,
    cues: Path | None = None,
) -> tuple[Path, Dataset]:
    """Find the masks to be exported, and their photos.

    Args:
        masks: Folder of NAME.png; None takes those of the run.
        photos: Folder of photos; None takes those that the run has learnt from.
        run: A finished run; also knows the classes.
        classes: Names in the order of their ids. None takes the run's, or names them by their ids.
        cues: A cues.jsonl, which says what is one object.

    Returns:
        The folder, and the photos with classes and cues.

    Raises:
        IgcamError: Something of this is missing or damaged.
    """
    if run is None and (masks is None or photos is None):
        raise IgcamError("export: give MASKS and --images, or --run")
    opened = None if run is None else RunFolder.open(run)
    if masks is None and opened is not None:
        masks = opened.file("masks")
    if masks is None or not masks.is_dir():
        raise IgcamError(f"{masks}: is not a folder")
    if classes is None:
        classes = opened.classes if opened is not None else read_truth(masks).classes
    if photos is not None:
        dataset = read_photos(photos, None, classes)
    else:
        trained = read_dataset_file(RunFolder.open(run or masks).file("samples.json"))
        dataset = Dataset(tuple(classes), tuple(Sample(sample.name, sample.image) for sample in trained))
    return masks, dataset if cues is None else dataset.with_cues(read_cues(cues, dataset))


def export(
    masks: str | Path,
    dataset: Dataset,
    out: str | Path,
    format: str,
    options: ExportOptions | None = None,
    *,
    workers: int = 2,
    progress: Progress = no_progress,
) -> Exported:
    """Write masks and photos in the format of another tool.

    Everything is looked at before anything is written. An export that was interrupted goes on; the files about
    all images come last, so that a tool never reads half an export.

    Args:
        masks: Folder of NAME.png with ids 0..C and 255.
        dataset: Photos of these names, and the classes; photos without a mask are left out.
        out: Must be new, empty, or the same export.
        format: A key of `WRITERS`.
        options: How.
        workers: Threads.
        progress: Called with what is being done, the number done and the number to do.

    Raises:
        IgcamError: The format is unknown, masks have no photo, another size, other ids or are damaged (all are
            named), `out` holds something else, or the disk is full.
    """
    masks, out, options = Path(masks), Path(out), options or ExportOptions()
    if format not in WRITERS:
        raise IgcamError(f"--format must be one of {', '.join(WRITERS)}, got {format}")
    for source in (masks, *{sample.image.parent for sample in dataset}):
        if source.resolve() in (out.resolve(), *out.resolve().parents):
            raise IgcamError(f"{out}: must not lie in {source}, which is read")
    chosen = _with_masks(masks, dataset, flat=format == "yolo")
    with ThreadPoolExecutor(max(1, workers)) as threads:
        facts = _look_at_all(masks, chosen, threads, progress)
        asked: dict[str, Any] = {
            "format": format,
            "classes": list(chosen.classes),
            "options": asdict(options),
            "images": len(chosen),
            "content": digest("".join(facts[sample.name][1] + repr(sample.cues) for sample in chosen).encode()),
        }
        held = _begin(out, asked)
        if "objects" not in held:
            writer = WRITERS[format](out, chosen.classes, options)

            def work(sample: Sample) -> tuple[int, bool]:
                return _one(out, masks, sample, facts[sample.name][0], chosen.classes, writer, options.min_area)

            objects = lost = 0
            for done, (count, unknown) in enumerate(threads.map(work, chosen), start=1):
                objects += count
                lost += unknown and (format in ("yolo", "label-studio") or (format == "coco" and count == 0))
                progress("export", done, len(chosen))
            # What a kill has left of files that were being written.
            for leftover in out.rglob(".*.part"):
                leftover.unlink(missing_ok=True)
            writer.finish(_Records(out, chosen.names))
            held = {**asked, "objects": objects, "unknown_lost": lost}
            write_json(out / _MARKER, held)
        shutil.rmtree(out / _PARTS, ignore_errors=True)
    return Exported(out, format, len(chosen), held["objects"], held["unknown_lost"])


@dataclass(frozen=True)
class _Records:
    out: Path
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Record]:
        for name in self.names:
            yield read_json(_part(self.out, name))["record"]


def _with_masks(masks: Path, dataset: Dataset, flat: bool) -> Dataset:
    """Return the samples that have a mask; every mask must have its sample."""
    names = [sample_name(file, masks) for file in find_files(masks, (".png",))]
    if not names:
        raise IgcamError(f"{masks}: has no masks NAME.png")
    known = set(dataset.names)
    problems = [f"{masks / name}.png: has no photo of this name" for name in names if name not in known]
    problems += [f"{masks}: two masks are called {name}" for name, count in Counter(names).items() if count > 1]
    if flat:
        written = Counter(map(flat_name, names))
        same = [name for name in names if written[flat_name(name)] > 1]
        problems += [f"{masks / name}.png: would be called {flat_name(name)}, as another one" for name in same]
    _raise(masks, problems)
    return dataset.subset(names)


def _look_at_all(
    masks: Path, dataset: Dataset, threads: ThreadPoolExecutor, progress: Progress
) -> dict[str, tuple[ImageFacts, str]]:
    """Decode every mask and photo; return what the photo's file is like, and a digest of both."""
    lookup = class_lookup(len(dataset.classes))

    def look(sample: Sample) -> tuple[ImageFacts, str] | str:
        file = masks / f"{sample.name}.png"
        try:
            facts, mask = inspect_image(sample.image), MaskFile(file, lookup).read()
            content = f"{sample.name} {digest(file)} {digest(sample.image)}\n"
        except IgcamError as error:
            return str(error)
        if mask.shape != (facts.height, facts.width):
            return f"{file}: is {mask.shape[1]} x {mask.shape[0]} pixels, its photo {facts.width} x {facts.height}"
        return facts, content

    found: dict[str, tuple[ImageFacts, str]] = {}
    problems = []
    for done, (sample, seen) in enumerate(zip(dataset, threads.map(look, dataset), strict=True), start=1):
        if isinstance(seen, str):
            problems.append(seen)
        else:
            found[sample.name] = seen
        progress("check", done, len(dataset))
    _raise(masks, problems)
    return found


def _begin(out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is written of this export already; a new one is begun."""
    marker = out / _MARKER
    if marker.is_file():
        held = read_json(marker)
        differing = [name for name in asked if not isinstance(held, dict) or held.get(name) != asked[name]]
        if differing:
            what = ", ".join("masks, photos or cues" if name == "content" else name for name in differing)
            raise IgcamError(f"{out}: holds another export (other {what}); choose another --out")
        return dict(held)
    if out.exists() and (
        not out.is_dir() or any(file.name != _PARTS and file.suffix != ".part" for file in out.iterdir())
    ):
        raise IgcamError(f"{out}: must be new, empty or the same export, but has other files")
    write_json(marker, asked)
    return asked


def _one(
    out: Path,
    masks: Path,
    sample: Sample,
    facts: ImageFacts,
    classes: tuple[str, ...],
    writer: Writer,
    min_area: int,
) -> tuple[int, bool]:
    """Write one image unless it is there; return its number of objects, and whether it has unknown pixels."""
    part = _part(out, sample.name)
    try:
        kept = read_json(part)
        return int(kept["objects"]), bool(kept["unknown"])
    except (IgcamError, KeyError, TypeError, ValueError):  # not there, or damaged
        pass
    mask = MaskFile(masks / f"{sample.name}.png", class_lookup(len(classes))).read()
    objects = [item for item in split_objects(mask, sample.cues) if item.area >= min_area]
    item = ExportItem(sample.name, sample.image, facts, mask, objects)
    kept = {"record": writer.write(item), "objects": len(item.objects), "unknown": item.unknown > 0}
    write_json(part, kept)
    return len(item.objects), item.unknown > 0


def _part(out: Path, name: str) -> Path:
    return out / _PARTS / f"{name}.json"


def _raise(masks: Path, problems: list[str]) -> None:
    if len(problems) == 1:
        raise IgcamError(problems[0])
    if problems:
        raise IgcamError.from_lines(f"{masks}: {len(problems)} masks cannot be exported:", problems)
