from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.commands.label import LABEL, label
from igcam.core.errors import IgcamError
from igcam.data.images import save_jpeg, save_png
from igcam.data.masks import read_mask_file, tags_in_mask
from igcam.data.sample import Dataset, Sample
from igcam.methods.background import BackgroundOptions
from igcam.runs.folder import RunFolder
from igcam.runs.shards import Shard

SIZES = [(37, 91), (64, 64), (101, 40), (16, 16), (200, 33)]


def agreement(data: Dataset, first: Path, second: Path) -> float:
    """Return the share of pixels with the same class in both folders."""
    masks = [[read_mask_file(folder / f"{name}.png").ravel() for folder in (first, second)] for name in data.names]
    one, other = (np.concatenate(part) for part in zip(*masks, strict=True))
    return float((one == other).mean())


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photos of odd sizes without tags, one of them grey."""
    folder, samples = tmp_path_factory.mktemp("odd"), []
    random = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        path = folder / (f"{index}.png" if index == 0 else f"{index}.jpg")
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        if index == 0:
            save_png(path, image[..., 0])
        else:
            save_jpeg(path, image)
        samples.append(Sample(f"odd/{index}", path))
    return Dataset((), tuple(samples))


@pytest.fixture(scope="module")
def with_tags(tiny_run: RunFolder, tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    done = label(tiny_data, tiny_run, out)
    assert done.files == tuple(out / f"{name}.png" for name in tiny_data.names)
    assert (done.model, done.problems) == ("head", ())
    return out


def test_labels_of_the_training_images_are_the_masks_of_the_run(
    tiny_run: RunFolder, tiny_data: Dataset, with_tags: Path
) -> None:
    # The run keeps its features and its maps in half precision, which decides a few pixels between two classes.
    assert agreement(tiny_data, with_tags, tiny_run.file("masks")) >= 0.995
    for sample in tiny_data:
        assert set(tags_in_mask(read_mask_file(with_tags / f"{sample.name}.png"))) <= set(sample.tags or ())


def test_without_tags_photos_of_any_size_get_a_mask(tiny_run: RunFolder, odd: Dataset, tmp_path: Path) -> None:
    files = label(odd, tiny_run.path, tmp_path / "masks").files
    for file, size in zip(files, SIZES, strict=True):
        mask = read_mask_file(file)
        assert mask.shape == size
        assert mask.max() <= len(tiny_run.classes)


def test_a_bank_that_is_not_named_takes_no_features_and_masks_are_the_same(
    tiny_run: RunFolder, odd: Dataset, tmp_path: Path
) -> None:
    before = contents(tiny_run.path, "bank/**/*")
    label(odd, tiny_run, tmp_path / "plain")
    assert contents(tiny_run.path, "bank/**/*") == before
    label(odd, tiny_run, tmp_path / "kept", bank=tmp_path / "bank")
    views = 1 + tiny_run.options.flip
    assert len(list((tmp_path / "bank").glob("**/*.safetensors"))) == views * len(odd)
    label(odd, tiny_run, tmp_path / "again", bank=tmp_path / "bank")
    assert contents(tmp_path / "plain", "**/*") == contents(tmp_path / "kept", "**/*")
    assert contents(tmp_path / "again", "**/*") == contents(tmp_path / "kept", "**/*")


def test_tags_can_be_left_unused(tiny_run: RunFolder, tiny_data: Dataset, with_tags: Path, tmp_path: Path) -> None:
    few = Dataset(tiny_data.classes, tiny_data.samples[:6])
    blind = Dataset(tiny_data.classes, tuple(replace(sample, tags=None) for sample in few))
    label(few, tiny_run, tmp_path / "unused", use_tags=False)
    label(blind, tiny_run, tmp_path / "unknown")
    assert contents(tmp_path / "unused", "*") == contents(tmp_path / "unknown", "*")
    assert agreement(few, tmp_path / "unused", with_tags) < 1


def test_masks_that_are_there_are_left_as_they_are(
    tiny_run: RunFolder, tiny_data: Dataset, with_tags: Path, tmp_path: Path
) -> None:
    few = Dataset(tiny_data.classes, tiny_data.samples[:3])
    (tmp_path / f"{few.names[1]}.png").write_bytes(b"mine")
    seen: list[tuple[int, int]] = []
    files = label(few, tiny_run, tmp_path, progress=lambda task, done, total: seen.append((done, total))).files
    assert files[1].read_bytes() == b"mine"
    assert seen == [(2, 2)]
    for file in (files[0], files[2]):
        assert file.read_bytes() == (with_tags / file.name).read_bytes()
    label(few, tiny_run, tmp_path, progress=lambda *_: pytest.fail("nothing was left to do"))


def test_drawing_stages_can_be_chosen(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    few = Dataset(tiny_data.classes, tiny_data.samples[:5])
    for stages, stage in (((), "reweight"), (("sharpen",), "sharpen"), (("sharpen", "crf"), "crf")):
        label(few, tiny_run, tmp_path / stage, replace(LABEL, stages=stages))
        assert agreement(few, tmp_path / stage, tiny_run.file("stages", stage, "masks")) >= 0.995


@pytest.mark.parametrize("method", ["cam", "igcam"])
def test_activation_maps_alone_label_too(
    method: str, tiny_data: Dataset, odd: Dataset, trained: Path, tiny_run: RunFolder, tmp_path: Path
) -> None:
    options = tiny_options(trained, method=method)
    options = options.leave_out([stage.name for stage in options.stages if stage.optional])
    rule = BackgroundOptions("constant", 0.6)
    options = replace(options, method=replace(options.chosen, background=rule))
    bank = tiny_run.file("bank")
    run = fit(tiny_data, tmp_path / "run", options, bank=bank)
    label(tiny_data, run, tmp_path / "masks", bank=bank)
    assert agreement(tiny_data, tmp_path / "masks", run.file("masks")) >= 0.995
    for file, size in zip(label(odd, run, tmp_path / "odd", bank=bank).files, SIZES, strict=True):
        assert read_mask_file(file).shape == size


def test_broken_photos_are_all_named_and_the_others_labelled(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    good = tiny_data.samples[0]
    samples = (
        Sample("broken", tmp_path / "in" / "broken.jpg"),
        good,
        Sample("lost", tmp_path / "in" / "lost.jpg"),
    )
    done = label(Dataset(tiny_data.classes, samples), tiny_run, tmp_path / "masks")
    assert [Path(line.split(": ")[0]).name for line in done.problems] == ["broken.jpg", "lost.jpg"]
    assert done.files == (tmp_path / "masks" / f"{good.name}.png",)
    assert [file.name for file in (tmp_path / "masks").iterdir()] == [f"{good.name}.png"]


def test_a_run_that_does_not_fit_is_refused(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    other = Dataset(tiny_data.classes[::-1], ())
    with pytest.raises(IgcamError, match=r"label: the classes must be those of the run, fox, .*, got pig, ") as caught:
        label(other, tiny_run, tmp_path)
    assert "\n" not in str(caught.value)
    begun = RunFolder.begin(tmp_path / "begun", tiny_options(), tiny_data)
    stages = "finetune, features, classify, cam, tagger, guide, reweight, objects"
    message = f"begun: is not finished: no {stages}; run igcam fit again"
    with pytest.raises(IgcamError, match=message):
        label(tiny_data, begun, tmp_path)
    with pytest.raises(IgcamError, match="is not a run folder"):
        label(tiny_data, tmp_path / "nowhere", tmp_path)
    with pytest.raises(IgcamError, match="label: model must be head, got segmenter"):
        label(tiny_data, tiny_run, tmp_path, replace(LABEL, model="segmenter"))


def test_masks_among_the_photos_are_refused(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    photos = tiny_data.samples[0].image.parent
    with pytest.raises(IgcamError, match=r"masks: must not lie in .*photos, where photos are"):
        label(tiny_data, tiny_run, photos / "masks")
    with pytest.raises(IgcamError, match="must not lie in"):
        label(tiny_data, tiny_run, tmp_path, confidence=photos)
    assert not (photos / "masks").exists()


def test_tiles_scales_and_shards_are_labelled_with_tags_only(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    few = replace(tiny_data, samples=tiny_data.samples[:6])
    options = replace(LABEL, scales=(1.0, 1.5), tile=40, stages=(), batch_size=3)
    seen: list[str] = []
    more: dict[str, Any] = {"confidence": tmp_path / "sure", "drawn": lambda sample, *_: seen.append(sample.name)}
    for index in (1, 2):
        label(few, tiny_run, tmp_path / "masks", options, bank=tmp_path / "bank", shard=Shard(index, 2), **more)
    assert sorted(seen) == sorted(few.names)
    assert set(contents(tmp_path / "sure", "*")) == set(contents(tmp_path / "masks", "*"))
    # Features of tiles are not those of the photos.
    assert not (tmp_path / "bank").exists()
    label(few, tiny_run, tmp_path / "whole", replace(options, tile=0))
    for sample in few:
        assert set(tags_in_mask(read_mask_file(tmp_path / "masks" / f"{sample.name}.png"))) <= set(sample.tags or ())
    assert 0.5 < agreement(few, tmp_path / "masks", tmp_path / "whole") < 1


def test_photos_that_fit_in_a_tile_are_labelled_as_without_tiles(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    few = replace(tiny_data, samples=tiny_data.samples[:3])
    label(few, tiny_run, tmp_path / "plain")
    label(few, tiny_run, tmp_path / "tiles", replace(LABEL, tile=64), bank=tmp_path / "bank")
    assert contents(tmp_path / "tiles", "*") == contents(tmp_path / "plain", "*")
    assert (tmp_path / "bank").exists()
