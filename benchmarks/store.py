"""The map store: its size beside raw float32 .npy, what quantisation costs in mIoU, and the size for all of COCO.

On the maps of a finished run of voc_animals.py: activation maps (stage classify) and soft masks (the last head's).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.data.formats.voc import read_voc
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.metrics.confusion import Confusion, confusion, scores
from igcam.metrics.results import Row, read_results, write_results
from igcam.refine.crf import CRF_PRESETS
from igcam.refine.stack import resized
from igcam.runs.drawing import RenderOptions, final_mask
from igcam.runs.map_store import MapStore

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
COCO_IMAGES = 82_081
"""Images of COCO train 2014 with any object."""
COCO_CLASSES = 80
COCO_PRESENT = 3.5
"""Classes in an image of COCO on average. Source: Lin et al., ECCV 2014, section 5."""
SLOW_PART = 10
"""One image in so many is also drawn with the CRF, and stored at the size of its photo."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """Maps of all images, before and after the store."""

    raw: list[Array]
    read: list[Array]
    sizes: list[int]
    """Bytes of each record."""
    total: int
    """Bytes of the file."""
    append_rate: float
    read_rate: float

    @property
    def ratio(self) -> float:
        """Bytes of one float32 .npy of all maps over bytes of the store."""
        return (128 + sum(maps.nbytes for maps in self.raw)) / self.total


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "voc-animals", help="VOC root")
    parser.add_argument("--run", type=Path, default=Path("runs/voc-animals/seed-0/igcam-tags"), help="a run on it")
    parser.add_argument("--bits", type=int, default=6, help="bits a value")
    parser.add_argument("--quick", action="store_true", help="a seventh of the images; writes no results")
    arguments = parser.parse_args()
    try:
        measure(arguments)
    except IgcamError as error:
        sys.exit(str(error))


def measure(arguments: argparse.Namespace) -> None:
    """Measure both kinds of maps, print and write the table."""
    start = time.perf_counter()
    ledger, _ = read_results(arguments.run / "stages" / "reweight" / "metrics.json")
    dataset = read_voc(arguments.data, "train", CLASSES)
    chosen = range(0, len(dataset), 7) if arguments.quick else range(len(dataset))
    data = dataset.subset(dataset.names[index] for index in chosen)
    rows: list[Row] = []
    for kind, stage in (("cam", "classify"), ("soft", "reweight")):
        maps = read_array(arguments.run / "stages" / stage / "maps.npy").astype(np.float32)
        if len(maps) != len(dataset):
            raise IgcamError(f"{arguments.run}: has maps of {len(maps)} images, not of the {len(dataset)} of train")
        stored = store(data.names, [maps[index] for index in chosen], arguments.bits)
        rows += rows_of(kind, stored, data)
    by_id = {row.id: row for row in rows}
    lowest = min((by_id["cam/ratio"], by_id["soft/ratio"]), key=lambda row: row.value)
    worst = max((by_id["cam/miou-loss"], by_id["soft/miou-loss"]), key=lambda row: row.value)
    head = [
        Row("ratio", lowest.value, "x", note=f"the lower of {lowest.id} and the other; {lowest.note}"),
        Row("miou-loss", worst.value, "points", note=f"the higher of {worst.id} and the other; {worst.note}"),
        replace(by_id["soft/coco-gb"], id="coco-gb"),
    ]
    seconds = round(time.perf_counter() - start, 1)
    ledger = replace(ledger, method=f"map store, {arguments.bits} bits", wall_seconds=seconds, split_size=len(data))
    if not arguments.quick:
        write_results(HERE / "results" / "store.json", ledger, head + rows)
    for row in head + rows:
        print(f"{row.id:24s} {row.value:10.3f} {row.unit:8s} {row.note}")


def store(names: Sequence[str], maps: list[Array], bits: int) -> Stored:
    """Write maps to a store in a temporary folder, and read them back in another order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "maps.store"
        sizes, start = [], time.perf_counter()
        with MapStore(file, "a", bits) as writer:
            for name, each in zip(names, maps, strict=True):
                before = file.stat().st_size
                writer.append(name, each)
                sizes.append(file.stat().st_size - before)
        middle = time.perf_counter()
        reader = MapStore(file)
        read = {name: reader[name] for name in reversed(names)}
        end = time.perf_counter()
        reader.close()
        return Stored(
            maps,
            [read[name] for name in names],
            sizes,
            file.stat().st_size,
            len(maps) / (middle - start),
            len(maps) / (end - middle),
        )


