from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.commands.label import Labeller
from igcam.commands.predicting.models import HeadPredictor
from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.runs.folder import RunFolder


@pytest.fixture(scope="module")
def predictor(tiny_run: RunFolder) -> HeadPredictor:
    return HeadPredictor.open(tiny_run, batch_size=4)


@pytest.fixture(scope="module")
def images(tiny_data: Dataset) -> list[np.ndarray]:
    return [load_image(sample.image) for sample in tiny_data][:6]


@pytest.mark.parametrize("method", ["igcam", "cam"])
def test_it_gives_what_label_gives_without_tags(
    method: str, tiny_run: RunFolder, tiny_data: Dataset, trained: Path, tmp_path: Path, images: list[np.ndarray]
) -> None:
    run = tiny_run
    if method == "cam":
        run = fit(tiny_data, tmp_path / "run", tiny_options(trained, method="cam"), bank=tiny_run.file("bank"))
    predictor = HeadPredictor.open(run)
    before = contents(run.path, "bank/**/*")
    predictions = predictor.predict(images)
    assert contents(run.path, "bank/**/*") == before
    labeller = Labeller.open(run, tiny_run.file("bank"))
    photos = {sample.image: image for sample, image in zip(tiny_data, images, strict=False)}
    levels = labeller.bank.of_photos(photos, keep=False)
    for prediction, path in zip(predictions, photos, strict=True):
        scores, deep = labeller.scores(levels[path], None)
        # The bank keeps half precision.
        np.testing.assert_allclose(prediction.scores, scores / scores.sum(axis=0), atol=5e-3)
        assert prediction.features is not None
        np.testing.assert_allclose(prediction.features, deep, atol=0.02 * np.abs(deep).max())


def test_scores_sum_to_one_and_are_float32(predictor: HeadPredictor, images: list[np.ndarray]) -> None:
    for prediction in predictor.predict(images):
        assert prediction.scores.dtype == np.float32
        assert prediction.scores.shape == (len(predictor.classes) + 1, 8, 8)
        assert prediction.scores.min() >= 0
        np.testing.assert_allclose(prediction.scores.sum(axis=0), 1, atol=1e-5)


def test_an_image_gets_the_same_answer_in_any_company(predictor: HeadPredictor, images: list[np.ndarray]) -> None:
    together = predictor.predict(images)
    for image, expected in zip(images, together, strict=True):
        assert np.array_equal(predictor.predict([image])[0].scores, expected.scores)
    assert predictor.predict([]) == []


def test_a_mirrored_image_gets_the_mirrored_answer(predictor: HeadPredictor, images: list[np.ndarray]) -> None:
    # The view and its mirror image change places.
    (plain,), (mirrored,) = predictor.predict(images[:1]), predictor.predict([images[0][:, ::-1]])
    np.testing.assert_allclose(mirrored.scores[..., ::-1], plain.scores, atol=1e-4)


def test_another_scale_gives_another_grid(predictor: HeadPredictor, images: list[np.ndarray]) -> None:
    (prediction,) = predictor.at(1.5).predict(images[:1])
    assert prediction.scores.shape[1:] == (12, 12)
    assert predictor.at(1.0) == replace(predictor)


def test_a_run_that_is_not_finished_is_refused(tiny_data: Dataset, tmp_path: Path) -> None:
    begun = RunFolder.begin(tmp_path / "begun", tiny_options(), tiny_data)
    stages = "finetune, features, classify, cam, tagger, guide, reweight, objects"
    message = f"begun: is not finished: no {stages}; run igcam fit again"
    with pytest.raises(IgcamError, match=message):
        HeadPredictor.open(begun)
