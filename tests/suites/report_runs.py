"""Run folders of the form that `fit` writes, from built-in scenes and blurred masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from igcam.core.files import read_json, write_array, write_json
from igcam.data.images import save_jpeg
from igcam.data.masks import write_mask
from igcam.data.synthetic.scenes import SceneOptions, make_scene
from igcam.metrics.boundary import boundary_counts, boundary_iou
from igcam.metrics.confusion_matrix import Confusion, confusion, scores
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, score_rows, write_results

ALL_STAGES = ("cam", "guide", "reweight", "sharpen", "crf")
CLASSES = ("fox", "frog", "owl", "panda", "pig")
NOISE = {"cam": 2.0, "guide": 1.5, "reweight": 1.45, "sharpen": 1.25, "crf": 1.1}


def make_run(
    folder: Path,
    images: int = 6,
    stages: Sequence[str] = ALL_STAGES,
    truth: bool = True,
    size: int = 64,
    classes: Sequence[str] = CLASSES,
    names: Sequence[str] | None = None,
    ledger: dict[str, Any] | None = None,
) -> Path:
    """Write the photos and a run; masks get better from stage to stage."""
    rng = np.random.default_rng(0)
    run, cells, samples = folder / "run", 24, []
    scenes = [make_scene(index, options=SceneOptions(size=size)) for index in range(images)]
    names = names or [f"farm/scene-{index:03d}" for index in range(images)]
    planes = []
    for index, (name, scene) in enumerate(zip(names, scenes, strict=True)):
        photo, mask = folder / "photos" / f"{index}.jpg", folder / "truth" / f"{index}.png"
        save_jpeg(photo, scene.image)
        if truth:
            write_mask(mask, scene.mask)
        samples.append(
            {
                "name": name,
                "image": str(photo),
                "tags": list(scene.tags),
                "truth": str(mask) if truth else None,
                "truth_lookup": None,
                "cues": {"mask": 1} if index % 4 == 0 else {},
            }
        )
        one_hot = (scene.mask[None] == np.arange(len(classes) + 1)[:, None, None]).astype(np.float32)
        small = np.stack([cv2.resize(plane, (cells, cells), interpolation=cv2.INTER_AREA) for plane in one_hot])
        planes.append(small)
    write_json(run / "samples.json", {"classes": list(classes), "samples": samples})
    options = {"method": "igcam", "size": 384, "flip": True, "backbone": {"name": "resnet50", "levels": [-2, -1]}}
    head = {"version": "0.1.0", "method": "igcam", "seed": 0, "options": options}
    write_json(run / "run.json", {**head, "classes": list(classes), "images": images})
    write_json(run / "environment.json", {"python": "3.11.9", "torch": "2.9.0", "platform": "Linux", "cuda": None})
    maps = np.stack([_blurred(plane, 5 + 3 * rng.random()) for plane in planes])
    if "cam" in stages:
        write_array(run / "stages/cam/maps.npy", maps.astype(np.float16))
    if "guide" in stages:
        targets = np.stack([_blurred(plane, 1.0) for plane in planes])
        write_array(
            run / "stages/guide/pseudo_labels.npy", (targets / targets.sum(1, keepdims=True)).astype(np.float16)
        )
        confidence = np.abs(2 * targets.max(1) - 1).clip(0, 1)
        write_array(run / "stages/guide/confidence.npy", confidence.astype(np.float16))
    measured: dict[str, Any] = {}
    for number, stage in enumerate(stages):
        losses = [0.7 * 0.8**epoch + 0.05 * rng.random() + 0.2 for epoch in range(12)]
        curve = [{"epoch": epoch + 1, "loss": loss} for epoch, loss in enumerate(losses)]
        trained = stage in ("guide", "reweight")
        facts = {"stage": stage, "seconds": 12.25 * (number + 1), "curve": curve if trained else []}
        write_json(run / "stages" / stage / "stage.json", facts)
        masks = [_mask(plane, NOISE[stage], size, index) for index, plane in enumerate(planes)]
        if stage == stages[-1]:
            for name, mask in zip(names, masks, strict=True):
                write_mask(run / "masks" / f"{name}.png", mask)
        if truth:
            path = run / "stages" / stage / "metrics.json"
            rows, per_image = _rows([scene.mask for scene in scenes], masks, classes)
            write_results(path, _ledger(stage, stages, images, ledger or {}), rows)
            measured[stage] = read_json(path)
            if stage == stages[-1]:
                listed = zip(names, per_image, strict=True)
                write_json(run / "images.json", {"scores": [{"name": n, "miou": value} for n, value in listed]})
    if truth:
        write_json(run / "metrics.json", {"stages": measured})
    return run


def _ledger(stage: str, stages: Sequence[str], images: int, changes: dict[str, Any]) -> Ledger:
    fields: dict[str, Any] = {
        "method": "igcam",
        "split": "scenes train",
        "split_size": images,
        "tags_at_inference": True,
        "cues": {"mask": -(-images // 4)},
        "annotation_seconds": 219.7 * -(-images // 4) + 20 * images,
        "threshold_rule": "constant 0.2",
        "crf": {"iterations": 10, "spatial_std": 3.0, "colour_weight": 4.0} if stage == "crf" else None,
        "flip": True,
        "backbone": "resnet50",
        "weights": "IMAGENET1K_V1, sha256 0676ba61",
        "regime": "frozen",
        "resolution": "384 x 384",
        "seed": 0,
        "stages": tuple(stages[: list(stages).index(stage) + 1]),
        "wall_seconds": 183.75,
        "truth_digest": "5f" * 32,
        "version": "0.1.0",
    }
    return Ledger(**{**fields, **changes})


def _blurred(plane: np.ndarray, width: float) -> np.ndarray:
    """Return one-hot planes blurred, every class with a maximum of one, absent ones zero."""
    soft = np.stack([cv2.GaussianBlur(layer, (0, 0), width / 2) for layer in plane])
    return soft / np.maximum(soft.max(axis=(1, 2), keepdims=True), 1e-6)


def _mask(plane: np.ndarray, noise: float, size: int, seed: int) -> np.ndarray:
    """Return the truth with mistakes: the more noise, the more."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(len(plane), 6, 6)).astype(np.float32)
    wrong = np.stack([cv2.resize(layer, plane.shape[1:], interpolation=cv2.INTER_CUBIC) for layer in coarse])
    present = plane.reshape(len(plane), -1).max(axis=1) > 0
    level = noise * (0.5 + 0.6 * rng.random())
    mixed = plane + level * 0.5 * wrong * present[:, None, None] - 9 * ~present[:, None, None]
    full = np.stack([cv2.resize(layer, (size, size)) for layer in mixed.astype(np.float32)])
    return full.argmax(axis=0).astype(np.uint8)


def _rows(
    truths: Sequence[np.ndarray], masks: Sequence[np.ndarray], classes: Sequence[str]
) -> tuple[list[Row], list[float]]:
    pairs = [(truth, mask) for truth, mask in zip(truths, masks, strict=True)]
    single = [confusion(truth, mask, len(classes)) for truth, mask in pairs]
    bands = sum(boundary_counts(truth, mask, len(classes)) for truth, mask in pairs)
    boundary = boundary_iou(np.asarray(bands))
    rows = score_rows(scores(sum(single, start=Confusion.zeros(len(classes)))), classes)
    rows.append(Row("boundary_iou", 100 * boundary.miou, "%"))
    rows += [
        Row(f"boundary_iou/{name}", 100 * float(value), "%")
        for name, value in zip(("background", *classes), boundary.iou, strict=True)
        if not np.isnan(value)
    ]
    return rows, [100 * scores(item).miou for item in single]