def rows_of(kind: str, stored: Stored, data: Dataset) -> list[Row]:
    """Return the numbers of one kind of maps."""
    classes, height, width = stored.raw[0].shape
    shape = f"{len(data)} images of {classes} x {height} x {width}"
    losses = {"": miou(stored.raw, data, RenderOptions()) - miou(stored.read, data, RenderOptions())}
    part = data.subset(data.names[::SLOW_PART])
    drawn = RenderOptions(crf=CRF_PRESETS["afa"])
    losses["crf/"] = miou(stored.raw[::SLOW_PART], part, drawn) - miou(stored.read[::SLOW_PART], part, drawn)
    rows = [
        Row(f"{kind}/ratio", stored.ratio, "x", note=f"{shape}, all classes, float32"),
        Row(f"{kind}/miou-loss", losses[""], "points", note="masks by the largest map at the size of the photo"),
        Row(f"{kind}/crf/miou-loss", losses["crf/"], "points", note=f"after the CRF, {len(part)} images"),
        Row(f"{kind}/append-rate", stored.append_rate, "images/s", note="one thread"),
        Row(f"{kind}/read-rate", stored.read_rate, "images/s", note="one thread, any order"),
    ]
    rows.append(coco_row(f"{kind}/coco-gb", stored, f"maps of {height} x {width}"))
    large = store(part.names, at_photo_size(stored.raw[::SLOW_PART], part), 6)
    rows.append(coco_row(f"{kind}/photo-size/coco-gb", large, f"maps at the size of the photo, {len(part)} images"))
    return rows


def coco_row(name: str, stored: Stored, what: str) -> Row:
    """Estimate the store of COCO's train images: measured bytes an image and a class, by least squares."""
    present = [int((maps.reshape(len(maps), -1).max(axis=1) > 0).sum()) - 1 for maps in stored.raw]
    design = np.stack([np.ones(len(present)), np.array(present, float)], axis=1)
    (fixed, each), *_ = np.linalg.lstsq(design, np.array(stored.sizes, float), rcond=None)
    size = COCO_IMAGES * (fixed + COCO_PRESENT * each)
    raw = COCO_IMAGES * (COCO_CLASSES + 1) * 4 * float(np.mean([maps[0].size for maps in stored.raw]))
    note = (
        f"estimate: {COCO_IMAGES} images with {COCO_PRESENT} classes each, {fixed:.0f} bytes an image and {each:.0f} a "
        f"class as measured here, {what}; raw float32 of {COCO_CLASSES + 1} classes would be {raw / 1e9:.1f} GB"
    )
    return Row(name, size / 1e9, "GB", note=note)


def at_photo_size(maps: Sequence[Array], data: Dataset) -> list[Array]:
    """Return maps resized to their photos, as other tools keep them."""
    return [resized(each, *load_image(sample.image).shape[:2]) for each, sample in zip(maps, data, strict=True)]


def miou(maps: Sequence[Array], data: Dataset, options: RenderOptions) -> float:
    """Return the mIoU in percent of the masks that are drawn from maps."""
    total = Confusion.zeros(len(data.classes))
    for each, sample in zip(maps, data, strict=True):
        if sample.truth is not None:
            truth = sample.truth.read()
            image = load_image(sample.image) if options.crf is not None else np.zeros((*truth.shape, 3), np.uint8)
            total = total + confusion(truth, final_mask(image, each, options), len(data.classes))
    return 100 * scores(total).miou


if __name__ == "__main__":
    main()
