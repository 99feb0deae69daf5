"""`igcam export`: masks and their photos in the formats of other tools."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from igcam.core.errors import IgcamError
from igcam.core.files import check_new_folder, digest, read_json, write_json
from igcam.core.progress import Progress, no_progress
from igcam.data.cues import read_cues
from igcam.data.export_item import ExportItem, ExportOptions, Record, Writer, export_formats, flat_name
from igcam.data.formats.folder import read_photos, read_truth
from igcam.data.images import ImageFacts, find_files, inspect_image, sample_name
from igcam.data.masks import MaskFile, class_lookup
from igcam.data.objects import split_objects
from igcam.data.sample import Dataset, Sample
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

_MARKER = "igcam-export.json"
_PARTS = ".parts"


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    out: Path
    format: str
    images: int
    objects: int
    """Objects of all images, see `split_objects`."""
    unknown_lost: int
    """Images whose pixels of 255 became background, as the format cannot hold them."""

    def __str__(self) -> str:
        text = f"{self.images} images with {self.objects} objects in {self.out}"
        lost = f"; pixels of 255 became background in {self.unknown_lost}, as {self.format} has no word for them"
        return text + lost if self.unknown_lost else text


def open_masks(
    masks: Path | None,
    photos: Path | None = None,
    run: Path | None = None,
    classes: Sequence[str] | None = None,
    cues: Path | None = None,
) -> tuple[Path, Dataset]:
    """Return the folder of masks to export, and their photos with classes and cues.

    Args:
        masks: Folder of NAME.png; None takes the masks of the run.
        photos: Folder of photos; None takes the training photos of the run.
        run: A finished run.
        classes: Names of mask ids 1..C. None takes those of the run, or names the classes by their ids.
        cues: A cues.jsonl that separates objects, see `split_objects`.

    Raises:
        IgcamError: An argument is missing, or a file is missing or damaged.
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

    All masks and photos are checked first. An interrupted export is resumed; the files about all images are written
    last, so that no tool reads half an export.

    Args:
        masks: Folder of NAME.png with ids 0..C and 255.
        dataset: Photos of these names, and the classes; photos without a mask are left out.
        out: A folder that is new, empty, or holds the same export.
        format: A name in `export_formats()`.
        options: Options of the export.
        workers: Number of threads.
        progress: Called with the stage, the number of images done and their total.

    >>> dataset = igcam.read_folder("photos", "tags.csv")
    >>> done = igcam.export("masks", dataset, "coco", "coco")
    >>> igcam.read_coco("coco/images", "coco/annotations.json").classes
    ('fox', 'frog', 'owl', 'panda', 'pig')

    Raises:
        IgcamError: The format is unknown; masks have no photo, another size, unknown ids or are damaged, all
            listed; `out` holds something else; or the disk is full.
    """
    masks, out, options = Path(masks), Path(out), options or ExportOptions()
    formats = export_formats()
    if format not in formats:
        raise IgcamError(f"--format must be one of {', '.join(formats)}, got {format}")
    for source in (masks, *{sample.image.parent for sample in dataset}):
        if source.resolve() in (out.resolve(), *out.resolve().parents):
            raise IgcamError(f"{out}: must not lie in {source}, which is read")
    chosen = _with_masks(masks, dataset, formats[format].flat)
    with ThreadPoolExecutor(max(1, workers)) as threads:
        facts = _inspect_all(masks, chosen, threads, progress)
        request: dict[str, Any] = {
            "format": format,
            "classes": list(chosen.classes),
            "options": asdict(options),
            "images": len(chosen),
            "content": digest("".join(facts[sample.name][1] + repr(sample.cues) for sample in chosen).encode()),
        }
        state = _begin(out, request)
        if "objects" not in state:
            writer = formats[format](out, chosen.classes, options)

            objects = lost = 0
            of_images = (facts[sample.name][0] for sample in chosen)
            written = threads.map(_export_image, repeat(masks), chosen, of_images, repeat(writer))
            for done, (count, loses) in enumerate(written, start=1):
                objects, lost = objects + count, lost + loses
                progress("export", done, len(chosen))
            for leftover in out.rglob(".*.part"):
                leftover.unlink(missing_ok=True)
            writer.finish(_Records(out, chosen.names))
            state = {**request, "objects": objects, "unknown_lost": lost}
            write_json(out / _MARKER, state)
        shutil.rmtree(out / _PARTS, ignore_errors=True)
    return Exported(out, format, len(chosen), state["objects"], state["unknown_lost"])


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


def _inspect_all(
    masks: Path, dataset: Dataset, threads: ThreadPoolExecutor, progress: Progress
) -> dict[str, tuple[ImageFacts, str]]:
    """Decode every mask and photo; return the properties of the photo, and a digest of both, by name."""
    lookup = class_lookup(len(dataset.classes))

    def inspect(sample: Sample) -> tuple[ImageFacts, str] | str:
        file = masks / f"{sample.name}.png"
        try:
            facts, mask = inspect_image(sample.image), MaskFile(file, lookup).read()
            content = f"{sample.name} {digest(file)} {digest(sample.image)}\n"
        except IgcamError as error:
            return str(error)
        if mask.shape != (facts.height, facts.width):
            return f"{file}: is {mask.shape[1]} x {mask.shape[0]} pixels, its photo {facts.width} x {facts.height}"
        return facts, content

    results = []
    for done, result in enumerate(threads.map(inspect, dataset), start=1):
        results.append(result)
        progress("check", done, len(dataset))
    _raise(masks, [result for result in results if isinstance(result, str)])
    return {name: result for name, result in zip(dataset.names, results, strict=True) if not isinstance(result, str)}


def _begin(out: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return the state of this export in its folder; a new one is begun."""
    marker = out / _MARKER
    if marker.is_file():
        state = read_json(marker)
        differing = [name for name in request if not isinstance(state, dict) or state.get(name) != request[name]]
        if differing:
            what = ", ".join("masks, photos or cues" if name == "content" else name for name in differing)
            raise IgcamError(f"{out}: holds another export (other {what}); choose another --out")
        return dict(state)
    check_new_folder(out, "the same export", _PARTS)
    write_json(marker, request)
    return request


def _export_image(masks: Path, sample: Sample, facts: ImageFacts, writer: Writer) -> tuple[int, bool]:
    """Write one image unless it is done; return its number of objects and whether its pixels of 255 are lost."""
    part = _part(writer.out, sample.name)
    try:
        state = read_json(part)
        return int(state["objects"]), bool(state["lost"])
    except (IgcamError, KeyError, TypeError, ValueError):  # not there, or damaged
        pass
    mask = MaskFile(masks / f"{sample.name}.png", class_lookup(len(writer.classes))).read()
    objects = [found for found in split_objects(mask, sample.cues) if found.area >= writer.options.min_area]
    item = ExportItem(sample.name, sample.image, facts, mask, objects)
    state = {"record": writer.write(item), "objects": len(objects), "lost": writer.loses_unknown(item)}
    write_json(part, state)
    return state["objects"], state["lost"]


def _part(out: Path, name: str) -> Path:
    return out / _PARTS / f"{name}.json"


def _raise(masks: Path, problems: list[str]) -> None:
    if len(problems) == 1:
        raise IgcamError(problems[0])
    if problems:
        raise IgcamError.from_lines(f"{masks}: {len(problems)} masks cannot be exported:", problems)
