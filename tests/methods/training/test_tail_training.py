from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_runs import tiny_options

from igcam.core.errors import IgcamError
from igcam.core.progress import no_progress
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.cam_tail import tag_loss
from igcam.methods.features import views_of
from igcam.methods.hfpl import HfplLosses, hfpl_losses
from igcam.methods.training.loop import Loss
from igcam.methods.training.tail import StoredViews, TailOptions, train_tail
from igcam.models.backbone import build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.tail import TailNetwork
from igcam.models.views import View

OPTIONS = TailOptions(epochs=6, batch_size=8)


@pytest.fixture(scope="module")
def examples(tiny_data: Dataset, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredViews:
    backbone = build_backbone(tiny_options(trained).backbone)
    bank = FeatureBank(tmp_path_factory.mktemp("bank"), backbone, views_of(64, True))
    return StoredViews(bank, [sample.image for sample in tiny_data], tiny_data.tag_matrix(), 0)


def result(examples: StoredViews, losses: list[Loss]) -> tuple[TailNetwork, list[dict[str, float]]]:
    network = TailNetwork(examples.bank.backbone, examples.tags.shape[1])
    return network, train_tail(network, examples, losses, OPTIONS, no_progress)


def test_colours_lie_where_the_maps_of_their_view_do(examples: StoredViews) -> None:
    seen = set()
    for epoch in range(8):
        one = examples.load(3, epoch)
        views = [examples.bank.read(examples.images[3], view)[-2] for view in examples.bank.views]
        flips = [np.array_equal(one.inputs[0].numpy(), maps.astype(np.float32)) for maps in views]
        assert sum(flips) == 1
        square = View(64, examples.bank.views[flips.index(True)].flip).apply(load_image(examples.images[3]))
        expected = cv2.resize(square.astype(np.float32) / 255, one.inputs[0].shape[:0:-1], interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(one.known["image"].numpy().transpose(1, 2, 0), expected, atol=1e-6)
        np.testing.assert_array_equal(one.known["tags"].numpy(), examples.tags[3])
        seen.add(flips.index(True))
    assert seen == {0, 1}


def test_it_fits_the_tags_and_the_same_seed_gives_the_same(examples: StoredViews) -> None:
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    # The similarity loss of features as untrained as these rises at first: at its default it would hide the tags.
    losses = HfplLosses(similarity=1)
    network, curve = result(examples, hfpl_losses(losses, "average"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network.training
    assert curve[-1]["loss"] < 0.97 * curve[0]["loss"]
    torch.manual_seed(5)
    again, same = result(examples, hfpl_losses(losses, "average"))
    assert curve == same
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_without_its_losses_hfpl_is_the_plain_classifier(examples: StoredViews) -> None:
    plain, curve = result(examples, [tag_loss("average")])
    off, same = result(examples, hfpl_losses(HfplLosses(importance=0, similarity=0), "average"))
    assert curve == same
    assert torch.equal(plain.head.weight, off.head.weight)
    for losses in (HfplLosses(importance=0.2, similarity=0), HfplLosses(importance=0, similarity=1)):
        assert result(examples, hfpl_losses(losses, "average"))[1] != curve


def test_impossible_options_are_refused() -> None:
    for bad in ({"epochs": 0}, {"batch_size": 0}, {"learning_rate": -1.0}, {"head_rate": float("nan")}):
        with pytest.raises(IgcamError, match=f"{next(iter(bad))} must be"):
            TailOptions(**bad)
    for bad in ({"importance": 1.1}, {"samples": 0}, {"sigma": 0.0}, {"max_distance": 0.0}, {"similarity": -1.0}):
        with pytest.raises(IgcamError, match=f"{next(iter(bad))} must be"):
            HfplLosses(**bad)
