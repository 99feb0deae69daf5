from __future__ import annotations

import numpy as np
import pytest
from proposer_suite import ProposerSuite, scene

from igcam.core.errors import IgcamError
from igcam.proposals.hierarchies import (
    ColourSegmentOptions,
    SelectiveSearchOptions,
    colour_segments,
    feature_hierarchy,
    graph_labels,
    selective_search,
)
from igcam.proposals.segments import finer, overlaps
from igcam.proposals.spectral import cut_affinity, cut_cost, feature_clusters, k_means, partitions


class TestColourSegments(ProposerSuite):
    propose = staticmethod(colour_segments)
    # The graph's fixed grain leaves seams of a pixel around objects of 16 pixels.
    least_overlap = 0.75

    def test_impossible_options_are_refused(self) -> None:
        with pytest.raises(IgcamError, match="scales must be one or more values"):
            ColourSegmentOptions(scales=())

    def test_regions_are_numbered_from_zero_without_gaps(self) -> None:
        labels = graph_labels(scene()[0], 100)
        assert labels.shape == (48, 64)
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))


class TestSelectiveSearch(ProposerSuite):
    propose = staticmethod(selective_search)

    def test_impossible_options_are_refused(self) -> None:
        with pytest.raises(IgcamError, match="side must be 8 to 4096"):
            SelectiveSearchOptions(side=1)

    def test_parts_of_one_colour_are_joined_before_others(self) -> None:
        """Four stripes, two of them red: a node joins the reds before anything else."""
        image = np.zeros((60, 80, 3), np.uint8)
        for number, colour in enumerate([[220, 30, 30], [200, 50, 40], [30, 60, 220], [30, 200, 60]]):
            image[:, 20 * number : 20 * number + 20] = colour
        red = np.zeros((1, 60, 80), bool)
        red[:, :, :40] = True
        assert overlaps(red, selective_search(image).masks).max() > 0.95


class TestFeatureClusters(ProposerSuite):
    propose = staticmethod(feature_clusters)
    needs_feature = True
    least_overlap = 0.8

    def test_better_cut_off_segments_score_higher(self) -> None:
        image, feature, _ = scene()
        found = feature_clusters(image, feature)
        affinity = cut_affinity(feature)
        np.testing.assert_allclose(found.scores, -cut_cost(affinity, found.masks), rtol=1e-5)


class TestFeatureHierarchy(ProposerSuite):
    propose = staticmethod(feature_hierarchy)
    needs_feature = True
    least_overlap = 0.8


class TestFinerClusters(ProposerSuite):
    propose = staticmethod(finer(feature_clusters, side=64, radius=3))
    needs_feature = True

    def test_the_outline_of_the_photo_is_found(self) -> None:
        image, feature, objects = scene()
        coarse = feature_clusters(image, feature).masks.repeat(4, 1).repeat(4, 2)
        fine = finer(feature_clusters, side=64, radius=3)(image, feature).masks
        assert fine.shape[1:] == (48, 64)
        assert overlaps(objects[:1], fine).max() > overlaps(objects[:1], coarse).max()


def test_the_cost_of_a_cut_by_hand() -> None:
    # Two pairs: 1 within a pair, 0.1 between; each place is wholly like itself.
    affinity = np.kron(np.array([[1, 0.1], [0.1, 1]]), np.ones((2, 2))).astype(np.float32)
    segments = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]], bool)
    # A pair: four connections of 0.1 are cut, of 4.4 on either side. One place: 1.2 of 2.2 and of 6.6.
    np.testing.assert_allclose(cut_cost(affinity, segments), [0.8 / 4.4, 1.2 / 2.2 + 1.2 / 6.6, 2, 2], rtol=1e-5)


def test_partitions_hold_every_cluster_of_the_features() -> None:
    labels = np.zeros((12, 12), int)
    labels[:6, 6:], labels[6:, :6], labels[6:, 6:] = 1, 2, 3
    feature = np.eye(4, dtype=np.float32)[:, labels]
    found = partitions(cut_affinity(feature), 12, 12)
    clusters = np.stack([labels == part for part in range(4)])
    np.testing.assert_allclose(overlaps(clusters, found).max(axis=1), 1)
    assert found.any(axis=(1, 2)).all()


def test_k_means_finds_far_groups_and_survives_equal_points() -> None:
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [9, 0], [0, 9]], np.float32)
    points = (centres.repeat(20, axis=0) + random.normal(0, 0.3, (60, 2))).astype(np.float32)
    labels = k_means(points, 3)
    assert [len(set(labels[start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    assert len(set(labels)) == 3
    assert (k_means(np.ones((5, 2), np.float32), 3) == 0).all()
