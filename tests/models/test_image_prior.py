from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igcam.models.image_prior import ImagePrior, Tagger, add_prior, object_means, shift_classes


def tagger(seed: int, classes: int = 3, channels: int = 5) -> Tagger:
    random = torch.Generator().manual_seed(seed)
    return Tagger(
        torch.randn(classes, channels, generator=random).double(), torch.randn(classes, generator=random).double()
    )


def sample(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, 8, generator=random).double()
    return logits, torch.randn(2, 5, 4, 6, generator=random).double()


def test_the_mean_of_a_place_is_that_of_what_is_like_it_and_an_object() -> None:
    # Two places of one kind, two of another; the last one of them is no object.
    features = torch.tensor([[[[2.0, 4.0, 0.0, 0.0]], [[0.0, 0.0, 3.0, 5.0]]]])
    objects = torch.tensor([[[1.0, 0.5, 1.0, 0.0]]])
    means = object_means(features, objects)[0]
    np.testing.assert_allclose(means[0], [(2 + 0.5 * 4) / 1.5, 0], rtol=1e-6)
    np.testing.assert_allclose(means[1], means[0], rtol=1e-6)
    np.testing.assert_allclose(means[2], [0, 3], rtol=1e-6)
    np.testing.assert_allclose(means[3], [0, 3], rtol=1e-6)


def test_places_count_by_their_cosine_and_opposite_ones_not_at_all() -> None:
    features = torch.tensor([[[[1.0, 1.0, -1.0]], [[0.0, 1.0, 0.0]]]])
    means = object_means(features, torch.ones(1, 1, 3))[0]
    near = 1 / np.sqrt(2)
    np.testing.assert_allclose(means[0], np.array([1 + near, near]) / (1 + near), rtol=1e-6)
    np.testing.assert_allclose(means[2], [-1, 0], rtol=1e-6)


def test_a_photo_without_any_object_has_no_means_rather_than_nan() -> None:
    assert torch.equal(object_means(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2)), torch.zeros(1, 4, 3))


@given(st.integers(0, 1000))
def test_without_a_head_for_objects_it_is_the_tagger(seed: int) -> None:
    logits, features = sample(seed)
    whole = tagger(seed)
    expected = add_prior(logits, whole(features.mean(dim=(2, 3))), 0.6)
    torch.testing.assert_close(ImagePrior(whole, 0.6)(logits, features), expected)


@given(st.integers(0, 1000))
def test_objects_turn_classes_and_leave_alone_what_is_an_object(seed: int) -> None:
    logits, features = sample(seed)
    whole, objects = tagger(seed), tagger(seed + 1)
    before = ImagePrior(whole, 1.0)(logits, features)
    after = ImagePrior(whole, 1.0, objects, 0.9)(logits, features)
    background = [torch.softmax(item, 1)[:, 0] for item in (before, after)]
    torch.testing.assert_close(*background)
    assert (before - after).abs().max() > 1e-3


def test_every_block_of_places_has_what_its_mean_says() -> None:
    whole, objects = tagger(0), tagger(1)
    blocks = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(3)).double()
    features = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    logits = torch.zeros(2, 4, 6, 8).double()
    logits[:, 0] = torch.tensor([3.0, -3.0]).repeat(4)
    means = object_means(blocks, torch.full((2, 3, 4), (1 - torch.softmax(logits, 1)[:, 0]).mean()).double())
    said = torch.stack([objects(means[:, position]) for position in range(12)], 2).reshape(2, 3, 3, 4)
    said = torch.nn.functional.interpolate(said, (6, 8), mode="bilinear", align_corners=False)
    expected = shift_classes(ImagePrior(whole, 0.8)(logits, features), said, 0.7)
    torch.testing.assert_close(ImagePrior(whole, 0.8, objects, 0.7)(logits, features), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5)])
def test_any_grid_will_do(size: tuple[int, int]) -> None:
    logits, features = torch.randn(1, 4, 7, 9).double(), torch.randn(1, 5, *size).double()
    joined = ImagePrior(tagger(0), 1.0, tagger(1), 1.0)(logits, features)
    assert joined.shape == logits.shape
    assert torch.isfinite(joined).all()


@given(st.integers(0, 1000))
def test_mirrored_photos_are_mirrored_and_classes_in_another_order_in_that_order(seed: int) -> None:
    logits, features = sample(seed)
    whole, objects = tagger(seed), tagger(seed + 1)
    joined = ImagePrior(whole, 1.0, objects, 0.9)(logits, features)
    mirrored = ImagePrior(whole, 1.0, objects, 0.9)(logits.flip(-1), features.flip(-1))
    torch.testing.assert_close(mirrored.flip(-1), joined)
    order = [2, 0, 1]
    turned_heads = [Tagger(head.weight[order], head.bias[order]) for head in (whole, objects)]
    locations = [0, 3, 1, 2]
    other = ImagePrior(turned_heads[0], 1.0, turned_heads[1], 0.9)(logits[:, locations], features)
    torch.testing.assert_close(other, joined[:, locations])


def test_no_share_changes_nothing() -> None:
    logits, features = sample(0)
    torch.testing.assert_close(ImagePrior(tagger(0), 0.0, tagger(1), 0.0)(logits, features), logits)
