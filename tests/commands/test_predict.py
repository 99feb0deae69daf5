from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_label import SIZES, agreement
from tiny_runs import contents

from igcam.commands.label import label
from igcam.commands.predict import PredictOptions, draw_tile, predict, predictions, without_tags
from igcam.commands.predicting.models import Prediction
from igcam.commands.predicting.tiles import TiledPhoto
from igcam.core.errors import IgcamError
from igcam.data.images import save_jpeg, save_png
from igcam.data.masks import read_mask_file
from igcam.data.sample import Dataset, Sample
from igcam.runs.folder import RunFolder
from igcam.runs.shards import Shard

PLAIN = PredictOptions(stages=())


class ByColour:
    """Tells red from the rest, place by place: covariant to translation."""

    classes = ("red",)

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, ...]]] = []

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        self.batches.append([image.shape for image in images])
        red = [image[..., 0].astype(np.float32) / 255 for image in images]
        return [Prediction(np.stack([1 - plane, plane]), None) for plane in red]


def through(predictor: ByColour, image: NDArray[np.uint8], options: PredictOptions) -> TiledPhoto:
    """Predict and blend one photo."""
    side = options.tile or options.drawing_tile
    photo = TiledPhoto(Sample("a", Path("a.png")), image, side, int(side * options.overlap))
    for tile, prediction in predictions([photo], without_tags(predictor), options):
        photo.add(tile, *draw_tile(tile, prediction, (), min_probability=0))
    return photo


@pytest.fixture(scope="module")
def smooth() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (12, 17, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (170, 120), interpolation=cv2.INTER_CUBIC))


def test_tiles_give_what_the_whole_photo_gives(smooth: NDArray[np.uint8]) -> None:
    whole = through(ByColour(), smooth, PredictOptions())
    assert len(list(whole.tiles())) == 1
    assert np.array_equal(whole.mask, (smooth[..., 0] > 127).astype(np.uint8))
    for options in (PredictOptions(tile=50), PredictOptions(tile=64, overlap=0.1), PredictOptions(tile=33, overlap=0)):
        tiled = through(ByColour(), smooth, options)
        assert len(list(tiled.tiles())) > 5
        assert np.array_equal(tiled.mask, whole.mask)
        assert np.abs(tiled.confidence.astype(int) - whole.confidence).max() <= 1


def test_a_large_photo_is_predicted_once_and_drawn_in_tiles(smooth: NDArray[np.uint8]) -> None:
    class Coarse(ByColour):
        def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
            fine = super().predict(images)
            return [Prediction(np.stack([cv2.resize(p, (17, 12)) for p in one.scores]), None) for one in fine]

    predictor = Coarse()
    whole = through(predictor, smooth, PredictOptions())
    tiled = through(predictor, smooth, PredictOptions(drawing_tile=64))
    assert predictor.batches == [[smooth.shape], [smooth.shape]]
    assert len(list(tiled.tiles())) == 12
    assert np.mean(tiled.mask != whole.mask) < 0.01


def test_batches_go_across_photos_and_end_with_large_ones() -> None:
    def photos(count: int, side: int) -> list[TiledPhoto]:
        image = np.broadcast_to(np.zeros(3, np.uint8), (side, side, 3))
        return [TiledPhoto(Sample(str(n), Path("a.png")), image, 1 << 14, 0) for n in range(count)]

    class Counts(ByColour):
        def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
            self.batches.append([image.shape for image in images])
            return [Prediction(np.ones((2, 1, 1), np.float32) / 2, None)] * len(images)

    small, large = Counts(), Counts()
    list(predictions(photos(5, 8), without_tags(small), PredictOptions(batch_size=2)))
    list(predictions(photos(5, 6000), without_tags(large), PredictOptions(batch_size=4)))
    assert [len(batch) for batch in small.batches] == [2, 2, 1]
    assert [len(batch) for batch in large.batches] == [2, 2, 1]


