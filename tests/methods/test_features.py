from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from igcam.core.files import read_array, read_tensors
from igcam.core.progress import no_progress
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.features import build_features, mean_level, reduce_one, views_of
from igcam.methods.network import open_backbone
from igcam.models.backbone import Backbone
from igcam.models.bank import FeatureBank
from igcam.models.reduction import Reduction
from igcam.models.views import View
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder


@pytest.fixture(scope="module")
def backbone(tiny_run: RunFolder) -> Backbone:
    return open_backbone(RunArtefacts(tiny_run), tiny_run.options)


@pytest.fixture(scope="module")
def bank(tiny_run: RunFolder, backbone: Backbone) -> FeatureBank:
    return FeatureBank(tiny_run.file("bank"), backbone, views_of(64, True))


def direct(backbone: Backbone, image: Path, flip: bool) -> list[np.ndarray]:
    pixels = torch.from_numpy(View(64, flip).apply(load_image(image))).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        return [level[0].numpy() for level in backbone(pixels)]


def test_the_run_has_filled_its_bank(bank: FeatureBank, tiny_data: Dataset) -> None:
    assert bank.missing([sample.image for sample in tiny_data]) == []


def test_pooled_and_reduced_features_are_those_of_the_network(
    tiny_run: RunFolder, backbone: Backbone, tiny_data: Dataset
) -> None:
    artefacts = RunArtefacts(tiny_run)
    pooled, reduced = artefacts.load_array("features/pooled"), artefacts.load_array("features/reduced")
    reduction = artefacts.load("features/reduction", Reduction.from_tensors)
    assert isinstance(reduced, np.memmap)
    assert reduction.channels == 16
    for index in (0, 7, 15):
        levels = [direct(backbone, tiny_data.samples[index].image, flip) for flip in (False, True)]
        expected = np.mean([view[-1].mean(axis=(1, 2)) for view in levels], axis=0)
        np.testing.assert_allclose(pooled[index], expected, rtol=2e-3, atol=2e-3)
        for row, view in enumerate(levels):
            tensors = [torch.from_numpy(level)[None] for level in view]
            np.testing.assert_allclose(reduced[row, index], reduction(tensors)[0].numpy(), rtol=2e-2, atol=2e-2)


def test_the_last_level_is_the_mean_of_both_views(bank: FeatureBank, backbone: Backbone, tiny_data: Dataset) -> None:
    image = tiny_data.samples[3].image
    plain, mirrored = (direct(backbone, image, flip)[-1] for flip in (False, True))
    np.testing.assert_allclose(mean_level(bank, image), (plain + mirrored[..., ::-1]) / 2, rtol=2e-3, atol=2e-3)


def test_one_view_and_few_components(
    bank: FeatureBank, tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    single = FeatureBank(tiny_run.file("bank"), bank.backbone, views_of(64, False))
    images = [sample.image for sample in tiny_data.samples[:3]]
    reduction = build_features(single, images, (2, 3), tmp_path, 0, no_progress)
    pooled, reduced = (read_array(tmp_path / name) for name in ("pooled.npy", "reduced.npy"))
    read = Reduction.from_tensors(read_tensors(tmp_path / "reduction.safetensors"))
    assert pooled.shape == (3, 512)
    assert reduced.shape == (1, 3, 5, 8, 8)
    np.testing.assert_allclose(reduced[0, 2], reduce_one(read, single.read(images[2])), rtol=1e-2, atol=1e-2)
    assert all(torch.equal(one, other) for one, other in zip(reduction.means, read.means, strict=True))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pooled.npy", "reduced.npy", "reduction.safetensors"]


def test_views() -> None:
    assert views_of(96, False) == (View(96),)
    assert views_of(96, True) == (View(96), View(96, flip=True))
