from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.core.errors import IgcamError
from igcam.core.files import read_array, read_json, read_tensors
from igcam.core.validation import with_setting
from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.masks import MaskFile, read_mask_file
from igcam.data.sample import Dataset
from igcam.data.synthetic.simulate import SimulateOptions, simulate_cues
from igcam.methods.classifier import Classifier
from igcam.metrics.results import read_results
from igcam.models.backbone import BackboneOptions
from igcam.models.segmentation_head import SegmentationHead
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder
from igcam.supervision.constraints import annotated_images

FEW = 6


@pytest.fixture(scope="module")
def few(tiny_data: Dataset) -> Dataset:
    """A few images that show every class."""
    first = {min(index for index, row in enumerate(tiny_data.tag_matrix()) if row[tag]) for tag in range(5)}
    chosen = sorted(first | set(range(FEW)))
    return Dataset(tiny_data.classes, tuple(tiny_data.samples[index] for index in chosen))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bank")


def test_the_few_images_show_every_class(few: Dataset) -> None:
    assert few.tag_matrix().sum(axis=0).min() > 0


def test_a_run_holds_arrays_heads_and_curves(tiny_run: RunFolder, tiny_data: Dataset) -> None:
    count = len(tiny_data)
    for stage in ("cam", "guide", "reweight"):
        maps = read_array(tiny_run.file("stages", stage, "maps.npy"))
        assert maps.shape == (count, 6, 8, 8)
        assert maps.dtype == np.float16
        assert not maps[:, 1:][tiny_data.tag_matrix() == 0].any()
    for stage in ("guide", "reweight"):
        assert read_array(tiny_run.file("stages", stage, "pseudo_labels.npy")).shape == (count, 6, 8, 8)
        confidence = read_array(tiny_run.file("stages", stage, "confidence.npy"))
        assert confidence.shape == (count, 8, 8)
        assert confidence.min() >= 0
        curve = tiny_run.facts(stage)["curve"]
        assert [point["epoch"] for point in curve] == list(range(1, len(curve) + 1))
        head = RunArtefacts(tiny_run).load(f"{stage}/head", SegmentationHead.from_tensors)
        assert not head.training
        assert head.leave.bias.shape == (6,)
    assert len(tiny_run.facts("finetune")["curve"]) == 1
    assert tiny_run.facts("classify")["penalty"] in tiny_run.options.chosen.classify.penalties
    assert RunArtefacts(tiny_run).load("classify/head", Classifier.from_tensors).head.weight.shape == (5, 512)
    assert read_array(tiny_run.file("stages", "features", "reduced.npy")).shape == (2, count, 16, 8, 8)


def test_time_is_counted_once(tiny_run: RunFolder) -> None:
    stages = tiny_run.options.mask_stages
    spent = {stage: read_results(tiny_run.file("stages", stage, "metrics.json"))[0].wall_seconds for stage in stages}
    steps = ("finetune", "features", "classify", "cam", "tagger", "guide", "reweight")
    before = sum(tiny_run.facts(name)["seconds"] for name in steps)
    assert spent["reweight"] == pytest.approx(before, abs=0.06)
    drawing = sum(tiny_run.facts(name)["seconds"] for name in ("sharpen", "crf"))
    objects = tiny_run.facts("objects")["seconds"]
    assert spent["crf"] == pytest.approx(before + objects + drawing, abs=0.06)
    assert drawing <= tiny_run.facts("masks")["seconds"] * 1.01


@pytest.mark.parametrize("chosen", list(itertools.product([False, True], repeat=3)))
def test_stages_can_be_switched_off(
    chosen: tuple[bool, ...], few: Dataset, trained: Path, bank: Path, tmp_path: Path
) -> None:
    switched = [name for name, on in zip(("guide", "reweight", "sharpen"), chosen, strict=True) if not on]
    options = tiny_options(trained).leave_out([*switched, "crf"])
    run = fit(few, tmp_path / "run", options, bank=bank)
    assert list(read_json(run.file("metrics.json"))["stages"]) == list(options.mask_stages)
    found = {file.parent.name for file in run.path.glob("stages/*/stage.json")}
    trained = {"objects"} if {"guide", "reweight"} & set(options.mask_stages) else set()
    assert found == {*options.mask_stages, *trained, "features", "classify", "tagger", "masks"}
    for sample in few:
        final, last = (
            (folder / f"{sample.name}.png").read_bytes()
            for folder in (run.file("masks"), run.file("stages", options.mask_stages[-1], "masks"))
        )
        assert final == last
    rule = read_results(run.file("stages", options.mask_stages[-1], "metrics.json"))[0].threshold_rule
    learnt = "guide" in options.mask_stages or "reweight" in options.mask_stages
    assert rule == ("background trained as a class" if learnt else "constant 0.15")


