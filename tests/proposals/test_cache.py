from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igcam.proposals.cache import ProposalCache
from igcam.proposals.segments import Segments

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
FEATURE = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)


class Counting:
    """Two random segments, and how often they were asked for."""

    def __init__(self, scores: bool = True) -> None:
        self.calls, self.scores = 0, scores

    def __call__(self, image: np.ndarray, feature: np.ndarray | None) -> Segments:
        self.calls += 1
        masks = np.random.default_rng(int(image.sum())).random((2, 5, 7)) > 0.5
        return Segments(masks, np.array([0.7, 0.2] if self.scores else [], np.float32))


@pytest.mark.parametrize("scores", [True, False])
def test_what_was_found_is_found_again_without_work(tmp_path: Path, scores: bool) -> None:
    kind = Counting(scores)
    first = ProposalCache(tmp_path, "kind", kind)(IMAGE, FEATURE)
    again = ProposalCache(tmp_path, "kind", kind)(IMAGE, FEATURE)
    assert kind.calls == 1
    np.testing.assert_array_equal(first.masks, again.masks)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_photo_feature_and_kind_decide(tmp_path: Path) -> None:
    kind = Counting()
    cache = ProposalCache(tmp_path, "kind", kind)
    other = IMAGE.copy()
    other[0, 0, 0] ^= 1
    for image, feature in ((IMAGE, FEATURE), (other, FEATURE), (IMAGE, FEATURE + 1), (IMAGE, None)):
        cache(image, feature)
    ProposalCache(tmp_path, "kind 2", kind)(IMAGE, FEATURE)
    assert kind.calls == 5
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5


@pytest.mark.parametrize("content", [b"", b"nonsense", "half"])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes | str) -> None:
    kind = Counting()
    cache = ProposalCache(tmp_path, "kind", kind)
    first = cache(IMAGE, None)
    file = cache.file(IMAGE, None)
    file.write_bytes(file.read_bytes()[:-3] if isinstance(content, str) else content)
    np.testing.assert_array_equal(cache(IMAGE, None).masks, first.masks)
    assert kind.calls == 2
    cache(IMAGE, None)
    assert kind.calls == 2


def test_no_segments_are_remembered_too(tmp_path: Path) -> None:
    def nothing(image: np.ndarray, feature: np.ndarray | None) -> Segments:
        return Segments(np.zeros((0, 4, 5), bool))

    cache = ProposalCache(tmp_path, "nothing", nothing)
    assert cache(IMAGE, None).masks.shape == cache(IMAGE, None).masks.shape == (0, 4, 5)
