"""Options of cam-tail and HFPL by their seeds on parts of training photos, with known tags; val is not looked at.

Thirds of voc-animals train: a third has as many updates in 30 epochs as all of train in 10. Of other data sets, one
part of 100 photos. On two cores 100 photos take two minutes in 8 epochs. Results: benchmarks/results/seeds_choice.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from animals import Animals, Values, arguments, call, print_rows
from numpy.typing import NDArray
from seeds import LEVELS
from tables import with_kept_rows
from voc_animals import constant_background

from igcam.core.parallel import usual_device
from igcam.core.progress import no_progress
from igcam.data.formats.folder import read_folder
from igcam.data.sample import Dataset
from igcam.data.synthetic.scenes import SceneOptions, write_scenes
from igcam.methods.background import BackgroundOptions
from igcam.methods.cam_tail import tag_loss, tail_scores
from igcam.methods.features import views_of
from igcam.methods.hfpl import HfplLosses, hfpl_losses
from igcam.methods.training.tail import StoredViews, TailOptions, train_tail
from igcam.metrics.results import Row, write_results
from igcam.models.backbone import build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.tail import TailNetwork

RESULTS = Path(__file__).parent / "results" / "seeds_choice.json"
CONSTANT = 0.15
LONG = TailOptions(epochs=30)
SETTINGS: dict[str, tuple[HfplLosses | None, TailOptions]] = {
    "cam-tail": (None, LONG),
    "cam-tail/epochs-8": (None, replace(LONG, epochs=8)),
    "cam-tail/epochs-8/rate-0.003": (None, replace(LONG, epochs=8, learning_rate=0.003)),
    "cam-tail/epochs-8/rate-0.03": (None, replace(LONG, epochs=8, learning_rate=0.03)),
    "hfpl/similarity-1": (HfplLosses(similarity=1.0), LONG),
    "hfpl/similarity-3": (HfplLosses(similarity=3.0), LONG),
    "hfpl/similarity-10": (HfplLosses(similarity=10.0), LONG),
    "hfpl/epochs-8/similarity-1": (HfplLosses(similarity=1.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/similarity-3": (HfplLosses(similarity=3.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/similarity-10": (HfplLosses(similarity=10.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/similarity-30": (HfplLosses(similarity=30.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/similarity-0": (HfplLosses(similarity=0.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/importance-0": (HfplLosses(similarity=1.0, importance=0.0), replace(LONG, epochs=8)),
    "hfpl/epochs-8/importance-0.5": (HfplLosses(similarity=1.0, importance=0.5), replace(LONG, epochs=8)),
    "hfpl/epochs-8/rate-0.03": (HfplLosses(similarity=1.0), replace(LONG, epochs=8, learning_rate=0.03)),
}
"""Losses, none for the plain classifier, and schedule, by name."""


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--settings", default=",".join(SETTINGS), help="names with commas between")
    parser.add_argument("--photos", default="voc-animals", help=f"names with commas between: {', '.join(PHOTOS)}")
    parser.add_argument("--parts", type=int, default=3, help="at most so many parts of the photos")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Train every setting on every part, print and write the table."""
    start, animals = time.perf_counter(), Animals(given)
    backbone = build_backbone(animals.options(0).backbone).to(usual_device())
    bank = FeatureBank(given.bank, backbone, views_of(384, True))
    values: Values = {}
    for photos in given.photos.split(","):
        parts = PHOTOS[photos](animals)[: 1 if given.quick else given.parts]
        for part in parts:
            bank.fill([sample.image for sample in part])
        for setting in given.settings.split(","):
            for part in parts:
                maps = maps_of(bank, part, *SETTINGS[setting])
                found = {level: constant_background(maps, part, level)[0] for level in (CONSTANT, *LEVELS)}
                for rule, miou in (("seed", found[CONSTANT]), ("seed-oracle", max(found.values()))):
                    values.setdefault(f"{photos}/{setting}/{rule}/miou", []).append(miou)
                    print(f"{time.strftime('%H:%M:%S')} {photos}/{setting}/{rule}/miou {miou:.2f}", flush=True)
            if not given.quick:
                seconds, rule = time.perf_counter() - start, "constant 0.15; seed-oracle: the best constant"
                ledger = animals.ledger("train", seconds, method="see the ids", regime="tail", threshold_rule=rule)
                write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows_of(values)))
    print_rows(rows_of(values))


def rows_of(values: Values) -> list[Row]:
    """Return a row for each name."""
    return [Row.from_values(name, found, "%", "one value a part of the photos") for name, found in values.items()]


def thirds(animals: Animals) -> list[Dataset]:
    """Return thirds of the animals to train on."""
    return [animals.train.subset(animals.train.names[fold::3]) for fold in range(3)]


def defects(name: str, animals: Animals) -> list[Dataset]:
    """Return 100 photos of the training photos of a data set in folders."""
    root = animals.arguments.data.parent / name
    classes = (root / "classes.txt").read_text(encoding="utf-8").strip().split(",")
    dataset = read_folder(root / "train" / "photos", root / "tags-train.csv", root / "train" / "masks", classes)
    return [dataset.subset(dataset.names[::4])]


def scenes(animals: Animals) -> list[Dataset]:
    """Return 100 of the built-in scenes."""
    root = write_scenes(animals.arguments.out / "seeds-choice-scenes", 100, 0)
    return [read_folder(root / "photos", root / "tags.csv", root / "masks", SceneOptions().classes)]


PHOTOS: dict[str, Callable[[Animals], list[Dataset]]] = {
    "voc-animals": thirds,
    "steel-defects": partial(defects, "steel-defects"),
    "concrete-damage": partial(defects, "concrete-damage"),
    "scenes": scenes,
}
"""Parts to train on, by the name of the photos."""


def maps_of(
    bank: FeatureBank, dataset: Dataset, losses: HfplLosses | None, schedule: TailOptions
) -> NDArray[np.float32]:
    """Return the activation maps of the images that were trained on, (N, C, h, w)."""
    tags, images = dataset.tag_matrix(), [sample.image for sample in dataset]
    torch.manual_seed(0)
    network = TailNetwork(bank.backbone, tags.shape[1])
    terms = [tag_loss(schedule.pooling)] if losses is None else hfpl_losses(losses, schedule.pooling)
    train_tail(network, StoredViews(bank, images, tags, 0), terms, schedule, no_progress)
    network.to(usual_device()).eval()
    flips, maps = [view.flip for view in bank.views], []
    for index, image in enumerate(images):
        stored = (bank.read(image, view)[-2].astype(np.float32) for view in bank.views)
        views = [torch.from_numpy(level)[None].to(usual_device()) for level in stored]
        maps.append(tail_scores(network, views, flips, tags[index : index + 1], BackgroundOptions())[0, 1:])
    return np.stack(maps)


if __name__ == "__main__":
    main()
