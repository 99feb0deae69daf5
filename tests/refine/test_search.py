from __future__ import annotations

import cv2
import numpy as np
import pytest

from igcam.refine.crf import CRFParameters, dense_crf
from igcam.refine.search import Example, search


def scenes(count: int = 4) -> tuple[list[np.ndarray], list[Example], list[np.ndarray]]:
    """Photos of a bright disk, coarse maps of it with noise, and their masks."""
    images, examples, masks = [], [], []
    for seed in range(count):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:96, :96]
        mask = ((x - 48 - 3 * seed) ** 2 + (y - 44) ** 2 < 26**2).astype(np.uint8)
        colours = np.where(mask[..., None] > 0, [200.0, 120, 40], [60.0, 90, 140]) + random.normal(0, 6, (96, 96, 3))
        blob = cv2.resize(mask.astype(np.float32), (12, 12), interpolation=cv2.INTER_AREA)
        blob = np.clip(0.1 + 0.8 * blob + random.normal(0, 0.1, blob.shape), 0.02, 0.98).astype(np.float32)
        images.append(np.clip(colours, 0, 255).astype(np.uint8))
        examples.append(Example(np.stack([1 - blob, blob, 0 * blob])))
        masks.append(mask)
    return images, examples, masks


def refiners(images: list[np.ndarray]) -> dict[str, object]:
    def enlarged(stack: np.ndarray) -> np.ndarray:
        return np.stack([cv2.resize(layer, (96, 96)) for layer in stack])

    def crf(parameters: CRFParameters):
        return lambda index, stack: dense_crf(images[index], np.clip(enlarged(stack), 0, 1), parameters)

    return {
        "nothing": lambda index, stack: enlarged(stack),
        "background": lambda index, stack: (
            np.eye(len(stack), dtype=np.float32)[0][:, None, None] * np.ones((1, 96, 96))
        ),
        "good": crf(CRFParameters(3, 3, 30, 20, 4)),
        "across edges": crf(CRFParameters(3, 3, 60, 500, 20)),
    }


def test_hidden_places_and_masks_choose_the_same() -> None:
    images, examples, masks = scenes()
    by_hidden = search(refiners(images), examples)
    judged = [Example(example.probability, mask) for example, mask in zip(examples, masks, strict=True)]
    by_masks = search(refiners(images), judged)
    assert next(iter(by_hidden)) == next(iter(by_masks)) == "good"
    assert by_hidden["good"] > 0.9
    assert by_hidden["background"] < 0.5
    assert list(by_hidden.values()) == sorted(by_hidden.values(), reverse=True)


def test_masks_alone_count_where_there_are_some() -> None:
    images, examples, masks = scenes()
    wrong = 1 - masks[1]
    some = [examples[0], Example(examples[1].probability, wrong), *examples[2:]]
    scores = search(refiners(images), some)
    assert scores["good"] < 0.1
    unknown = wrong.copy()
    unknown[:, :] = 255
    assert search(refiners(images), [Example(examples[1].probability, unknown)])["good"] == 0


def test_the_same_seed_hides_the_same() -> None:
    images, examples, _ = scenes(2)
    assert search(refiners(images), examples, seed=3) == search(refiners(images), examples, seed=3, workers=1)


def test_bad_input_is_refused() -> None:
    images, examples, _ = scenes(1)
    with pytest.raises(ValueError, match="refiners, examples: must not be empty"):
        search({}, examples)
    with pytest.raises(ValueError, match="share, block: must lie between"):
        search(refiners(images), examples, share=1)
