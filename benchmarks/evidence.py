"""Image priors: ways to combine them with the logits of locations, with and without tags, on held-out photos.

Each fold of train is held out once: `igcam fit` trains on the others up to the guide stage, and its head predicts the
held-out photos on its own grid, without boundary refinement. Rows are `MODE/FEATURES/RULE/miou`, and
`MODE/known/RULE/miou` where their tags are known; val is not used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from animals import CLASSES, Animals, Values, arguments, call, maps_only, print_rows, with_cues
from guidance import MODES as CUES
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.progress import no_progress
from igcam.data.sample import Dataset
from igcam.methods.classifier import Classifier
from igcam.methods.features import mean_level
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results
from igcam.models.image_prior import add_prior
from igcam.refine.stack import best_class, resized
from igcam.runs.artefacts import RunArtefacts, open_model
from igcam.runs.folder import RunFolder
from igcam.runs.work import RunWork
from igcam.supervision.pseudo_labels import restrict_to_tags

RESULTS = Path(__file__).parent / "results" / "evidence.json"
MODES = ("tags", "masks5", "full")
FOLDS = 5


def added(logits: Tensor, prior: Tensor) -> Tensor:
    """Add half of the photo's logits (1, C) to those of its locations (1, C + 1, h, w)."""
    return torch.cat([logits[:, :1], logits[:, 1:] + prior[:, :, None, None] / 2], dim=1)


def taken_out(logits: Tensor, tags: NDArray[np.floating], bias: float = 0.0) -> NDArray[np.floating]:
    """Return the softmax of logits (1, K, h, w) over the tagged classes, with `bias` off the background's logit."""
    logits = torch.cat([logits[:, :1] - bias, logits[:, 1:]], dim=1)
    kept = torch.softmax(logits, 1).numpy() * np.concatenate([np.ones((1, 1)), tags], axis=1)[..., None, None]
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda logits, prior: logits,
    "added": added,
    "half": lambda logits, prior: add_prior(logits, prior, 0.5),
    "joined": lambda logits, prior: add_prior(logits, prior, 1.0),
}
KNOWN: dict[str, Callable[[Tensor, NDArray[np.floating]], NDArray[np.floating]]] = {
    "given": lambda logits, tags: restrict_to_tags(torch.softmax(logits, 1).numpy(), tags),
    "taken-out": taken_out,
    "taken-out-more-bias": lambda logits, tags: taken_out(logits, tags, 0.5),
}
NOTES = {
    "none": "each location by itself",
    "added": "half of the photo's logits are added to those of its locations",
    "half": "igcam.models.image_prior.add_prior with a weight of 0.5",
    "joined": "the same with a weight of 1",
    "objects": "the same, and similar locations decide together: igcam.models.image_prior, the default",
    "given": "objects of untagged classes go to the tagged ones: igcam.supervision.pseudo_labels.restrict_to_tags",
    "taken-out": "the softmax is over the tagged classes",
    "taken-out-more-bias": "the same with a foreground_bias of 1 in place of 0.5",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the five folds")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Hold out each fold in turn, and print and write the table over all of them."""
    start = time.perf_counter()
    animals = Animals(given)
    totals: dict[str, Confusion] = {}
    for fold in range(given.folds):
        kept, held = split(animals.train, fold)
        for mode in MODES:
            short = maps_only(animals.options(0)).leave_out(["reweight"])
            kind, share = CUES[mode]
            dataset = with_cues(kept, kind, share, 0) if kind else kept
            fit = animals.learn(f"without-{fold}-{mode}", dataset, short, after=(f"without-{fold}-tags",))
            for name, counts in predicted(animals, fit, held):
                totals[f"{mode}/{name}"] = counts + totals.get(f"{mode}/{name}", Confusion.zeros(len(CLASSES)))
            print(f"{time.strftime('%H:%M:%S')} fold {fold} {mode}", flush=True)
    values: Values = {f"{name}/miou": [100 * scores(total).miou] for name, total in totals.items()}
    rows = [Row.from_values(name, one, "%", NOTES.get(name.split("/")[2], "")) for name, one in values.items()]
    print_rows(rows)
    if not given.quick:
        ledger = animals.ledger("train, held out", time.perf_counter() - start, annotation_seconds=0)
        write_results(RESULTS, replace(ledger, seed=0, tags_at_inference=False), rows)


def split(dataset: Dataset, fold: int) -> tuple[Dataset, Dataset]:
    """Return the images without those of a fold, and these."""
    order = np.random.default_rng(7).permutation(len(dataset))
    held = {dataset.names[index] for index in order[fold::FOLDS]}
    parts = ([name for name in dataset.names if (name in held) == chosen] for chosen in (False, True))
    first, second = (dataset.subset(names) for names in parts)
    return first, second


def predicted(animals: Animals, run: RunFolder, held: Dataset) -> Iterator[tuple[str, Confusion]]:
    """Yield the confusion on the held-out photos by `FEATURES/RULE`; rules of `known` use their tags."""
    model: Any = open_model(run)
    bank = RunWork(run, run.options, held, animals.arguments.bank, no_progress).bank
    classifier = RunArtefacts(run).load("classify/head", Classifier.from_tensors)
    classes = len(held.classes)
    totals: dict[str, Confusion] = {}
    for sample, present in zip(held, held.tag_matrix(), strict=True):
        if sample.truth is None or sample.tags is None:
            continue
        truth = sample.truth.read()
        views = [
            [torch.from_numpy(level).float()[None] for level in bank.read(sample.image, view)] for view in bank.views
        ]
        every, _ = model.scores(views, [view.flip for view in bank.views], np.ones((1, classes)))
        # A softmax does not change when a constant is added to all logits.
        logits = torch.from_numpy(np.log(np.maximum(every, 1e-30)))
        last = torch.from_numpy(mean_level(bank, sample.image))[None]
        pooled = last.mean(dim=(2, 3))
        priors = {
            "plain": torch.from_numpy(classifier.image_logits(pooled.numpy())),
            "rooted": model.prior.tagger(pooled),
        }
        answers = {
            f"{features}/{rule}": torch.softmax(combine(logits, prior), 1).numpy()
            for features, prior in priors.items()
            for rule, combine in RULES.items()
        }
        answers["rooted/objects"] = torch.softmax(model.prior(logits, last), 1).numpy()
        answers |= {f"known/{rule}": keep(logits, present[None]) for rule, keep in KNOWN.items()}
        for name, probability in answers.items():
            mask = best_class(resized(probability[0], *truth.shape))
            totals[name] = confusion(truth, mask, classes) + totals.get(name, Confusion.zeros(classes))
    yield from totals.items()


if __name__ == "__main__":
    main()
