"""Data sets for evaluation and prediction: true masks without photos, photos without tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from igcam.core.errors import IgcamError
from igcam.data.findings import raise_errors
from igcam.data.formats.folder import examine_folder, read_folder
from igcam.data.formats.voc import read_voc
from igcam.data.images import find_images, sample_name
from igcam.data.masks import IGNORE, MaskFile, class_lookup
from igcam.data.sample import Dataset, Sample, named_once


def read_truth(root: str | Path, split: str = "val", classes: Sequence[str] | None = None) -> Dataset:
    """Read true masks: a VOC root with its lists, or a folder of NAME.png.

    Args:
        root: A folder with ImageSets/Segmentation is a VOC root.
        split: List of a VOC root.
        classes: Names in the order of their mask ids; needed for subsets of VOC. None takes VOC's 20, or names
            the classes of a folder by their ids.

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
    """Read photos for prediction with known classes; without a table their tags are unknown.

    Args:
        photos: As for `read_folder`.
        tags: A table; None leaves the tags unknown, whatever the folders are called.
        classes: Names in the order of their mask ids.

    Raises:
        IgcamError: As for `read_folder`.
    """
    if tags is not None:
        return read_folder(photos, tags, None, classes)
    dataset, findings = examine_folder(photos, None)
    raise_errors(photos, [finding for finding in findings if finding.rule in ("no-photos", "same-name")])
    return Dataset(tuple(classes), tuple(Sample(sample.name, sample.image) for sample in dataset))
