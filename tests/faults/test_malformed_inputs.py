"""Every malformed file of the corpus is read, or refused in one clear line; nothing is half written."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import malformed
import numpy as np
import pytest
from command import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_runs import tiny_options

from igcam.core.errors import IgcamError
from igcam.core.files import read_array, read_json, read_tensors
from igcam.data.check import check_folder
from igcam.data.cues import read_cues
from igcam.data.formats.coco import coco_cues, read_coco
from igcam.data.formats.folder import read_folder, read_truth
from igcam.data.formats.voc import read_voc
from igcam.data.images import image_size, inspect_image, load_image
from igcam.data.masks import MaskFile, class_lookup, read_mask_file
from igcam.data.sample import Dataset
from igcam.methods.classifier import Classifier
from igcam.metrics.results import read_results
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.reduction import Reduction
from igcam.models.segmentation_head import SegmentationHead
from igcam.models.weights import read_weights
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

Read = Callable[[], object]


def outcome(read: Read, path: Path) -> str:
    """Read, and return "reads" or the message, which must name the file and be short lines."""
    try:
        read()
    except IgcamError as error:
        lines = str(error).splitlines()
        assert path.name in lines[0] or any(path.name in line for line in lines[1:]), lines
        assert all(line.strip() and len(line) < 600 for line in lines), lines
        # One line, or a headline with one line a finding.
        assert all(line.startswith("  ") for line in lines[1:]), lines
        assert not lines[0].startswith(" ")
        return str(error)
    return "reads"


def cases(corpus: malformed.Corpus) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("content", corpus.values(), ids=corpus.keys())


@cases(malformed.photos())
def test_photos(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    seen = outcome(lambda: inspect_image(path), path)
    assert outcome(lambda: load_image(path), path) == seen
    outcome(lambda: image_size(path), path)
    if seen == "reads":
        facts = inspect_image(path)
        assert load_image(path).shape == (facts.height, facts.width, 3)


@cases(malformed.masks())
def test_masks(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(content)
    seen = outcome(lambda: read_mask_file(path), path)
    source = MaskFile(path, class_lookup(3))
    assert (outcome(source.read, path) == "reads") == (outcome(source.ids, path) == "reads")
    outcome(lambda: read_truth(tmp_path), path)
    if seen == "reads":
        assert read_mask_file(path).dtype == np.uint8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sound photos with tags and masks of the classes x and y."""
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(malformed.picture("JPEG"))
        (tmp_path / "masks" / f"{name}.png").write_bytes(malformed.mask((0, seed + 1, 255)))
    (tmp_path / "m.png").write_bytes(malformed.mask((0, 1)))
    (tmp_path / "tags.csv").write_text("image,tags\na.jpg,x\nb.jpg,y\n")
    return tmp_path


@cases(malformed.tables())
def test_tables(content: bytes, folder: Path) -> None:
    path = folder / "tags.csv"
    path.write_bytes(content)
    seen = outcome(lambda: read_folder(folder / "photos", path), path)
    findings = check_folder(folder / "photos", path)
    assert any(finding.level == "error" for finding in findings) == (seen != "reads")


@cases(malformed.cue_lines())
def test_cues(content: bytes, folder: Path) -> None:
    path = folder / "cues.jsonl"
    path.write_bytes(content)
    dataset = read_folder(folder / "photos", folder / "tags.csv")
    assert outcome(lambda: read_cues(path, dataset), path) != "reads"


@cases(malformed.json_files() | malformed.coco_files())
def test_coco(content: bytes, folder: Path) -> None:
    path = folder / "coco.json"
    path.write_bytes(content)

    def read() -> None:
        for sample in read_coco(folder / "photos", path):
            if sample.truth is not None:
                sample.truth.read()

    def cues(kind: str) -> None:
        for drawn in coco_cues(path, kind=kind).values():  # type: ignore[arg-type]
            for cue in drawn:
                cue.region(malformed.SIDE, 2 * malformed.SIDE)

    for read_one in (read, lambda: cues("box"), lambda: cues("mask")):
        try:
            outcome(read_one, path)
        except AssertionError:
            # A segmentation is told with the name of its image.
            with pytest.raises(IgcamError, match=r"^a: a COCO segmentation cannot be drawn"):
                read_one()


@cases(malformed.json_files())
def test_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    outcome(lambda: read_json(path), path)
    assert outcome(lambda: read_results(path), path) != "reads"
    assert outcome(lambda: read_dataset_file(path), path) != "reads"


@cases(malformed.arrays())
def test_arrays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    path.write_bytes(content)
    for mmap in (False, True):
        if outcome(lambda: read_array(path, mmap=mmap), path) == "reads":
            assert isinstance(read_array(path, mmap=mmap), np.ndarray)


