"""Options of cam-tail and HFPL by their seeds on thirds of voc-animals train, with known tags; val is not looked at.

A third has as many updates in 30 epochs as all of train in 10. Minutes on a GPU, half an hour a setting on two cores.
Results: benchmarks/results/seeds_choice.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from animals import Animals, Values, arguments, call, print_rows
from voc_animals import constant_background

from igcam.core.parallel import usual_device
from igcam.core.progress import no_progress
from igcam.data.sample import Dataset
from igcam.methods.background import BackgroundOptions
from igcam.methods.cam_tail import tag_loss, tail_scores
from igcam.methods.features import views_of
from igcam.methods.hfpl import HfplLosses, hfpl_losses
from igcam.methods.training.tail import StoredViews, TailOptions, train_tail
from igcam.metrics.results import Row, with_kept_rows, write_results
from igcam.models.backbone import build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.tail import TailNetwork

RESULTS = Path(__file__).parent / "results" / "seeds_choice.json"
FOLDS = 3
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
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Train every setting on every third, print and write the table."""
    start, animals = time.perf_counter(), Animals(given)
    backbone = build_backbone(animals.options(0).backbone).to(usual_device())
    bank = FeatureBank(given.bank, backbone, views_of(384, True))
    bank.fill([sample.image for sample in animals.train])
    values: Values = {}
    for name in given.settings.split(","):
        for fold in range(1 if given.quick else FOLDS):
            third = animals.train.subset(animals.train.names[fold::FOLDS])
            values.setdefault(f"{name}/seed/miou", []).append(seed_of(bank, third, *SETTINGS[name]))
            print(f"{time.strftime('%H:%M:%S')} {name} fold {fold}: {values[f'{name}/seed/miou'][-1]:.2f}", flush=True)
    rows = [Row.from_values(name, found, "%", "one value a third of train") for name, found in values.items()]
    if not given.quick:
        rule = "constant 0.15"
        ledger = animals.ledger("train", time.perf_counter() - start, method="see the ids", threshold_rule=rule)
        write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows))
    print_rows(rows)


def seed_of(bank: FeatureBank, dataset: Dataset, losses: HfplLosses | None, schedule: TailOptions) -> float:
    """Return the mIoU in percent of the maps of the images that were trained on."""
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
    return constant_background(np.stack(maps), dataset, 0.15)[0]


if __name__ == "__main__":
    main()
