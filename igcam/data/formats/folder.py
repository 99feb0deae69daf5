"""Folders: photos with a tag table or one folder a class; true masks; and the export of photos, masks and a table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from igcam.core.errors import IgcamError
from igcam.core.files import write_chunks, write_json
from igcam.data.export_item import ExportItem, Record, Writer, export_format, put_photo
from igcam.data.findings import Finding, did_you_mean, raise_errors
from igcam.data.formats.voc import read_voc
from igcam.data.images import IMAGE_SUFFIXES, find_files, find_images, name_index, normal_name, sample_name
from igcam.data.masks import BACKGROUND, IGNORE, MAXIMUM_CLASSES, MaskFile, class_lookup, write_mask
from igcam.data.sample import Dataset, Sample, named_once
from igcam.data.tags import TagRow, clean_name, probable_misspellings, read_tag_table

UNREAD_SUFFIXES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".dng", ".jfif")
"""Photos that are reported but not read."""

Entries = list[tuple[str, TagRow]]
"""Names of samples, each with one statement of its tags."""


def read_folder(
    photos: str | Path,
    tags: str | Path | None = None,
    masks: str | Path | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Read a folder of photos; docs/data.md lists the rules.

    Args:
        photos: Searched with its subfolders for jpg, jpeg, png, bmp, webp, tif and tiff, in any case. Hidden
            files are skipped.
        tags: A table, see `igcam.data.tags.read_tag_table`; its images are named relative to `photos`, with
            or without suffix. None: the first folder below `photos` is the class of the photos in it
            (`background`: none), and photos beside these folders have unknown tags.
        masks: Folder with the true mask of sample NAME in NAME.png, for evaluation only; some may be missing.
        classes: Names in the order of their mask ids; all other names are errors. None takes all names in
            the tags, sorted, and refuses those that look misspelt.

    Returns:
        One sample a photo, sorted by path. Photos without a row have unknown tags.

    >>> dataset = igcam.read_folder("photos", "tags.csv")
    >>> len(dataset), dataset.samples[0].tags
    (16, (1, 2, 3))

    Raises:
        IgcamError: All errors that are found without opening the photos, each with its file and line.
    """
    dataset, findings = examine_folder(photos, tags, masks, classes)
    raise_errors(photos if tags is None else tags, findings)
    return dataset


def examine_folder(
    photos: str | Path, tags: str | Path | None, masks: str | Path | None = None, classes: Sequence[str] | None = None
) -> tuple[Dataset, list[Finding]]:
    """Apply the rules of `read_folder` that need no pixels; contradicting tags become unknown."""
    findings: list[Finding] = []
    images = _find_photos(Path(photos), None if masks is None else Path(masks), findings)
    declared: tuple[str, ...] | None = None
    if tags is None:
        source = str(photos)
        entries = _entries_of_folders(images, Path(photos))
    else:
        source = str(tags)
        table = read_tag_table(tags)
        findings += table.findings
        entries = _match_rows(table.rows, images, Path(photos), source, findings)
        if table.columns is not None and classes is None:
            declared = _declared(sorted(table.columns), source, findings)
        if not table.rows and not table.findings:
            findings.append(Finding("error", source, "no-rows", "has a header but no rows"))
    if classes is not None:
        declared = _declared([clean_name(name) for name in classes], "--classes", findings)
    if entries and not any(row.tags for _, row in entries):
        findings.append(Finding("error", source, "no-class", "no image has a tag"))
    names = _class_names(entries, declared, source, findings)
    tags_of = _merge(entries, names, findings)
    _report_gaps(images, entries, names, source, findings)
    truths = {} if masks is None else _find_masks(Path(masks), images, len(names), findings)
    samples = tuple(Sample(name, image, tags_of.get(name), (), truths.get(name)) for name, image in images.items())
    return Dataset(names, samples), findings


def read_truth(root: str | Path, split: str = "val", classes: Sequence[str] | None = None) -> Dataset:
    """Read true masks: a VOC root (a folder with ImageSets/Segmentation), or a folder of NAME.png.

    Args:
        root: The folder.
        split: List of a VOC root.
        classes: Names in the order of their mask ids; needed for subsets of VOC. None takes VOC's 20, or names the
            classes of a folder by their ids.

    Returns:
        One sample a mask, without tags unless it is VOC; of a folder the mask is the image, too.

    Raises:
        IgcamError: There are no masks, or a mask cannot be read.
    """
    root = Path(root)
    if (root / "ImageSets" / "Segmentation").is_dir():
        return read_voc(root, split, classes)
    masks = [path for path in find_images(root) if path.suffix.lower() == ".png"] if root.is_dir() else []
    if not masks:
        raise IgcamError(f"{root}: has no masks NAME.png and is no VOC root")
    if classes is None:
        highest = max((value for path in masks for value in MaskFile(path).ids() if value != IGNORE), default=0)
        classes = [f"class {number}" for number in range(1, max(highest, 1) + 1)]
    names = named_once(classes)
    lookup = class_lookup(len(names))
    samples = tuple(Sample(sample_name(path, root), path, None, (), MaskFile(path, lookup)) for path in masks)
    return Dataset(names, samples)


