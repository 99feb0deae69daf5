from __future__ import annotations

import torch
import torch.nn.functional as F

from igcam.models.segmentation_head import SegmentationHead, predict_probability


def make_head(dropout: float = 0.5) -> SegmentationHead:
    torch.manual_seed(0)
    head = SegmentationHead(6, 3, hidden=5, dropout=dropout)
    for norm in (head.enter_norm, head.context_norm):
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return head.eval()


FEATURES = torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(1))


def test_logits_have_a_channel_for_background() -> None:
    logits = make_head()(FEATURES)
    assert logits.shape == (2, 4, 7, 9)
    assert logits.min() < 0


def test_a_place_sees_its_neighbours_and_nothing_else() -> None:
    head = make_head()
    changed = FEATURES.clone()
    changed[:, :, 3, 4] += 5
    differ = (head(changed) - head(FEATURES)).abs().amax(dim=(0, 1)) > 1e-6
    rows, columns = torch.nonzero(differ, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 3, 5)


def test_dropout_is_for_training_only() -> None:
    head = make_head()
    assert torch.equal(head(FEATURES), head(FEATURES))
    head.train()
    assert not torch.equal(head(FEATURES), head(FEATURES))
    still = make_head(dropout=0.0).train()
    assert torch.equal(still(FEATURES), still(FEATURES))


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    head = make_head()
    probability = predict_probability(head, FEATURES)
    torch.testing.assert_close(probability, F.softmax(head(FEATURES), dim=1))
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(2, 7, 9))


def test_the_mirrored_view_is_mirrored_back_and_averaged() -> None:
    head = make_head()
    other = torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(2))
    expected = F.softmax((head(FEATURES) + head(other).flip(-1)) / 2, dim=1)
    torch.testing.assert_close(predict_probability(head, FEATURES, other), expected)


def test_a_mirrored_pair_gives_the_mirrored_answer() -> None:
    head = make_head()
    other = torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(2))
    swapped = predict_probability(head, other, FEATURES)
    torch.testing.assert_close(swapped.flip(-1), predict_probability(head, FEATURES, other))


def test_the_state_tells_the_sizes() -> None:
    state = make_head().state_dict()
    assert state["enter.weight"].shape[:2] == (5, 6)
    assert len(state["leave.bias"]) == 4
    assert "enter.bias" not in state