def test_whole_masks_guide_and_are_paid_for(few: Dataset, trained: Path, bank: Path, tmp_path: Path) -> None:
    names = few.names
    cues = {sample.name: [MaskCue(source=sample.truth)] for sample in few.samples[:4] if sample.truth is not None}
    cues[names[0]].append(BoxCue(label=few.samples[0].tags[0] + 1, left=0, top=0, right=9, bottom=9))
    run = fit(few.with_cues(cues), tmp_path / "run", tiny_options(trained), bank=bank)
    labels, confidence = (RunArtefacts(run).load_array(f"guide/{name}") for name in ("pseudo_labels", "confidence"))
    for index, sample in enumerate(few.samples[:4]):
        expected = annotated_images(few.with_cues(cues))[index].at(8, 8)
        np.testing.assert_allclose(labels[index], expected.probability, atol=1e-3)
        assert confidence[index].min() == confidence[index].max() >= 1
        final = read_mask_file(run.file("masks", f"{sample.name}.png"))
        np.testing.assert_array_equal(final, sample.truth.read())
    assert confidence[4:].min() < 1
    assert confidence[:4].sum(dtype=np.float32) / confidence.sum(dtype=np.float32) >= 0.69
    before, after = (read_results(run.file("stages", stage, "metrics.json"))[0] for stage in ("cam", "guide"))
    assert before.cues == {}
    assert before.annotation_seconds == 20 * FEW
    assert after.cues == {"mask": 4, "box": 1}
    assert after.annotation_seconds == pytest.approx(20 * FEW + 4 * 219.7 + 18.1)


@pytest.mark.parametrize("left_out", [(), ("guide",)], ids=["guided", "unguided"])
def test_noisy_tags_allow_classes_of_high_posterior(
    tiny_data: Dataset, trained: Path, bank: Path, tmp_path: Path, left_out: tuple[str, ...]
) -> None:
    options = with_setting(tiny_options(trained).leave_out([*left_out, "sharpen", "crf"]), "igcam.noisy_tags.weight=1")
    run = fit(tiny_data, tmp_path / "run", options, bank=bank)
    posterior = read_array(run.file("stages", "noisy_tags", "posterior.npy"))
    tags = tiny_data.tag_matrix()
    assert posterior.shape == tags.shape
    assert ((posterior > 0) & (posterior < 1)).any()
    # A network that has hardly been trained contradicts few tags.
    assert np.abs(posterior - tags).mean() < 0.3
    maps = read_array(run.file("stages", "reweight", "maps.npy"))[:, 1:].astype(np.float32).max(axis=(2, 3))
    allowed = (tags == 0) & (posterior > 0.1)
    assert allowed.any()
    assert maps[allowed].min() > 0
    activations = read_array(run.file("stages", "noisy_tags", "activations.npy"))[:, 1:]
    assert activations.any()
    assert not activations[posterior < 0.1].any()
    # Their heads were trained on the posterior, not on the given tags.
    given = read_array(run.file("stages", "cam", "maps.npy"))[:, 1:]
    assert (np.abs(activations - given)[posterior > 0.5] > 1e-3).any()
    finished = contents(run.path, "stages/*/*.npy", "masks/*")
    for stage in options.stages:
        if stage.name == "noisy_tags" or "confidence" in stage.leaves:
            run.done_file(stage.name).unlink()
    again = fit(tiny_data, run.path, options, bank=bank)
    assert contents(again.path, "stages/*/*.npy", "masks/*") == finished


def test_levels_may_differ_in_size(few: Dataset, trained: Path, tmp_path: Path) -> None:
    backbone = replace(tiny_options(trained).backbone, output_stride=32)
    for grouping, stages in ((-1, ["crf"]), (0, ["guide", "crf"]), (0, ["reweight", "crf"])):
        options = tiny_options(trained, backbone=backbone, size=96, grouping_level=grouping).leave_out(stages)
        run = fit(few, tmp_path / f"{grouping} {stages[0]}", options, bank=tmp_path / "bank")
        assert read_array(run.file("stages", "cam", "maps.npy")).shape[2:] == (3, 3)
        assert read_array(run.file("stages", options.mask_stages[1], "maps.npy")).shape[2:] == (6, 6)
        assert len(list(run.file("masks").iterdir())) == len(few)