def read_photos(photos: str | Path, tags: str | Path | None, classes: Sequence[str]) -> Dataset:
    """Read photos for prediction with known classes, in the order of their mask ids.

    Arguments and errors are those of `read_folder`, but without a table the tags are unknown, whatever the folders
    are called.
    """
    if tags is not None:
        return read_folder(photos, tags, None, classes)
    dataset, findings = examine_folder(photos, None)
    raise_errors(photos, [finding for finding in findings if finding.rule in ("no-photos", "same-name")])
    return Dataset(tuple(classes), tuple(Sample(sample.name, sample.image) for sample in dataset))


@export_format("folder")
class ImageFolderWriter(Writer):
    """Photos, masks and a table, as the `imagefolder` loader of Hugging Face datasets reads it.

    Masks keep their ids and 255.

    images/NAME.jpg
    masks/NAME.png
    metadata.jsonl     file_name and mask_file_name of each image: the columns image and mask
    id2label.json      {"0": "background", "1": ...}, as models there expect it
    """

    def write(self, item: ExportItem) -> Record:
        """Write photo and mask of one image."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        write_mask(self.out / "masks" / f"{item.name}.png", item.mask)
        return {"file_name": f"images/{file}", "mask_file_name": f"masks/{item.name}.png"}

    def finish(self, records: Iterable[Record]) -> None:
        """Write metadata.jsonl and id2label.json."""
        names = enumerate((BACKGROUND, *self.classes))
        write_json(self.out / "id2label.json", {str(number): name for number, name in names})
        write_chunks(self.out / "metadata.jsonl", (json.dumps(row, ensure_ascii=False) + "\n" for row in records))


def _declared(names: Sequence[str], source: str, findings: list[Finding]) -> tuple[str, ...]:
    try:
        return named_once(names)
    except IgcamError as error:
        findings.append(Finding("error", source, "classes", str(error).removeprefix("classes: ")))
    usable = dict.fromkeys(name for name in names if name.casefold() != BACKGROUND)
    return tuple(usable)[:MAXIMUM_CLASSES]


def _find_photos(photos: Path, masks: Path | None, findings: list[Finding]) -> dict[str, Path]:
    if not photos.is_dir():
        problem = "is not a folder" if photos.exists() else "does not exist"
        findings.append(Finding("error", str(photos), "no-photos", problem))
        return {}
    images: dict[str, Path] = {}
    # Masks below the photos are no photos.
    skipped = None
    if masks is not None and photos.resolve() in masks.resolve().parents:
        skipped = photos / masks.resolve().relative_to(photos.resolve())
    for image in find_images(photos):
        name = sample_name(image, photos)
        if skipped is not None and image.is_relative_to(skipped):
            continue
        if name in images:
            message = f"has the same name as {images[name].name} but for the suffix; masks are named without it"
            findings.append(Finding("error", str(image), "same-name", message))
        else:
            images[name] = image
    for name, image in images.items():
        if name + image.suffix in images:
            message = f"has a file name that is the name of {images[name + image.suffix].name}; rename one"
            findings.append(Finding("error", str(image), "same-name", message))
    if not images:
        suffixes = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        findings.append(Finding("error", str(photos), "no-photos", f"has no photos ({suffixes})"))
    for file in find_files(photos, UNREAD_SUFFIXES):
        findings.append(Finding("warning", str(file), "format", f"is skipped: {file.suffix} is not read"))
    return images


def _entries_of_folders(images: Mapping[str, Path], photos: Path) -> Entries:
    entries: Entries = []
    for name in images:
        folder, slash, _ = name.partition("/")
        if slash:
            tags = () if folder.casefold() == BACKGROUND else (folder,)
            entries.append((name, TagRow(name, tags, str(photos / folder))))
    return entries


def _match_rows(
    rows: Sequence[TagRow], images: Mapping[str, Path], photos: Path, table: str, findings: list[Finding]
) -> Entries:
    index = name_index(images)
    entries = [(index[name], row) for row in rows if (name := normal_name(row.image)) in index]
    if rows and images and not entries:
        message = f"none of its {len(rows)} images is in {photos}; the first is '{rows[0].image}'"
        findings.append(Finding("error", table, "tags-without-image", message))
        return []
    if not images:
        return entries
    by_stem = {_stem(name): name for name in images}
    for row in rows:
        if normal_name(row.image) not in index:
            near = by_stem.get(_stem(normal_name(row.image)))
            hint = f"; did you mean '{near}{images[near].suffix}'?" if near else ""
            findings.append(row.finding("tags-without-image", f"no photo '{row.image}' in {photos}{hint}"))
    return entries


def _class_names(
    entries: Entries, declared: tuple[str, ...] | None, source: str, findings: list[Finding]
) -> tuple[str, ...]:
    images_of: dict[str, set[str]] = {}
    for name, row in entries:
        for tag in row.tags:
            images_of.setdefault(tag, set()).add(name)
    if declared is not None:
        for _, row in entries:
            for tag in row.tags:
                if tag not in declared:
                    message = f"'{tag}' is not one of the classes{did_you_mean(tag, declared)}"
                    findings.append(row.finding("unknown-class", message))
        return declared
    if len(images_of) > MAXIMUM_CLASSES:
        message = f"has {len(images_of)} classes; at most {MAXIMUM_CLASSES} fit in a mask of 8 bits"
        findings.append(Finding("error", source, "classes", message))
        return ()
    meant = probable_misspellings({tag: len(images) for tag, images in images_of.items()})
    for _, row in entries:
        for tag in row.tags:
            if "," in tag:
                message = f"'{tag}' has a comma, but semicolons separate tags; if it is meant, use --classes"
                findings.append(row.finding("comma-in-tag", message))
            if tag not in meant:
                continue
            numbers = f"{len(images_of[tag])} of '{tag}', {len(images_of[meant[tag]])} of '{meant[tag]}'"
            message = f"'{tag}' looks like a misspelt '{meant[tag]}' ({numbers}); if it is meant, use --classes"
            findings.append(row.finding("misspelt-class", message))
    return tuple(sorted(images_of.keys() - meant.keys()))


def _merge(entries: Entries, names: tuple[str, ...], findings: list[Finding]) -> dict[str, tuple[int, ...] | None]:
    first: dict[str, TagRow] = {}
    tags_of: dict[str, tuple[int, ...] | None] = {}
    for name, row in entries:
        known = all(tag in names for tag in row.tags)
        tags = tuple(sorted(map(names.index, row.tags))) if known else None
        earlier = first.setdefault(name, row)
        if earlier is row:
            tags_of[name] = tags
        elif set(earlier.tags) == set(row.tags):
            message = f"'{name}' has the same tags in line {earlier.line}"
            findings.append(row.finding("duplicate-row", message, "warning"))
        else:
            ours, theirs = (";".join(sorted(other.tags)) or "none" for other in (row, earlier))
            message = f"'{name}' has the tags {ours}, but {theirs} in line {earlier.line}"
            findings.append(row.finding("contradicting-row", message))
            tags_of[name] = None
    return tags_of


def _report_gaps(
    images: Mapping[str, Path], entries: Entries, names: tuple[str, ...], source: str, findings: list[Finding]
) -> None:
    if not entries:
        return
    tagged = {name for name, _ in entries}
    for name, image in images.items():
        if name not in tagged:
            findings.append(Finding("warning", str(image), "image-without-tags", "has no tags; they are unknown"))
    used = {tag for _, row in entries for tag in row.tags}
    for name in names:
        if name not in used:
            message = f"no image has the class '{name}'"
            findings.append(Finding("warning", source, "class-without-image", message))


def _find_masks(masks: Path, images: Mapping[str, Path], classes: int, findings: list[Finding]) -> dict[str, MaskFile]:
    if not masks.is_dir():
        findings.append(Finding("error", str(masks), "no-masks", "is not a folder"))
        return {}
    found: dict[str, MaskFile] = {}
    lookup = class_lookup(classes)
    for file in find_files(masks, (".png",)):
        name = sample_name(file, masks)
        if name in images:
            found[name] = MaskFile(file, lookup)
        else:
            findings.append(Finding("warning", str(file), "mask-without-image", f"no photo is called '{name}'"))
    if images and not found:
        message = f"has no mask of any photo; the first would be {next(iter(images))}.png"
        findings.append(Finding("error", str(masks), "no-masks", message))
    return found


def _stem(name: str) -> str:
    return os.path.splitext(PurePosixPath(name).name)[0].casefold()