WEIGHTS = malformed.checkpoints(malformed.safetensors.numpy.save({"a": np.ones((2, 3), np.float32)}))


@cases(WEIGHTS)
def test_weights(content: bytes, tmp_path: Path) -> None:
    artefacts, path = RunArtefacts(RunFolder(tmp_path)), tmp_path / "stages" / "a" / "net.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    outcome(lambda: read_tensors(path), path)
    outcome(lambda: read_weights(path), path)
    for kind in (Classifier, SegmentationHead, Reduction):
        assert outcome(lambda: artefacts.load("a/net", kind.from_tensors), path) != "reads"
    options = BackboneOptions("resnet10t", weights=path, pretrained=False)
    assert outcome(lambda: build_backbone(options), path) != "reads"


def in_groups(corpus: malformed.Corpus, suffix: str) -> Iterator[tuple[str, bytes]]:
    for number, content in enumerate(corpus.values()):
        yield f"{number:03d}{suffix}", content


def test_commands_on_photos(igcam: Command, folder: Path, tiny_run: RunFolder) -> None:
    for name, content in in_groups(malformed.photos(), ".jpg"):
        (folder / "photos" / name).write_bytes(content)
    broken = []
    for path in sorted((folder / "photos").iterdir()):
        try:
            load_image(path)
        except IgcamError:
            broken.append(path.name)
    assert len(broken) > 40
    status, output = igcam("check", folder / "photos", "--tags", folder / "tags.csv")
    assert status == 1
    assert all(f"{name}: " in output for name in broken)
    status, output = igcam("fit", folder / "photos", "--tags", folder / "tags.csv", "--out", folder / "run")
    assert status == 2
    assert not (folder / "run").exists()
    words = ["label", folder / "photos", "--run", tiny_run.path, "--out", folder / "out", "--bank", folder / "bank"]
    status, output = igcam(*words)
    assert status == 1
    assert f"{len(broken)} photos cannot be read:" in output
    written = {path.stem for path in (folder / "out").glob("*")}
    assert written == {path.stem for path in (folder / "photos").iterdir()} - {name[:3] for name in broken}
    for path in (folder / "out").glob("*"):
        read_mask_file(path)


def test_commands_on_masks(igcam: Command, folder: Path) -> None:
    shutil.rmtree(folder / "masks")
    (folder / "masks").mkdir()
    for name, content in in_groups(malformed.masks(), ".png"):
        (folder / "masks" / name).write_bytes(content)
        shutil.copy(folder / "photos" / "a.jpg", folder / "photos" / name.replace(".png", ".jpg"))
    masks = ["--images", folder / "photos", "--out", folder / "out"]
    status, output = igcam("export", folder / "masks", *masks, "--classes", "x,y,z", "--format", "coco")
    assert status == 2
    assert "masks cannot be exported:" in output.strip().splitlines()[0]
    assert not (folder / "out").exists()
    status, output = igcam("refine", folder / "masks", *masks, "--without", "sharpen")
    assert status == 2
    assert "files cannot be refined:" in output
    for path in (folder / "out").glob("*"):
        read_mask_file(path)
    (folder / "truth").mkdir()
    for path in (folder / "masks").iterdir():
        (folder / "truth" / path.name).write_bytes(malformed.mask((0, 1, 2)))
    status, output = igcam("evaluate", folder / "masks", "--truth", folder / "truth", "--classes", "x,y,z")
    assert status == 2
    assert "masks cannot be scored:" in output
    status, output = igcam("evaluate", folder / "truth", "--truth", folder / "masks", "--classes", "x,y,z")
    assert status == 2


@pytest.mark.parametrize("kind", ["tables", "cue_lines"])
def test_commands_on_tables_and_cues(igcam: Command, folder: Path, kind: str) -> None:
    for content in getattr(malformed, kind)().values():
        cues = folder / "cues.jsonl" if kind == "cue_lines" else None
        (cues or folder / "tags.csv").write_bytes(content)
        words = [folder / "photos", "--tags", folder / "tags.csv", *(["--cues", cues] if cues else [])]
        checked, output = igcam("check", *words)
        assert checked in (0, 1)
        assert len(output.splitlines()) >= 1 + checked
        if checked:
            status, output = igcam("fit", *words, "--out", folder / "run")
            assert (status, (folder / "run").exists()) == (2, False)
            assert output.strip()


def test_commands_on_maps(igcam: Command, folder: Path) -> None:
    for name, content in in_groups(malformed.arrays(), ".npy"):
        (folder / "maps" / name).parent.mkdir(exist_ok=True)
        (folder / "maps" / name).write_bytes(content)
        shutil.copy(folder / "photos" / "a.jpg", folder / "photos" / name.replace(".npy", ".jpg"))
    status, output = igcam(
        "refine", folder / "maps", "--images", folder / "photos", "--out", folder / "out", "--without", "sharpen"
    )
    assert status == 2
    assert "files cannot be refined:" in output
    assert not list(folder.rglob("*.part"))