def test_maps_that_are_too_small_to_be_cut_are_one_line(few: Dataset, trained: Path, tmp_path: Path) -> None:
    options = tiny_options(trained, size=32, backbone=replace(tiny_options(trained).backbone, output_stride=16))
    with pytest.raises(IgcamError, match="size: gives feature maps of 2 x 2 locations") as caught:
        fit(few, tmp_path / "run", options)
    assert "\n" not in str(caught.value)


def test_images_without_tags_and_without_truth_are_left_out(
    few: Dataset, trained: Path, bank: Path, tmp_path: Path
) -> None:
    samples = list(few.samples)
    extra = replace(samples[0], name="unknown", tags=None)
    samples[1] = replace(samples[1], truth=None)
    options = tiny_options(trained).leave_out(["guide", "reweight", "sharpen", "crf"])
    run = fit(Dataset(few.classes, (extra, *samples)), tmp_path / "run", options, bank=bank)
    assert not run.file("masks", "unknown.png").exists()
    assert len(list(run.file("masks").iterdir())) == FEW
    assert read_results(run.file("stages", "cam", "metrics.json"))[0].split_size == FEW - 1
    assert len(read_json(run.file("images.json"))["scores"]) == FEW - 1


def test_without_truth_there_are_masks_but_no_metrics(few: Dataset, trained: Path, bank: Path, tmp_path: Path) -> None:
    blind = Dataset(few.classes, tuple(replace(sample, truth=None) for sample in few))
    run = fit(blind, tmp_path / "run", tiny_options(trained), bank=bank)
    assert not list(run.path.rglob("metrics.json"))
    assert len(list(run.file("masks").iterdir())) == FEW


def test_truth_does_not_enter_the_masks(few: Dataset, trained: Path, bank: Path, tmp_path: Path) -> None:
    options = tiny_options(trained)
    seen = fit(few, tmp_path / "seen", options, bank=bank)
    blind = Dataset(few.classes, tuple(replace(sample, truth=None) for sample in few))
    unseen = fit(blind, tmp_path / "unseen", options, bank=bank)
    assert contents(seen.path, "masks/*") == contents(unseen.path, "masks/*")


def test_names_with_folders(few: Dataset, trained: Path, bank: Path, tmp_path: Path) -> None:
    samples = tuple(replace(sample, name=f"farm/{sample.name}") for sample in few)
    options = tiny_options(trained).leave_out(["guide", "reweight", "crf"])
    run = fit(Dataset(few.classes, samples), tmp_path / "run", options, bank=bank)
    assert read_mask_file(run.file("masks", "farm", f"{few.names[0]}.png")).shape == (64, 64)


def test_random_weights_of_a_frozen_network_are_the_same_each_time(few: Dataset, tmp_path: Path) -> None:
    options = replace(
        tiny_options().leave_out(["guide", "reweight", "sharpen", "crf"]),
        regime="frozen",
        backbone=BackboneOptions("resnet10t", output_stride=8, pretrained=False, levels=(-2, -1)),
    )
    torch.manual_seed(1)
    first = fit(few, tmp_path / "a", options)
    torch.manual_seed(2)
    again = fit(few, tmp_path / "b", options)
    assert contents(first.path, "stages/cam/*.npy") == contents(again.path, "stages/cam/*.npy")


