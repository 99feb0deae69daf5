"""The next cues of a run: uncertain images of rare classes that resemble many others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_array, write_csv
from igcam.data.sample import Dataset
from igcam.label_quality.next_cue import RESOLVED, Proposal, map_uncertainty, next_cues, rarity
from igcam.metrics.ledger import ANNOTATION_SECONDS
from igcam.models.linear_head import power_normalised
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file, read_samples
from igcam.runs.folder import RunFolder


def propose_cues(
    run: str | Path | RunFolder,
    budget: float,
    *,
    kinds: Sequence[str] = tuple(RESOLVED),
    costs: Mapping[str, float] | None = None,
) -> list[Proposal]:
    """Propose which images of a run to annotate next, and with which kind of cue.

    Args:
        run: A finished run; images with cues are not proposed, and images similar to them gain less.
        budget: Seconds; the tags are known and cost nothing.
        kinds: Kinds that may be proposed.
        costs: Seconds per image, tags included, in place of those of `ANNOTATION_SECONDS`.

    Raises:
        IgcamError: The run has no maps, or a kind or a number is wrong.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    prices = cue_prices(kinds, costs or {})
    pooled = read_array(run.file("stages", "features", "pooled.npy"))
    need = _uncertainty(run) * rarity(read_dataset_file(run.file("samples.json")).tag_matrix())
    return next_cues(need, power_normalised(pooled).features, budget, prices, _annotated(run))


def cue_prices(kinds: Sequence[str], costs: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds per image of each kind of cue beyond the tags; IgcamError lists all wrong kinds and costs."""
    table = {**ANNOTATION_SECONDS, **costs}
    known = ", ".join(RESOLVED)
    problems = [f"kind must be one of {known}, got {kind}" for kind in kinds if kind not in RESOLVED]
    problems += [f"cost must be of tags, {known}, got {kind}" for kind in costs if kind not in ANNOTATION_SECONDS]
    problems += [
        f"cost of {kind} must be above that of the tags, {table['tags']:g} s, got {table[kind]:g}"
        for kind in dict.fromkeys(kinds)
        if kind in RESOLVED and not table[kind] > table["tags"]
    ]
    if not kinds:
        problems.append(f"kind: at least one is needed, of {known}")
    if problems:
        raise IgcamError.from_lines("audit: cannot plan cues:", problems) if problems[1:] else IgcamError(problems[0])
    return {kind: table[kind] - table["tags"] for kind in kinds}


def write_proposals(path: str | Path, dataset: Dataset, proposals: Sequence[Proposal]) -> None:
    """Write the proposals as CSV: rank, image, kind, seconds, gain."""
    rows = (
        [rank, dataset.samples[item.image].name, item.kind, f"{item.seconds:g}", f"{item.gain:.6g}"]
        for rank, item in enumerate(proposals, 1)
    )
    write_csv(path, ["rank", "image", "kind", "seconds", "gain"], rows)


def _uncertainty(run: RunFolder) -> NDArray[np.float64]:
    artefacts = RunArtefacts(run)
    for stage in reversed(run.options.stages):
        if stage.scores and artefacts.has(f"{stage.name}/{stage.scores}"):
            return map_uncertainty(artefacts.load_array(f"{stage.name}/{stage.scores}"))
    raise IgcamError(f"{run.path}: has no maps of any stage yet; run igcam fit again")


def _annotated(run: RunFolder) -> dict[int, float]:
    """Return the fraction of the uncertainty of each annotated image that its cues have resolved."""
    cues = (sample.get("cues") for sample in read_samples(run.file("samples.json"))["samples"])
    return {index: max(RESOLVED.get(kind, 0.0) for kind in kinds) for index, kinds in enumerate(cues) if kinds}
