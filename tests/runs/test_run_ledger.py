from __future__ import annotations

from pathlib import Path

from igcam.core.validation import with_setting
from igcam.data.sample import Dataset, Sample
from igcam.methods.options import FitOptions
from igcam.runs.ledger import run_ledger

DATASET = Dataset(("cat",), (Sample("one", Path("one.jpg"), (0,)),))


def crf_of(options: FitOptions, stages: tuple[str, ...] = ("cam", "crf")) -> dict[str, object] | None:
    ledger = run_ledger(options, DATASET, split="toys", split_size=1, tags_at_inference=True, stages=stages)
    return ledger.to_dict()["crf"]


def test_the_crf_is_told_with_its_widths() -> None:
    irn = {
        "preset": "irn",
        "gaussian_width": 3,
        "gaussian_weight": 3,
        "bilateral_width": 50,
        "bilateral_colour": 5,
        "bilateral_weight": 10,
        "iterations": 10,
        "converged": 0,
    }
    assert crf_of(FitOptions(crf="irn")) == irn
    assert crf_of(FitOptions(crf="irn", crf_side=500)) == irn | {"widths_for_longer_side": 500}
    assert crf_of(FitOptions(), ("cam",)) is None


def test_the_crf_of_the_finest_level_is_told_too() -> None:
    options = with_setting(FitOptions(crf="irn"), "igcam.sharpen.last=crf")
    assert (crf_of(options, ("cam", "sharpen")) or {})["preset"] == "afa"
    assert (crf_of(options, ("cam", "sharpen", "crf")) or {})["preset"] == "irn"
