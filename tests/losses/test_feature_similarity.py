from __future__ import annotations

import math

import pytest
import torch

from igcam.losses import feature_similarity_loss


def of_all_pairs(y: torch.Tensor, x: torch.Tensor, mu: float, sigma: float, cut: float) -> torch.Tensor:
    """The equations of the paper, pair by pair."""
    count, _, height, width = y.shape
    total = torch.zeros((), dtype=y.dtype)
    spots = [(row, column) for row in range(height) for column in range(width)]
    for n in range(count):
        for one in spots:
            for two in spots:
                distance = math.dist(one, two)
                if distance > cut:
                    continue
                d = (x[n, :, *one] - x[n, :, *two]).abs().sum() / 3
                g = torch.tanh(mu + torch.log((d + 1e-5) / (1 - d + 1e-5)))
                w = math.exp(-0.5 * (distance / sigma) ** 2) / (2 * math.pi * sigma**2)
                total = total - w * g * 0.5 * ((y[n, :, *one] - y[n, :, *two]) ** 2).sum()
    return total / (count * height * width)


def batch(height: int = 4, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64),
        torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize(("sigma", "cut"), [(5.0, 10.0), (1.0, 2.0), (2.0, 2.5), (0.7, 1.0)])
def test_equals_the_sum_over_all_pairs_within_the_cut(sigma: float, cut: float) -> None:
    y, x = batch()
    expected = of_all_pairs(y, x, 2.5, sigma, cut)
    torch.testing.assert_close(feature_similarity_loss(y, x, 2.5, sigma, cut), expected)


def test_two_locations_by_hand() -> None:
    y = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    x = torch.tensor([[[[0.5, 0.5]], [[0.2, 0.8]], [[0.1, 0.1]]]])
    # d = 0.2, dy = 1, two ordered pairs over two locations.
    push = math.tanh(2.5 + math.log(0.20001 / 0.80001))
    expected = -push * math.exp(-1 / 50) / (50 * math.pi)
    assert float(feature_similarity_loss(y, x)) == pytest.approx(expected, rel=1e-5)
    assert expected < 0


def test_one_colour_pulls_together_and_contrast_pushes_apart() -> None:
    y, x = batch()
    assert feature_similarity_loss(y, torch.full_like(x, 0.3)) > 0
    assert feature_similarity_loss(y, x) < 0
    assert feature_similarity_loss(torch.full_like(y, 0.4), x) == 0
    # At the colour difference 1 / (1 + exp(mu)) a pair does not matter.
    even = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    even[..., 1] = 1 / (1 + math.exp(2.5))
    assert abs(float(feature_similarity_loss(y[:1, :, :1, :2], even))) < 1e-5


def test_gradients_are_exact() -> None:
    y, x = batch(3, 4)
    assert torch.autograd.gradcheck(lambda probability: feature_similarity_loss(probability, x), y.requires_grad_())


def test_wrong_arguments_are_refused() -> None:
    y, x = batch()
    for bad in (x[:1], x[..., 1:]):
        with pytest.raises(ValueError, match="probability, image, sigma: must be"):
            feature_similarity_loss(y, bad)
    with pytest.raises(ValueError, match="sigma"):
        feature_similarity_loss(y, x, sigma=0)