def test_fit_leaves_the_global_random_state_alone(few: Dataset, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    fit(few, tmp_path / "run", tiny_options())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_seed_is_another_run(tiny_run: RunFolder, tiny_data: Dataset, trained: Path, tmp_path: Path) -> None:
    other = fit(tiny_data, tmp_path / "run", tiny_options(seed=1))
    mine, theirs = (read_tensors(run.file("stages/finetune/backbone.safetensors")) for run in (tiny_run, other))
    assert any(not torch.equal(mine[name], theirs[name]) for name in mine)
    with pytest.raises(IgcamError, match=r"holds another run(.|\n)*seed: 1 here, 0 asked"):
        fit(tiny_data, other.path, tiny_options())


def test_unusable_training_data_are_refused_at_once(tiny_data: Dataset, tmp_path: Path) -> None:
    first, *rest = tiny_data.samples
    cases = {
        "needs at least 2 tagged images, got 1": (first, *(replace(sample, tags=None) for sample in rest)),
        "no image is tagged with frog": tuple(
            replace(sample, tags=tuple(tag for tag in sample.tags or () if tag != 1)) for sample in tiny_data
        ),
    }
    for message, samples in cases.items():
        with pytest.raises(IgcamError, match=message) as caught:
            fit(Dataset(tiny_data.classes, samples), tmp_path / "run", tiny_options())
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_one_line_and_can_be_corrected(few: Dataset, trained: Path, tmp_path: Path) -> None:
    wrong = tiny_options(tmp_path / "nowhere.safetensors")
    with pytest.raises(IgcamError, match=r"nowhere\.safetensors: ") as caught:
        fit(few, tmp_path / "run", wrong)
    assert "\n" not in str(caught.value)
    right = tiny_options(trained).leave_out(["guide", "reweight", "sharpen", "crf"])
    assert fit(few, tmp_path / "run", right).options == right


def test_broken_photos_are_all_named(few: Dataset, trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    samples = list(few.samples)
    samples[1] = replace(samples[1], image=broken)
    samples[3] = replace(samples[3], image=tmp_path / "nowhere.jpg")
    with pytest.raises(IgcamError, match=r"nowhere\.jpg"):
        fit(Dataset(few.classes, tuple(samples)), tmp_path / "run", tiny_options(trained))


def test_masks_of_cues_may_be_files_with_ignored_pixels(
    few: Dataset, tmp_path: Path, trained: Path, bank: Path
) -> None:
    from igcam.data.masks import write_mask

    sample = few.samples[0]
    mask = sample.truth.read()
    mask[:32] = 255
    write_mask(tmp_path / "half.png", mask)
    data = few.with_cues({sample.name: [MaskCue(source=MaskFile(tmp_path / "half.png"))]})
    run = fit(data, tmp_path / "run", tiny_options(trained).leave_out(["reweight", "sharpen", "crf"]), bank=bank)
    confidence = read_array(run.file("stages", "guide", "confidence.npy"))[0]
    assert not confidence[:4].any()
    assert confidence[4:].min() == confidence[4:].max() >= 1


def test_every_kind_of_cue_guides_on_any_part_of_the_images(
    few: Dataset, trained: Path, bank: Path, tmp_path: Path
) -> None:
    kinds = ("point", "box", "scribble", "object-mask", "mask")
    cues: dict[str, tuple[Cue, ...]] = {}
    for position, kind in enumerate(kinds):
        part = few.subset(few.names[position :: len(kinds) + 1])
        cues |= simulate_cues(part, kind, options=SimulateOptions(box_jitter=0))
    data = few.with_cues(cues)
    run = fit(data, tmp_path / "run", tiny_options(trained), bank=bank)
    for sample in data:
        mask = read_mask_file(run.file("masks", f"{sample.name}.png"))
        assert set(np.unique(mask)) <= {0, *(tag + 1 for tag in sample.tags or ())}
        for cue in sample.cues:
            region = cue.region(*mask.shape)
            if cue.kind == "box":
                outside = ~np.any([box.region(*mask.shape) for box in sample.cues if box.label == cue.label], axis=0)
                assert not (mask[outside] == cue.label).any()
            elif cue.label is not None:
                assert (mask[region] == cue.label).all(), cue.kind
            else:
                assert (mask == sample.truth.read()).all()
    ledger = read_results(run.file("metrics.json").parent / "stages/crf/metrics.json")[0]
    assert set(ledger.cues) == {"point", "box", "scribble", "mask"}


def test_further_kinds_of_proposals_are_made_once_and_change_the_pseudo_labels(
    few: Dataset, trained: Path, bank: Path, tmp_path: Path
) -> None:
    usual = tiny_options(trained).leave_out(["reweight", "sharpen", "crf"])
    asked = with_setting(usual, 'igcam.guide.objectness.proposals=["colour-segments", "selective-search"]')
    # The tiny options score objects by their distance from the border alone.
    asked, usual = (
        with_setting(options, "igcam.guide.objectness.object_score.segment_weight=0.9") for options in (asked, usual)
    )
    run, other = fit(few, tmp_path / "asked", asked, bank=bank), fit(few, tmp_path / "usual", usual, bank=bank)
    kept = sorted(run.file("stages", "guide", "proposals").rglob("*.safetensors"))
    assert len(kept) == 2 * len(few)
    assert not other.file("stages", "guide", "proposals").exists()
    labels = [read_array(folder.file("stages", "guide", "pseudo_labels.npy")) for folder in (run, other)]
    assert np.abs(labels[0].astype(np.float32) - labels[1]).max() > 0.01
    with pytest.raises(IgcamError, match=r"proposals must be some of colour-segments, .*, got colours"):
        with_setting(usual, 'igcam.guide.objectness.proposals=["colours"]')
