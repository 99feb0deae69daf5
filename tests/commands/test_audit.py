from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from igcam.commands.audit import COLUMNS, Audit, audit, held_out_changes, write_suspects
from igcam.core.errors import IgcamError
from igcam.core.files import read_array
from igcam.data.sample import Dataset
from igcam.label_quality.tag_scores import AuditOptions
from igcam.models.linear_head import cross_fit, fit_linear_head
from igcam.runs.folder import RunFolder

OPTIONS = AuditOptions(penalties=(0.05,), repeats=2, folds=4)


@pytest.fixture(scope="module")
def found(tiny_run: RunFolder) -> Audit:
    return audit(tiny_run, maximum=30, options=OPTIONS)


def test_suspects_are_ranked_and_say_what_the_tags_say(found: Audit, tiny_data: Dataset) -> None:
    scores = [item.score for item in found.suspects]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 30
    assert scores[0] == pytest.approx(found.suspicion.log_odds.max())
    for item in found.suspects:
        sample = tiny_data.samples[item.image]
        tagged = tiny_data.classes.index(item.label) in (sample.tags or ())
        assert item.name == sample.name
        assert item.kind == ("wrong" if tagged else "missing")
        assert item.probability == pytest.approx(1 / (1 + np.exp(-item.score)))


def test_spatial_maps_sum_to_the_image(found: Audit, tiny_run: RunFolder, tiny_data: Dataset) -> None:
    from igcam.runs.models_file import read_classifier

    classifier = read_classifier(tiny_run.file("stages", "classify", "head.safetensors"))
    pooled = read_array(tiny_run.file("stages", "features", "pooled.npy")).astype(np.float64)
    fitted = cross_fit(pooled * classifier.scale, tiny_data.tag_matrix(), classifier.head.l2, 4, 0)
    for item in found.suspects[:5]:
        c = tiny_data.classes.index(item.label)
        assert item.influence.sum() == pytest.approx(fitted.influence[item.image, c], rel=1e-2, abs=1e-5)
        assert item.evidence.mean() == pytest.approx(fitted.logits[item.image, c], rel=1e-2, abs=1e-2)


def test_held_out_changes_are_those_of_retraining() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 6))
    tags = (features[:, :2] + random.standard_normal((40, 2)) > 0).astype(float)
    fitted = cross_fit(features, tags, 0.1, folds=4, seed=0)
    pairs = np.array([[0, 1], [7, 0], [30, 1]])
    actual = np.zeros(3)
    for row, (image, c) in enumerate(pairs):
        turned = tags.copy()
        turned[image, c] = 1 - turned[image, c]
        for k in range(4):
            on = fitted.fold != k
            if on[image]:
                losses = []
                for table in (turned, tags):
                    logits = fit_linear_head(features[on], table[on], 0.1).logits(features[~on])
                    losses.append((np.logaddexp(0, logits) - tags[~on] * logits).mean(axis=0)[c])
                actual[row] += (losses[0] - losses[1]) / 3
    np.testing.assert_allclose(held_out_changes(features, tags, fitted, pairs), actual, atol=2e-3)


def test_the_table_can_be_read_and_has_room_for_answers(found: Audit, tmp_path: Path) -> None:
    write_suspects(tmp_path / "suspects.csv", found.suspects)
    with (tmp_path / "suspects.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 31)]
    assert {row["fix"] for row in rows} == {""}
    assert float(rows[3]["score"]) == pytest.approx(found.suspects[3].score, rel=1e-4)


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path, tiny_run: RunFolder) -> None:
    with pytest.raises(IgcamError, match="is not a run folder"):
        audit(tmp_path)
    with pytest.raises(IgcamError, match="maximum"):
        audit(tiny_run, maximum=0)
