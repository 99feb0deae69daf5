from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import tiny_options

from igcam.core.errors import IgcamError
from igcam.data.sample import Dataset
from igcam.methods.training.finetuning import FinetuneOptions, finetune
from igcam.models.backbone import build_backbone
from igcam.models.localiser import Localiser


def trained(data: Dataset, seed: int = 0) -> tuple[Localiser, list[dict[str, float]], list[tuple[int, int]]]:
    torch.manual_seed(0)
    localiser = Localiser(build_backbone(tiny_options().backbone), len(data.classes))
    seen: list[tuple[int, int]] = []
    images: list[Path] = [sample.image for sample in data.samples[:6]]
    options = FinetuneOptions(epochs=2, batch_size=3, learning_rate=3e-3)
    curve = finetune(
        localiser,
        images,
        data.tag_matrix()[:6],
        64,
        options,
        seed,
        lambda task, done, total: seen.append((done, total)),
    )
    return localiser, curve, seen


def test_training_is_in_place_and_repeatable(tiny_data: Dataset) -> None:
    localiser, curve, seen = trained(tiny_data)
    assert not localiser.training
    assert next(localiser.parameters()).device.type == "cpu"
    assert localiser.head.weight.abs().max() > 0
    assert seen == [(step, 4) for step in (1, 2, 3, 4)]
    assert [point["epoch"] for point in curve] == [1, 2]
    assert curve[0]["loss"] == pytest.approx(np.log(2), rel=0.3)
    again, same, _ = trained(tiny_data)
    assert curve == same
    for name, tensor in localiser.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert trained(tiny_data, seed=1)[1] != curve


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": 0}, {"colour": 1.0}, {"scale": (1.2, 0.8)}])
def test_impossible_options_are_refused(bad: dict) -> None:
    with pytest.raises(IgcamError, match=f"{next(iter(bad))} must be"):
        FinetuneOptions(**bad)
