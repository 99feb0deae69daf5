from __future__ import annotations

import numpy as np
import pytest

from igcam.label_quality.readings import joint_suspicion, read_tags
from igcam.label_quality.tag_scores import AuditOptions, score_tags

Array = np.ndarray
OPTIONS = AuditOptions(penalties=(0.05,), repeats=1)


def images(seed: int, count: int = 160, noise: float = 1.2) -> tuple[Array, Array, Array]:
    """Return features (n, 8), true tags (n, 2) and tags of which every eighth is wrong."""
    random = np.random.default_rng(seed)
    tags = (random.uniform(size=(count, 2)) < 0.5).astype(float)
    features = np.hstack([2.0 * tags, np.zeros((count, 6))]) + noise * random.normal(size=(count, 8))
    wrong = random.uniform(size=tags.shape) < 1 / 8
    return features, tags, np.abs(tags - wrong)


def test_the_first_reading_is_the_evidence_alone() -> None:
    features, _, changed = images(0)
    readings = read_tags(features, changed, options=OPTIONS, readings=1)
    evidence = score_tags(features, changed, options=OPTIONS)
    np.testing.assert_array_equal(readings[0].evidence.logits, evidence.logits)
    joint = joint_suspicion(readings)
    np.testing.assert_array_equal(joint.log_odds, evidence.suspicion(changed).log_odds)
    np.testing.assert_allclose(joint.present, evidence.suspicion(changed).present, rtol=1e-9)


def test_heads_of_the_second_reading_have_learnt_what_is_believed() -> None:
    features, _, changed = images(1)
    first, second = read_tags(features, changed, options=OPTIONS)
    posterior = np.abs(changed - 1 / (1 + np.exp(-first.suspicion.log_odds)))
    expected = score_tags(features, posterior, options=OPTIONS)
    np.testing.assert_allclose(second.evidence.logits, expected.logits)
    np.testing.assert_allclose(second.suspicion.log_odds, expected.suspicion(changed).log_odds)
    joint = joint_suspicion([first, second])
    np.testing.assert_allclose(joint.log_odds, (first.suspicion.log_odds + second.suspicion.log_odds) / 2)
    assert (joint.lost, joint.added) == (first.suspicion.lost, first.suspicion.added)
    assert joint.lost != second.suspicion.lost


def test_a_second_reading_believes_better() -> None:
    """Squared error of how far each tag is believed, over ten sets."""
    errors = []
    for seed in range(10):
        features, tags, changed = images(seed)
        readings = read_tags(features, changed, options=OPTIONS)
        for found in (readings[0].suspicion, joint_suspicion(readings)):
            posterior = np.abs(changed - 1 / (1 + np.exp(-found.log_odds)))
            errors.append(((posterior - tags) ** 2).mean())
    once, twice = np.array(errors).reshape(-1, 2).mean(axis=0)
    assert twice < once < ((changed - tags) ** 2).mean()


def test_the_number_of_readings_is_checked() -> None:
    with pytest.raises(ValueError, match="readings: must be at least 1, got 0"):
        read_tags(*images(0)[::2], readings=0)
