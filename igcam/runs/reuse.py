"""Stages of an earlier run, reused by a new one where nothing that decides on them has changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from igcam.core.errors import IgcamError
from igcam.core.files import copy_file
from igcam.core.validation import to_plain
from igcam.core.version import __version__
from igcam.data.cue import MaskCue
from igcam.data.masks import MaskFile
from igcam.data.sample import Dataset
from igcam.methods.base import Refinement
from igcam.methods.options import FitOptions
from igcam.runs.dataset_file import dataset_to_plain, read_samples
from igcam.runs.folder import RunFolder

_NETWORK = {"finetune", "features"}
"""Stages on which all later ones depend."""


def reuse_stages(run: RunFolder, earlier: RunFolder, dataset: Dataset, *, bank: bool) -> None:
    """Give a new run the stages of an earlier one that would come out the same, as hard links where the disk has them.

    A stage is reused if its options and data are the same, all that it reads is reused, and no photo, weights or mask
    that it depends on is newer: new cues change neither features nor classifier.

    Args:
        run: The new run.
        earlier: Need not be finished.
        dataset: The images of the new run.
        bank: Whether to link the feature bank too, if the earlier run has one in its folder.

    Raises:
        IgcamError: The earlier run is this one, of another version or damaged; a file cannot be written.
    """
    if earlier.path.resolve() == run.path.resolve():
        raise IgcamError(f"--from {earlier.path}: is the run itself")
    version = earlier.version
    if version != __version__:
        raise IgcamError(f"--from {earlier.path}: is of version {version}, but this is {__version__}")
    asked = _decisions(run.options, dataset_to_plain(dataset))
    held = _decisions(earlier.options, read_samples(earlier.file("samples.json")))
    files = _files(run.options, dataset)
    reused: set[str] = set()
    network: set[str] = set()
    for stage in run.options.stages:
        if isinstance(stage, Refinement):
            continue
        changed = sorted(({artefact.partition("/")[0] for artefact in stage.reads} | network) - reused)
        network |= {stage.name} & _NETWORK
        made_of = [file for kind in stage.data for file in files[kind]]
        hindrance = f"other {', '.join(changed)}" if changed else ""
        hindrance = hindrance or _hindrance(earlier, stage.name, asked[stage.name], held.get(stage.name), made_of)
        if hindrance:
            run.log(f"{stage.name}: not reused from {earlier.path}: {hindrance}")
            continue
        if not run.is_done(stage.name):
            _link(earlier.file("stages", stage.name), run.file("stages", stage.name))
            copy_file(earlier.done_file(stage.name), run.done_file(stage.name), link=True)
            run.log(f"{stage.name}: reused from {earlier.path}")
        reused.add(stage.name)
    if "features" in reused:
        # Their files are named after their content.
        caches = [(stage.name, cache) for stage in run.options.stages for cache in stage.caches]
        for folder in (("stages", *cache) for cache in caches):
            _link(earlier.file(*folder), run.file(*folder), deep=True)
        if bank:
            _link(earlier.file("bank"), run.file("bank"), deep=True)


def _decisions(options: FitOptions, samples: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for each stage what decides on it: names of artefacts, data and options; `samples` as in samples.json."""
    images, tags, cues = ([row.get(key) for row in samples["samples"]] for key in ("image", "tags", "cues_digest"))
    labels = {"classes": samples["classes"], "tags": tags}
    facts = {"photos": {"images": images}, "tags": labels, "cues": {"cues": cues}}
    return {
        stage.name: {"inputs": list(stage.reads)}
        | {name: value for kind in stage.data for name, value in facts[kind].items()}
        | (given if isinstance(given := _plain(stage.options), dict) else {"options": given})
        for stage in options.stages
    }


def _plain(value: Any) -> Any:
    """Return options, or what holds some, as JSON knows them."""
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return json.loads(json.dumps(value, default=str))


def _files(options: FitOptions, dataset: Dataset) -> dict[str, list[Path]]:
    """Return the user's files that stages are made of, by what they depend on."""
    weights = [] if options.backbone.weights is None else [Path(options.backbone.weights)]
    masks = [
        cue.source.path
        for sample in dataset
        for cue in sample.cues
        if isinstance(cue, MaskCue) and isinstance(cue.source, MaskFile)
    ]
    return {"photos": [sample.image for sample in dataset] + weights, "tags": [], "cues": masks}


def _hindrance(
    earlier: RunFolder, stage: str, asked: dict[str, Any], held: dict[str, Any] | None, files: list[Path]
) -> str:
    """Return why a stage cannot be reused; empty if it can."""
    if asked != held:
        differing = [name for name in asked if held is None or asked[name] != held.get(name)] or ["stage"]
        return f"other {', '.join(differing)}" if held is not None else "it has no such stage"
    if not earlier.is_done(stage):
        return "it is not done there"
    done = earlier.done_file(stage).stat().st_mtime
    # Missing ones are reported elsewhere.
    newer = [file for file in files if file.exists() and file.stat().st_mtime > done]
    return f"{newer[0]} is newer" if newer else ""


def _link(folder: Path, target: Path, *, deep: bool = False) -> None:
    """Link the finished files of a folder but for stage.json and metrics.json.

    Deep: those of its subfolders too, which are named after their content; existing ones are kept.
    """
    for file in sorted(folder.rglob("*") if deep else folder.glob("*")):
        goal = target / file.relative_to(folder)
        whole = file.is_file() and file.suffix != ".part" and file.name not in ("stage.json", "metrics.json")
        if whole and not (deep and goal.exists()):
            copy_file(file, goal, link=True)
