from __future__ import annotations

import pytest
import torch
from torch import nn

from igcam.losses import multilabel_loss

LOGITS = torch.tensor([[0.3, -2.0, 5.0], [1.0, 0.0, -1.0]])
TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def test_equals_the_logistic_loss_of_each_class() -> None:
    torch.testing.assert_close(multilabel_loss(LOGITS, TAGS), nn.BCEWithLogitsLoss()(LOGITS, TAGS))
    by_hand = torch.log1p(torch.exp(torch.where(TAGS > 0, -LOGITS, LOGITS))).mean()
    torch.testing.assert_close(multilabel_loss(LOGITS, TAGS), by_hand)


def test_weights_of_images_and_of_classes() -> None:
    each = nn.BCEWithLogitsLoss(reduction="none")(LOGITS, TAGS)
    images = torch.tensor([2.0, 0.0])
    torch.testing.assert_close(multilabel_loss(LOGITS, TAGS, images), (each * images[:, None]).mean())
    both = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])
    torch.testing.assert_close(multilabel_loss(LOGITS, TAGS, both), (each * both).mean())


def test_gradients_are_exact_and_leave_weightless_images_out() -> None:
    logits = LOGITS.double().requires_grad_()
    weight = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: multilabel_loss(z, TAGS.double(), weight), logits)
    multilabel_loss(logits, TAGS.double(), weight).backward()
    assert logits.grad[0].all()
    assert not logits.grad[1].any()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tags: must be \(2, 3\) as logits, got \(2, 2\)"):
        multilabel_loss(LOGITS, TAGS[:, :2])
    for shape in [(3,), (2, 1), (1, 3), (2, 3, 1)]:
        with pytest.raises(ValueError, match="weight: must be"):
            multilabel_loss(LOGITS, TAGS, torch.ones(shape))