RUN_JSON = ("run.json", "samples.json", "metrics.json", "environment.json", "images.json")
STAGE_FILES = ("guide/stage.json", "guide/metrics.json")
CHECKPOINTS = ("finetune/backbone", "features/reduction", "tagger/tagger", "reweight/head", "objects/tagger")
"""What `label` reads of a run."""


@pytest.fixture(scope="module")
def run_copy(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("spoilt") / "run"))


@pytest.mark.parametrize("name", [*RUN_JSON, *(f"stages/{file}" for file in STAGE_FILES)])
def test_commands_on_the_json_of_a_run(
    igcam: Command, run_copy: Path, scenes: Path, tiny_data: Dataset, tmp_path: Path, name: str
) -> None:
    path = run_copy / name
    sound = path.read_bytes()
    few = tmp_path / "photos"
    few.mkdir()
    shutil.copy(scenes / "photos" / "scene-00000.jpg", few)
    try:
        for number, content in enumerate(malformed.json_files().values()):
            path.write_bytes(content)
            commands: list[list[object]] = [["report", run_copy, "--output", tmp_path / f"{number}.html"]]
            if name in RUN_JSON[:2]:
                out = tmp_path / str(number)
                commands += [["label", few, "--run", run_copy, "--out", out]]
                commands += [["export", "--run", run_copy, "--out", tmp_path / f"{number}e", "--format", "yolo"]]
            for words in commands:
                status, output = igcam(*words)
                assert status in (0, 2)
                assert output.strip()
                assert status == 0 or path.name in output
            assert outcome(lambda: RunFolder.open(run_copy).facts("guide"), path)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_commands_on_the_checkpoints_of_a_run(
    igcam: Command, run_copy: Path, scenes: Path, tmp_path: Path, name: str
) -> None:
    path = run_copy / "stages" / f"{name}.safetensors"
    sound = path.read_bytes()
    few = tmp_path / "photos"
    few.mkdir()
    shutil.copy(scenes / "photos" / "scene-00000.jpg", few)
    try:
        for number, (wrong, content) in enumerate(malformed.checkpoints(sound).items()):
            path.write_bytes(content)
            status, output = igcam("label", few, "--run", run_copy, "--out", tmp_path / str(number))
            assert status == 2, wrong
            assert path.name in output, wrong
            assert len(output.strip().splitlines()) == 1, wrong
            assert not (tmp_path / str(number)).exists(), wrong
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("name", ["cam/maps", "guide/pseudo_labels", "guide/confidence"])
def test_the_report_on_the_arrays_of_a_run(igcam: Command, run_copy: Path, tmp_path: Path, name: str) -> None:
    path = run_copy / "stages" / f"{name}.npy"
    sound = path.read_bytes()
    try:
        for wrong, content in malformed.arrays().items():
            path.write_bytes(content)
            status, output = igcam("report", run_copy, "--output", tmp_path / "report.html")
            assert status == 2, wrong
            assert path.name in output, wrong
            assert not (tmp_path / "report.html").exists(), wrong
    finally:
        path.write_bytes(sound)


def test_a_voc_list_may_be_anything(tmp_path: Path) -> None:
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    path = lists / "train.txt"
    for content in (b"", b"\n\n", b"a\na\n", b"a\n", b"\xff\xfe\xfd", bytes(100), b"../../x\n", b"a" * 300):
        path.write_bytes(content)
        assert outcome(lambda: read_voc(tmp_path), path) != "reads"


KEYS = st.sampled_from(malformed.JSON_KEYS)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(malformed.JSON_KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, ANY_JSON, max_size=9) | ANY_JSON)
def test_any_json(folder: Path, content: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(content))
    dataset = read_folder(folder / "photos", folder / "tags.csv")
    run = RunFolder(folder)
    for read in (
        lambda: read_results(path),
        lambda: read_dataset_file(path),
        lambda: read_cues(path, dataset),
        lambda: run.options,
        lambda: run.classes,
        lambda: read_coco(folder / "photos", path),
        lambda: coco_cues(path),
    ):
        outcome(read, path)


def test_no_pickle_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for suffix, read in ((".npy", read_array), (".safetensors", read_tensors), (".json", read_json)):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(stream.getvalue())
        assert outcome(lambda: read(path), path) != "reads"


def test_the_corpus_has_two_hundred_files() -> None:
    assert malformed.corpus_size() >= 200
    assert json.loads(malformed.json_files()["an empty object"]) == {}
    assert tiny_options().size == 64