def test_it_draws_what_label_draws_without_tags(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    done = predict(tiny_data, tiny_run, tmp_path / "predicted")
    assert (done.model, done.problems) == ("head", ())
    assert done.files == tuple(tmp_path / "predicted" / f"{name}.png" for name in tiny_data.names)
    label(tiny_data, tiny_run, tmp_path / "labelled", use_tags=False, bank=tiny_run.file("bank"))
    assert agreement(tiny_data, tmp_path / "predicted", tmp_path / "labelled") >= 0.99


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photos of odd sizes in subfolders; some turned by EXIF, grey, with transparency, or of a pixel only."""
    folder, samples = tmp_path_factory.mktemp("mixed"), []
    random = np.random.default_rng(1)
    for index, (height, width) in enumerate([*SIZES, (1, 1), (1, 90), (150, 2)]):
        path = folder / f"sub-{index % 2}" / f"{index}.jpg"
        save_jpeg(path, random.integers(0, 256, (height, width, 3)).astype(np.uint8))
        samples.append(Sample(f"sub-{index % 2}/{index}", path))
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20), (200, 30, 30)).save(folder / "turned.jpg", exif=exif)
    Image.new("RGBA", (30, 50), (200, 30, 30, 90)).save(folder / "clear.png")
    save_png(folder / "grey.png", np.full((9, 8), 100, np.uint8))
    samples += [Sample(path.stem, path) for path in sorted(folder.glob("*.*"))]
    return Dataset((), tuple(samples))


def test_photos_of_any_kind_get_masks_of_their_size(tiny_run: RunFolder, mixed: Dataset, tmp_path: Path) -> None:
    options = PredictOptions(scales=(1.0, 1.5), flip=True, tile=80, batch_size=3)
    seen: list[str] = []
    counts: list[tuple[int, int]] = []
    done = predict(
        mixed,
        tiny_run.path,
        tmp_path / "masks",
        options,
        confidence=tmp_path / "confidence",
        drawn=lambda sample, image, mask: seen.append(f"{sample.name} {image.shape[:2] == mask.shape}"),
        progress=lambda task, count, total: counts.append((count, total)),
    )
    assert done.problems == ()
    sizes = {sample.name: size for sample, size in zip(mixed, [*SIZES, (1, 1), (1, 90), (150, 2)], strict=False)}
    sizes |= {"clear": (50, 30), "grey": (9, 8), "turned": (40, 20)}
    for sample, file in zip(mixed, done.files, strict=True):
        mask, sure = read_mask_file(file), read_mask_file(tmp_path / "confidence" / f"{sample.name}.png")
        assert mask.shape == sure.shape == sizes[sample.name]
        assert mask.max() <= len(tiny_run.classes)
        # The best of C + 1 classes has a share of 1 / (C + 1) at least.
        assert sure.min() >= 255 // (len(tiny_run.classes) + 1)
        with Image.open(file) as image:
            assert image.mode == "P"
    assert sorted(seen) == sorted(f"{name} True" for name in mixed.names)
    assert counts == [(count, len(mixed)) for count in (3, 6, 9, len(mixed))]


def test_bad_photos_are_listed_and_stop_no_other(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    bad = (Sample("broken", tmp_path / "in" / "broken.jpg"), Sample("lost", tmp_path / "in" / "lost.jpg"))
    samples = (bad[0], *tiny_data.samples[:3], bad[1])
    counts: list[int] = []
    done = predict(
        Dataset(tiny_data.classes, samples),
        tiny_run,
        tmp_path / "out",
        PLAIN,
        progress=lambda task, count, total: counts.append(count),
    )
    assert [file.stem for file in done.files] == list(tiny_data.names[:3])
    assert [Path(problem.split(": ")[0]).name for problem in done.problems] == ["broken.jpg", "lost.jpg"]
    assert counts == [4, 5]


def test_masks_that_are_there_are_left_as_they_are(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    few = replace(tiny_data, samples=tiny_data.samples[:5])
    predict(few, tiny_run, tmp_path / "whole", PLAIN)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / f"{few.names[1]}.png").write_bytes(b"mine")
    done = predict(few, tiny_run, tmp_path / "part", PLAIN)
    assert done.files[1].read_bytes() == b"mine"
    expected = contents(tmp_path / "whole", "*")
    assert contents(tmp_path / "part", "*") == {**expected, done.files[1].name: b"mine"}


def test_masks_of_other_shards_are_not_told_as_kept(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    done = [predict(tiny_data, tiny_run, tmp_path, PLAIN, shard=Shard(index, 2)) for index in (1, 2, 2)]
    assert [one.kept for one in done] == [0, 0, len(done[1].files)]


def test_shards_together_give_the_whole(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    predict(tiny_data, tiny_run, tmp_path / "whole", PLAIN)
    files = [
        predict(tiny_data, tiny_run, tmp_path / "parts", PLAIN, shard=Shard(index, 3)).files for index in (1, 2, 3, 2)
    ]
    assert files[1] == files[3]
    assert sum(map(len, files[:3])) == len(tiny_data)
    assert contents(tmp_path / "parts", "*") == contents(tmp_path / "whole", "*")


def test_results_among_the_photos_are_refused(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    photos = tiny_data.samples[0].image.parent
    with pytest.raises(IgcamError, match=r"masks: must not lie in .*photos, where photos are"):
        predict(tiny_data, tiny_run, photos / "masks")
    with pytest.raises(IgcamError, match="must not lie in"):
        predict(tiny_data, tiny_run, tmp_path, confidence=photos)
    assert not (photos / "masks").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "magic"}, "model must be one of head, segmenter, got 'magic'"),
        ({"scales": ()}, "scales must be one or more values"),
        ({"scales": (0.0,)}, "scales must be"),
        ({"tile": 5}, "tile must be 0 or 32 to 16384, got 5"),
        ({"overlap": 0.5}, "overlap must be 0 to 0.33, got 0.5"),
        ({"workers": -1}, "workers must be"),
    ],
)
def test_wrong_options_are_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(IgcamError) as caught:
        PredictOptions(**change)  # type: ignore[arg-type]
    assert message in str(caught.value)
