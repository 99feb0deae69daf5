"""What the whole photo says: ways to join it with the places, without tags and with them, on photos held out.

Each fold of train is left out once: `igcam fit` learns from the others up to the guide stage, and its head finds the
classes of those left out, on the grid of the head, without boundary refinement. Rows are `MODE/FEATURES/RULE/miou`, and
`MODE/known/RULE/miou` where their tags are known; val is not looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from animals import CLASSES, Animals, Values, arguments, call, print_rows, with_cues
from guidance import MODES as CUES
from numpy.typing import NDArray
from torch import Tensor

from igcam.data.sample import Dataset
from igcam.metrics.confusion import Confusion, confusion, scores
from igcam.metrics.results import Row, write_results
from igcam.models.image_prior import add_prior
from igcam.refine.stack import best_class, resized
from igcam.runs.backbone_file import open_backbone
from igcam.methods.features import mean_level
from igcam.runs.folder import RunFolder
from igcam.runs.inputs import open_bank
from igcam.runs.trained import TrainedHeads
from igcam.supervision.pseudo_labels import restrict_to_tags

RESULTS = Path(__file__).parent / "results" / "evidence.json"
MODES = ("tags", "masks5", "full")
FOLDS = 5


def added(logits: Tensor, evidence: Tensor) -> Tensor:
    """Add half of what the photo says to the logits of the places."""
    return torch.cat([logits[:, :1], logits[:, 1:] + evidence[:, :, None, None] / 2], dim=1)


def taken_out(logits: Tensor, tags: NDArray[np.floating], bias: float = 0.0) -> NDArray[np.floating]:
    """Take untagged classes out of the softmax of logits (1, K, h, w), after more of the background's logit."""
    logits = torch.cat([logits[:, :1] - bias, logits[:, 1:]], dim=1)
    kept = torch.softmax(logits, 1).numpy() * np.concatenate([np.ones((1, 1)), tags], axis=1)[..., None, None]
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda logits, evidence: logits,
    "added": added,
    "half": lambda logits, evidence: add_prior(logits, evidence, 0.5),
    "joined": lambda logits, evidence: add_prior(logits, evidence, 1.0),
}
KNOWN: dict[str, Callable[[Tensor, NDArray[np.floating]], NDArray[np.floating]]] = {
    "given": lambda logits, tags: restrict_to_tags(torch.softmax(logits, 1).numpy(), tags),
    "taken-out": taken_out,
    "taken-out-more-bias": lambda logits, tags: taken_out(logits, tags, 0.5),
}
NOTES = {
    "none": "every place for itself",
    "added": "half of the photo's logits are added to those of its places",
    "half": "igcam.models.image_prior.add_prior with a share of 0.5",
    "joined": "the same with a share of 1",
    "objects": "the same, and all that is like a place joins it: igcam.models.image_prior, the default",
    "given": "objects of untagged classes are given to the tagged ones, which is done everywhere",
    "taken-out": "untagged classes are taken out of the softmax",
    "taken-out-more-bias": "the same with a foreground_bias of 1 in place of 0.5",
}


def main() -> None:
    """Parse the command line and run."""
    parser = arguments(__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the five folds")
    call(run, parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """Leave out fold by fold, and print and write the table of all of them together."""
    start = time.perf_counter()
    animals = Animals(given)
    totals: dict[str, Confusion] = {}
    for fold in range(given.folds):
        kept, held = split(animals.train, fold)
        for mode in MODES:
            options = animals.options(0)
            short = replace(options, igcam=replace(options.igcam, stages=("classify", "guide")))
            kind, share = CUES[mode]
            dataset = with_cues(kept, kind, share, 0) if kind else kept
            fit = animals.learn(f"without-{fold}-{mode}", dataset, short, after=(f"without-{fold}-tags",))
            for name, counts in found(animals, fit, held):
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


def found(animals: Animals, run: RunFolder, held: Dataset) -> Iterator[tuple[str, Confusion]]:
    """Yield what was found in the photos held out, by features of the photo and rule; `known` knows their tags."""
    learnt, bank = TrainedHeads.open(run), open_bank(run, open_backbone(run, run.options), animals.arguments.bank)
    classes = len(held.classes)
    totals: dict[str, Confusion] = {}
    for sample, present in zip(held, held.tag_matrix(), strict=True):
        if sample.truth is None or sample.tags is None:
            continue
        truth = sample.truth.read()
        views = [
            [torch.from_numpy(level).float()[None] for level in bank.read(sample.image, view)] for view in bank.views
        ]
        every, _ = learnt.scores(views, [view.flip for view in bank.views], np.ones((1, classes)))
        # Whatever is added to all logits of a place is nothing to a softmax.
        logits = torch.from_numpy(np.log(np.maximum(every, 1e-30)))
        last = torch.from_numpy(mean_level(bank, sample.image))[None]
        pooled = last.mean(dim=(2, 3))
        said = {
            "plain": torch.from_numpy(learnt.classifier.image_logits(pooled.numpy())),
            "rooted": learnt.evidence.tagger(pooled),
        }
        answers = {
            f"{features}/{rule}": torch.softmax(join(logits, evidence), 1).numpy()
            for features, evidence in said.items()
            for rule, join in RULES.items()
        }
        answers["rooted/objects"] = torch.softmax(learnt.evidence(logits, last), 1).numpy()
        answers |= {f"known/{rule}": keep(logits, present[None]) for rule, keep in KNOWN.items()}
        for name, probability in answers.items():
            mask = best_class(resized(probability[0], *truth.shape))
            totals[name] = confusion(truth, mask, classes) + totals.get(name, Confusion.zeros(classes))
    yield from totals.items()


if __name__ == "__main__":
    main()
