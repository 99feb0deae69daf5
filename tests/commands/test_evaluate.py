from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from igcam.commands.evaluate import evaluate
from igcam.core.errors import IgcamError
from igcam.data.masks import MaskFile, write_mask
from igcam.data.sample import Dataset, Sample
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import read_results

TRUTH = {
    "a": [[0, 0, 1, 1], [0, 0, 1, 255]],
    "b/c": [[2, 2, 2, 2], [0, 0, 0, 0]],
}
MASKS = {
    "a": [[0, 1, 1, 1], [0, 0, 0, 1]],
    "b/c": [[2, 2, 0, 0], [0, 0, 0, 0]],
}


def write(folder: Path, masks: dict[str, list[list[int]]]) -> Path:
    for name, rows in masks.items():
        write_mask(folder / f"{name}.png", np.array(rows, np.uint8))
    return folder


def dataset(folder: Path, truth: dict[str, list[list[int]]]) -> Dataset:
    write(folder, truth)
    samples = tuple(Sample(name, folder, None, (), MaskFile(folder / f"{name}.png")) for name in truth)
    return Dataset(("cat", "dog"), samples)


def test_scores_by_hand(tmp_path: Path) -> None:
    data, masks = dataset(tmp_path / "truth", TRUTH), write(tmp_path / "masks", MASKS)
    seen: list[tuple[int, int]] = []
    result = evaluate(masks, data, progress=lambda task, done, total: seen.append((done, total)))
    # Background: 3 + 4 right of 8 true, 1 + 2 wrong; cat: 2 right, 1 missed, 1 too many; dog: 2 right, 2 missed.
    np.testing.assert_allclose(result.scores.iou, [7 / 11, 2 / 4, 2 / 4])
    assert result.scores.miou == pytest.approx((7 / 11 + 1 / 2 + 1 / 2) / 3)
    assert result.scores.pixel_accuracy == pytest.approx(11 / 15)
    assert result.images == pytest.approx({"a": (3 / 5 + 2 / 4) / 2, "b/c": (4 / 6 + 2 / 4) / 2})
    assert seen == [(1, 2), (2, 2)]
    rows = {row.id: row.value for row in result.rows("val/")}
    assert rows["val/miou"] == pytest.approx(100 * result.scores.miou)
    assert rows["val/iou/cat"] == 50
    assert list(rows)[:2] == ["val/miou", "val/boundary_iou"]
    assert 0 <= rows["val/boundary_iou/dog"] <= 100


def test_perfect_masks_and_unanswered_pixels(tmp_path: Path) -> None:
    data = dataset(tmp_path / "truth", TRUTH)
    result = evaluate(tmp_path / "truth", data)
    assert result.scores.miou == 1
    assert result.boundary.miou == 1
    # 255 in a mask is an answer, a wrong one.
    write(tmp_path / "masks", MASKS | {"a": [[255, 0, 1, 1], [0, 0, 255, 0]]})
    result = evaluate(tmp_path / "masks", data)
    assert result.scores.predicted_ignore == 2


def test_results_are_written_with_their_ledger(tmp_path: Path) -> None:
    data, masks = dataset(tmp_path / "truth", TRUTH), write(tmp_path / "masks", MASKS)
    ledger = Ledger(method="mine", split="toys", split_size=2, tags_at_inference=True)
    result = evaluate(masks, data, ledger, tmp_path / "out" / "results.json")
    read, rows = read_results(tmp_path / "out" / "results.json")
    assert read == ledger
    assert rows == result.rows()
    evaluate(masks, data, output=tmp_path / "results.json")
    assert read_results(tmp_path / "results.json")[0].method == "unknown"


def test_samples_without_truth_are_left_out(tmp_path: Path) -> None:
    data = dataset(tmp_path / "truth", TRUTH)
    more = Dataset(data.classes, (*data.samples, Sample("unknown", tmp_path)))
    assert evaluate(write(tmp_path / "masks", MASKS), more).images.keys() == TRUTH.keys()
    with pytest.raises(IgcamError, match="masks: no image has a true mask to compare with"):
        evaluate(tmp_path / "masks", Dataset(data.classes, more.samples[2:]))


def test_missing_masks_are_all_listed(tmp_path: Path) -> None:
    data = dataset(tmp_path / "truth", TRUTH | {"d": [[0]]})
    write(tmp_path / "masks", {"a": MASKS["a"]})
    with pytest.raises(IgcamError) as caught:
        evaluate(tmp_path / "masks", data)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'masks'}: 2 of 3 masks are missing:",
        f"  {tmp_path / 'masks' / 'b' / 'c.png'}",
        f"  {tmp_path / 'masks' / 'd.png'}",
    ]


def test_masks_that_cannot_be_scored_are_all_listed(tmp_path: Path) -> None:
    truth = {"size": [[0, 1]], "ids": [[0, 1]], "broken": [[0, 1]], "good": [[0, 1]], "truth": [[0, 9]]}
    data = dataset(tmp_path / "truth", truth)
    masks = write(tmp_path / "masks", truth | {"size": [[0], [1]], "ids": [[0, 7]], "truth": [[0, 1]]})
    (masks / "broken.png").write_bytes(b"no mask")
    output = tmp_path / "results.json"
    with pytest.raises(IgcamError) as caught:
        evaluate(masks, data, output=output)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{masks}: 4 masks cannot be scored:"
    assert lines[0] == f"  {masks / 'size.png'}: is 1 x 2 pixels, its truth 2 x 1"
    assert lines[1].startswith(f"  {masks / 'ids.png'}: prediction: ids must be 0..2 or 255, got [7]")
    assert lines[2].startswith(f"  {masks / 'broken.png'}: is not a mask that can be read")
    assert lines[3].startswith(f"  {masks / 'truth.png'}: truth: ids must be 0..2 or 255, got [9]")
    assert not output.exists()


def test_truth_that_says_nothing_is_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path / "truth", {"a": [[255, 255]]})
    with pytest.raises(IgcamError, match="every pixel of the truth is 255"):
        evaluate(write(tmp_path / "masks", {"a": [[0, 1]]}), data)


def test_an_image_of_which_nothing_is_known_has_no_score(tmp_path: Path) -> None:
    data = dataset(tmp_path / "truth", {"a": [[0, 1]], "b": [[255, 255]]})
    result = evaluate(write(tmp_path / "masks", {"a": [[0, 1]], "b": [[0, 1]]}), data)
    assert result.images["a"] == 1
    assert math.isnan(result.images["b"])
