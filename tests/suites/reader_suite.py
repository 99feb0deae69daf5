"""Checks that every reader's data set passes: subclass ReaderSuite and give it a fixture `dataset`."""

from __future__ import annotations

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.data.images import image_size, load_image
from igcam.data.masks import IGNORE, present_ids, tags_in_mask
from igcam.data.sample import BACKGROUND, Dataset


class ReaderSuite:
    """What holds for every reader; the class under test provides `dataset`."""

    @pytest.fixture
    def dataset(self) -> Dataset:
        raise NotImplementedError("a subclass of ReaderSuite has a fixture 'dataset'")

    def test_there_is_something_to_read(self, dataset):
        assert len(dataset) > 0
        assert len(dataset) == len(list(dataset)) == len(dataset.names)

    def test_classes_are_unique_and_without_background(self, dataset):
        assert len(set(dataset.classes)) == len(dataset.classes)
        assert BACKGROUND not in dataset.classes

    def test_names_are_unique_paths_without_suffix(self, dataset):
        assert len(set(dataset.names)) == len(dataset)
        for sample in dataset:
            assert "\\" not in sample.name
            assert not sample.name.startswith(("/", "./"))
            assert sample.image.with_suffix("").as_posix().endswith(sample.name)

    def test_tags_are_sorted_and_in_range(self, dataset):
        for sample in dataset:
            if sample.tags is not None:
                assert list(sample.tags) == sorted(set(sample.tags))
                assert all(0 <= tag < len(dataset.classes) for tag in sample.tags)

    def test_images_load_upright_as_rgb(self, dataset):
        for sample in dataset:
            image = load_image(sample.image)
            assert image.dtype == np.uint8
            assert image.shape == (*image_size(sample.image), 3)

    def test_truth_is_a_mask_of_the_image(self, dataset):
        for sample in dataset:
            if sample.truth is None:
                continue
            mask = sample.truth.read()
            assert mask.dtype == np.uint8
            assert mask.shape == image_size(sample.image)
            assert set(present_ids(mask)) <= {*range(len(dataset.classes) + 1), IGNORE}
            if sample.tags is not None:
                assert set(tags_in_mask(mask)) <= set(sample.tags)

    def test_reading_a_truth_twice_gives_the_same(self, dataset):
        for sample in dataset:
            if sample.truth is not None:
                np.testing.assert_array_equal(sample.truth.read(), sample.truth.read())

    def test_tag_matrix_matches_tags(self, dataset):
        tagged = dataset.tagged()
        matrix = tagged.tag_matrix()
        assert matrix.dtype == np.float32
        assert matrix.shape == (len(tagged), len(dataset.classes))
        for row, sample in zip(matrix, tagged, strict=True):
            assert tuple(np.flatnonzero(row)) == sample.tags

    def test_subset_keeps_the_order_given(self, dataset):
        names = dataset.names[::-1][:3]
        assert dataset.subset(names).names == names
        with pytest.raises(IgcamError, match="no such image"):
            dataset.subset(["no such image"])
