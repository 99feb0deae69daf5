from __future__ import annotations

import pytest
import torch

from igcam.losses import importance_sampling_loss, multilabel_loss


def test_even_maps_give_the_loss_of_their_value() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 0.0]])
    tags = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    maps = logits[:, :, None, None].expand(2, 2, 3, 4)
    torch.testing.assert_close(importance_sampling_loss(maps, tags), multilabel_loss(logits, tags))


def test_the_mean_over_many_draws_is_the_loss_weighted_by_the_scores() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 4)
    tags = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    scores = maps.sigmoid() + 1e-5
    each = torch.nn.functional.softplus(torch.where(tags[:, :, None, None] > 0, -maps, maps))
    expected = ((each * scores).sum(dim=(2, 3)) / scores.sum(dim=(2, 3))).mean()
    assert float(importance_sampling_loss(maps, tags, 50_000)) == pytest.approx(float(expected), rel=5e-3)


def test_gradients_reach_drawn_locations_only() -> None:
    # Every other location has a score of 1e-5 beside 1.
    maps = torch.full((1, 1, 5, 5), -60.0)
    maps[0, 0, 2, 3] = 60.0
    maps.requires_grad_()
    torch.manual_seed(0)
    importance_sampling_loss(maps, torch.zeros(1, 1)).backward()
    assert maps.grad[0, 0, 2, 3] == pytest.approx(1.0)
    assert maps.grad.abs().sum() == pytest.approx(1.0)


def test_locations_without_any_score_are_drawn_alike() -> None:
    maps = torch.full((1, 1, 2, 2), -80.0, requires_grad=True)
    torch.manual_seed(0)
    importance_sampling_loss(maps, torch.ones(1, 1), 400).backward()
    torch.testing.assert_close(maps.grad, torch.full_like(maps, -0.25), rtol=0.25, atol=0)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="logits, samples"):
        importance_sampling_loss(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="logits, samples"):
        importance_sampling_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1), 0)
    with pytest.raises(ValueError, match="tags: must be"):
        importance_sampling_loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 3))
