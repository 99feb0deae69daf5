from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from igcam.losses import guidance_loss


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 5, 6, generator=generator)
    labels = torch.randint(4, (2, 5, 6), generator=generator)
    return logits, labels, F.one_hot(labels, 4).permute(0, 3, 1, 2).float()


def test_equals_cross_entropy_on_hard_labels() -> None:
    logits, labels, target = batch()
    loss = guidance_loss(logits, target, torch.ones(2, 5, 6))
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_equals_cross_entropy_on_soft_labels() -> None:
    logits, _, _ = batch()
    target = torch.softmax(torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    torch.testing.assert_close(guidance_loss(logits, target, torch.ones(2, 5, 6)), F.cross_entropy(logits, target))


def test_locations_without_confidence_do_not_matter() -> None:
    logits, labels, target = batch()
    confidence = torch.zeros(2, 5, 6)
    confidence[0, 1:3] = 1
    loss = guidance_loss(logits, target, confidence)
    ignored = labels.masked_fill(confidence == 0, -100)
    torch.testing.assert_close(loss, F.cross_entropy(logits, ignored))
    other = torch.where(confidence[:, None] > 0, logits, torch.full_like(logits, 1e4))
    torch.testing.assert_close(guidance_loss(other, target, confidence), loss)


def test_the_mean_is_weighted_by_confidence() -> None:
    logits = torch.tensor([[[[0.0, 2.0]], [[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    left, right = torch.log(torch.tensor(2.0)), torch.log1p(torch.exp(torch.tensor(2.0)))
    loss = guidance_loss(logits, target, torch.tensor([[[3.0, 1.0]]]))
    torch.testing.assert_close(loss, (3 * left + right) / 4)


def test_gradients_are_exact_and_zero_without_confidence() -> None:
    logits, _, target = batch()
    confidence = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    confidence[:, 0] = 0
    double = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: guidance_loss(z, target.double(), confidence), double)
    guidance_loss(double, target.double(), confidence).backward()
    assert not double.grad[:, :, 0].any()
    assert double.grad[:, :, 1:].any()


def test_without_any_confidence_the_loss_is_zero() -> None:
    logits, _, target = batch()
    logits.requires_grad_()
    loss = guidance_loss(logits, target, torch.zeros(2, 5, 6))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("logits", "target", "confidence"),
    [
        ((2, 4, 5, 6), (2, 3, 5, 6), (2, 5, 6)),
        ((2, 4, 5, 6), (2, 4, 5, 6), (2, 4, 5, 6)),
        ((2, 4, 5, 6), (2, 4, 5, 6), (5, 6)),
        ((2, 4, 5, 6), (2, 4, 5, 6), (2, 6, 5)),
    ],
)
def test_wrong_shapes_are_refused(logits: tuple, target: tuple, confidence: tuple) -> None:
    with pytest.raises(ValueError, match="logits, target, confidence: must be"):
        guidance_loss(torch.zeros(logits), torch.zeros(target), torch.zeros(confidence))
