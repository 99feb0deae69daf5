"""Planted wrong tags: what finds them, from the same out-of-fold predictions. Called by benchmarks/influence.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from igcam.commands.demo import demo_options
from igcam.core.files import read_array, write_array
from igcam.data.formats.folder import read_folder
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.data.synthetic.scenes import SceneOptions, write_scenes
from igcam.label_quality.suspicion import AuditPass, audit_passes, mean_suspicion
from igcam.label_quality.tag_scores import AuditOptions
from igcam.methods.training.finetuning import finetune
from igcam.models.backbone import build_backbone
from igcam.models.localiser import Localiser
from igcam.models.views import View

RATES = (5, 10, 20)
"""Wrong tags planted, in percent of the number of true tags; half of them added, half of them removed."""
FIRST_SEED = 10
"""Seeds 0 to 2 served to choose the method."""
Add = Callable[[str, list[float], str, str], None]
Array = NDArray[np.float64]


def planted(tags: Array, rate: int, seed: int) -> Array:
    """Return the tags (n, C) with wrong ones: round(rate% of the tags), half added, half removed, at random."""
    random = np.random.default_rng(seed)
    count = round(rate * tags.sum() / 100)
    absent, present = np.argwhere(tags == 0), np.argwhere(tags == 1)
    added = absent[random.choice(len(absent), count // 2, replace=False)]
    removed = present[random.choice(len(present), count - count // 2, replace=False)]
    changed = tags.copy()
    changed[tuple(added.T)], changed[tuple(removed.T)] = 1, 0
    return changed


def found(score: Array, wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the area under the ROC curve, and the precision at the number planted, in percent."""
    ranks = rankdata(score.ravel())
    hits, misses = int(wrong.sum()), int((~wrong).sum())
    area = (ranks[wrong.ravel()].sum() - hits * (hits + 1) / 2) / (hits * misses)
    listed = np.argsort(-score.ravel(), kind="stable")[:hits]
    return float(area), 100 * float(wrong.ravel()[listed].mean())


def losses(logits: Array, tags: Array) -> Array:
    """Return the binary cross-entropy of each tag, (n, C)."""
    return np.logaddexp(0, logits) - tags * logits


def rivals(passes: list[AuditPass], tags: Array, seed: int) -> dict[str, Array]:
    """Return the suspicion (n, C) of every method, higher is more suspicious, from the same predictions.

    `loss` and `cleanlab` have those of heads that have learnt the tags as they are, `loss-again` those of our last
    pass.
    """
    first, last = passes[0].scores.logits, passes[-1].scores.logits
    scores = {
        "ours": mean_suspicion(passes).log_odds,
        "ours-once": passes[0].suspicion.log_odds,
        "loss": losses(first, tags),
        "loss-again": losses(last, tags),
        "random": np.random.default_rng(seed).uniform(size=tags.shape),
    }
    if importlib.util.find_spec("cleanlab") is not None:
        scores["cleanlab"] = -cleanlab_quality(first, tags)
    return scores


def cleanlab_quality(logits: Array, tags: Array) -> Array:
    """Return cleanlab's label quality of each image and class: its default, self-confidence."""
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    labels = [np.flatnonzero(row).tolist() for row in tags]
    return np.asarray(get_label_quality_scores_per_class(labels, expit(logits)))


def audit_rows(
    name: str,
    tags: Array,
    features: Callable[[Array, str], tuple[Array, Callable[[int], NDArray[np.float32]]]],
    seeds: int,
    add: Add,
) -> None:
    """Add AUROC and precision of every method for every rate.

    Args:
        name: The data set, in the ids.
        tags: True ones (n, C).
        features: Takes corrupted tags and a name for its cache; returns pooled features and a map an image.
        seeds: Number of plantings.
        add: Takes id, values a seed, unit and note.
    """
    for rate in RATES:
        values: dict[str, list[tuple[float, float]]] = {}
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            changed = planted(tags, rate, seed)
            pooled, feature_map = features(changed, f"{rate}-{seed}")
            passes = audit_passes(pooled, changed, feature_map, AuditOptions(seed=seed))
            for method, score in rivals(passes, changed, seed).items():
                values.setdefault(method, []).append(found(score, changed != tags))
        count = round(rate * tags.sum() / 100)
        for method, pairs in values.items():
            note = f"{count} wrong tags, half added, half removed" if method == "ours" else ""
            add(f"audit/{name}/{rate}/{method}/auroc", [pair[0] for pair in pairs], "", note)
            add(f"audit/{name}/{rate}/{method}/precision", [pair[1] for pair in pairs], "%", "at the number planted")
        if "cleanlab" not in values:
            print("cleanlab is not installed: its rows are left out", flush=True)


class Scenes:
    """Built-in scenes with features of a small network that was trained on the corrupted tags, as a user would."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        scenes = write_scenes(folder / f"scenes-{images}", images, 0)
        self.dataset: Dataset = read_folder(
            scenes / "photos", scenes / "tags.csv", scenes / "masks", SceneOptions().classes
        )

    def features(self, tags: Array, name: str) -> tuple[Array, Callable[[int], NDArray[np.float32]]]:
        """Train the demo's network on tags (n, C), and return what it sees; a finished network is not repeated."""
        file = self.folder / f"maps-{len(self.dataset)}-{name}.npy"
        if not file.exists():
            write_array(file, self._maps(tags, int(name.split("-")[1])))
        maps = read_array(file).astype(np.float32)
        return maps.mean(axis=(2, 3)).astype(np.float64), maps.__getitem__

    def _maps(self, tags: Array, seed: int) -> NDArray[np.float16]:
        options = demo_options(seed)
        images = [sample.image for sample in self.dataset]
        torch.manual_seed(seed)
        backbone = build_backbone(replace(options.backbone, levels=(-1,)))
        localiser = Localiser(backbone, tags.shape[1], options.finetune.pooling)
        finetune(
            localiser,
            images,
            tags.astype(np.float32),
            options.size,
            options.finetune,
            seed,
            lambda task, done, total: None,
        )
        view = View(options.size)
        with torch.inference_mode():
            maps = [
                backbone(torch.from_numpy(view.apply(load_image(image))).permute(2, 0, 1)[None].float() / 255)[0]
                for image in images
            ]
        return torch.cat(maps).half().numpy()
