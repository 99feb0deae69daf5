"""Stages of an earlier run, taken over by a new one where nothing that decides on them has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from igcam.core.version import __version__
from igcam.data.cue import MaskCue
from igcam.data.masks import MaskFile
from igcam.data.sample import Dataset
from igcam.core.errors import IgcamError
from igcam.core.files import copy_file
from igcam.runs.dataset_file import dataset_to_plain, read_samples
from igcam.runs.options import FitOptions, to_plain
from igcam.runs.folder import RunFolder

Decision = tuple[str, dict[str, Any]]
"""A stage, and what decides on it beside the stages before."""


def reuse_stages(run: RunFolder, earlier: RunFolder, dataset: Dataset, *, bank: bool) -> None:
    """Give a new run the stages of an earlier one that would come out the same, as hard links where the disk has them.

    The same photos and network have the same features, the same tags then have the same classifier, and so on up to
    the first stage that differs: new cues change the guide stage and what comes after it. A stage is only taken if
    no photo, weights or mask that it was made of is newer than it.

    Args:
        run: The new run.
        earlier: Need not be finished.
        dataset: The images of the new run.
        bank: Whether to take the features of all levels along, which the earlier run may have in its folder.

    Raises:
        IgcamError: The earlier run is this one, of another version or damaged; a file cannot be written.
    """
    if earlier.path.resolve() == run.path.resolve():
        raise IgcamError(f"--from {earlier.path}: is the run itself")
    version = earlier.version
    if version != __version__:
        raise IgcamError(f"--from {earlier.path}: is of version {version}, but this is {__version__}")
    samples = dataset_to_plain(dataset)
    asked = _decisions(run.options, samples)
    held = _decisions(earlier.options, read_samples(earlier.file("samples.json")))
    files = _files(run.options, dataset)
    reused: list[str] = []
    for decision, theirs in zip(asked, held, strict=False):
        stage = decision[0]
        hindrance = _hindrance(earlier, decision, theirs, files[stage])
        if hindrance:
            run.log(f"{stage}: not taken over from {earlier.path}: {hindrance}")
            break
        if not run.is_done(stage):
            _link(earlier.file("stages", stage), run.file("stages", stage))
            # Last: it says that the others are there.
            copy_file(earlier.done_file(stage), run.done_file(stage), link=True)
            run.log(f"{stage}: taken over from {earlier.path}")
        reused.append(stage)
    if "features" in reused:
        # These are named after the content that they were found in.
        _link(earlier.file("stages", "guide", "proposals"), run.file("stages", "guide", "proposals"), deep=True)
        if bank:
            _link(earlier.file("bank"), run.file("bank"), deep=True)


def _decisions(options: FitOptions, samples: Mapping[str, Any]) -> list[Decision]:
    """Return what decides on every stage that leaves arrays, in order; `samples` as in samples.json."""
    plain = to_plain(options)
    method = plain[options.method]
    images, tags, cues = ([row.get(key) for row in samples["samples"]] for key in ("image", "tags", "cues_digest"))
    network = {"images": images, **{name: plain[name] for name in ("regime", "backbone", "size", "seed")}}
    tagged = {"classes": samples["classes"], "tags": tags}
    decisions: list[Decision] = []
    if options.regime == "finetune":
        decisions.append(("finetune", {**network, **tagged, "finetune": plain["finetune"]}))
    decisions.append(("features", {**network, "flip": plain["flip"], "components": plain["components"]}))
    decisions.append(("classify", {**tagged, **{name: method[name] for name in ("classify", "background")}}))
    if options.method == "igcam" and options.igcam.noisy_tags.weight > 0:
        decisions.append(("doubt", {"options": method["doubt"], "cues": cues}))
    decisions.append(("tagger", tagged))
    for stage in options.learning_stages:
        decisions.append((stage, {"options": method[stage], "cues": cues, "level": plain["grouping_level"]}))
    if options.object_prior_weight > 0:
        decisions.append(("objects", {}))
    return decisions


def _files(options: FitOptions, dataset: Dataset) -> dict[str, list[Path]]:
    """Return the user's files that each stage is made of."""
    photos = [sample.image for sample in dataset]
    weights = [] if options.backbone.weights is None else [Path(options.backbone.weights)]
    masks = [
        cue.source.path
        for sample in dataset
        for cue in sample.cues
        if isinstance(cue, MaskCue) and isinstance(cue.source, MaskFile)
    ]
    made_of = {"finetune": photos + weights, "features": photos + weights, "classify": [], "doubt": [], "tagger": []}
    return made_of | dict.fromkeys((*options.learning_stages, "objects"), masks)


def _hindrance(earlier: RunFolder, asked: Decision, held: Decision, files: list[Path]) -> str:
    """Return why a stage cannot be taken; empty if it can."""
    if asked != held:
        differing = [name for name in asked[1] if asked[1][name] != held[1].get(name)] or ["stage"]
        return f"other {', '.join(differing)}"
    if not earlier.is_done(asked[0]):
        return "it is not done there"
    done = earlier.done_file(asked[0]).stat().st_mtime
    # Those that are not there are told elsewhere.
    newer = [file for file in files if file.exists() and file.stat().st_mtime > done]
    return f"{newer[0]} is newer" if newer else ""


def _link(folder: Path, target: Path, *, deep: bool = False) -> None:
    """Link the files of a folder but for those that are not whole or say that all is.

    Deep: those of the folders in it too, whose names tell their content, so that none that is there is linked again.
    """
    for file in sorted(folder.rglob("*") if deep else folder.glob("*")):
        goal = target / file.relative_to(folder)
        whole = file.is_file() and file.suffix != ".part" and file.name not in ("stage.json", "metrics.json")
        if whole and not (deep and goal.exists()):
            copy_file(file, goal, link=True)
