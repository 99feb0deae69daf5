from __future__ import annotations

import cv2
import numpy as np
import pytest

from igcam.refine.crf import CRFParameters, dense_crf
from igcam.refine.selection import Example, search


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
        "good, nearer": crf(CRFParameters(3, 3, 15, 20, 4)),
        "good, stricter": crf(CRFParameters(3, 3, 30, 12, 4)),
        "across edges": crf(CRFParameters(3, 3, 60, 500, 20)),
    }


def test_the_majority_and_masks_choose_the_same() -> None:
    images, examples, masks = scenes()
    by_majority = search(refiners(images), examples)
    judged = [Example(example.probability, mask) for example, mask in zip(examples, masks, strict=True)]
    by_masks = search(refiners(images), judged)
    assert next(iter(by_majority)).startswith("good")
    assert next(iter(by_masks)).startswith("good")
    assert by_masks["good"] > 0.9
    for scores in (by_majority, by_masks):
        assert set(list(scores)[-2:]) == {"background", "across edges"}
        assert scores["nothing"] < min(value for name, value in scores.items() if name.startswith("good"))
    assert list(by_majority.values()) == sorted(by_majority.values(), reverse=True)


def test_the_majority_by_hand() -> None:
    # Four pixels; all say 0 at the first, and each of the others is alone once.
    answers = {"a": [0, 1, 1, 0], "b": [0, 1, 0, 1], "c": [0, 0, 1, 1]}
    maps = {name: np.eye(2, dtype=np.float32)[row].T[:, None] for name, row in answers.items()}
    given = {name: lambda index, stack, name=name: maps[name] for name in answers}
    example = Example(np.full((2, 1, 4), 0.5, np.float32))
    # At the last three "a" says 1, 1, 0. The others tie twice, which goes to the first class, and agree on 1 once:
    # 0, 0, 1, so that "a" is never right, and so it goes for "b" and "c".
    assert search(given, [example]) == {"a": 0.0, "b": 0.0, "c": 0.0}
    more = {**given, "d": lambda index, stack: maps["a"]}
    # The others of "a" are "b", "c" and its twin "d": 1, 1, 1 by two votes against one. It has hit two of three ones.
    scores = search(more, [example])
    assert scores["a"] == scores["d"] == pytest.approx((2 / 3 + 0) / 2)
    # Those of "b" are "a" twice and "c": 1, 1, 0, and "b" says 1, 0, 1.
    assert scores["b"] == scores["c"] == pytest.approx((1 / 3 + 0) / 2)


def test_masks_alone_count_where_there_are_some() -> None:
    images, examples, masks = scenes()
    wrong = 1 - masks[1]
    some = [examples[0], Example(examples[1].probability, wrong), *examples[2:]]
    scores = search(refiners(images), some)
    assert scores["good"] < 0.1
    unknown = wrong.copy()
    unknown[:, :] = 255
    assert search(refiners(images), [Example(examples[1].probability, unknown)])["good"] == 0


def test_answers_of_other_sizes_are_compared_at_the_finest() -> None:
    images, examples, masks = scenes(2)
    usual = refiners(images)
    mixed = {**usual, "coarse": lambda index, stack: stack}
    alike = {**usual, "coarse": usual["nothing"]}
    scores, expected = search(mixed, examples, workers=1), search(alike, examples)
    assert scores == pytest.approx(expected, abs=0.02)
    judged = [Example(examples[0].probability, masks[0])]
    assert search(mixed, judged)["coarse"] == pytest.approx(search(mixed, judged)["nothing"], abs=0.02)


def test_bad_input_is_refused() -> None:
    images, examples, _ = scenes(1)
    with pytest.raises(ValueError, match="refiners, examples: must not be empty"):
        search({}, examples)
    two = dict(list(refiners(images).items())[:2])
    with pytest.raises(ValueError, match="refiners: must be at least 3 where no example has a mask, got 2"):
        search(two, examples)
