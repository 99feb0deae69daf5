"""A data set as JSON, so that a run folder knows its images without the user's table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from igcam.core.errors import IgcamError
from igcam.core.files import digest, read_json
from igcam.data.masks import MaskFile
from igcam.data.sample import Dataset, Sample


def dataset_to_plain(dataset: Dataset) -> dict[str, Any]:
    """Return names, absolute paths, tags, truth files and the kinds of cues; truth of other kinds is left out."""
    samples = []
    for sample in dataset:
        truth = sample.truth if isinstance(sample.truth, MaskFile) else None
        samples.append(
            {
                "name": sample.name,
                "image": str(sample.image.absolute()),
                "tags": None if sample.tags is None else list(sample.tags),
                "truth": None if truth is None else str(truth.path.absolute()),
                "truth_lookup": None if truth is None or truth.lookup is None else list(truth.lookup),
                "cues": dict(Counter(cue.kind for cue in sample.cues)),
                "cues_digest": digest(repr(sample.cues).encode()) if sample.cues else None,
            }
        )
    return {"classes": list(dataset.classes), "samples": samples}


def read_dataset_file(path: Path) -> Dataset:
    """Read what `dataset_to_plain` gave, without cues; IgcamError if the file is missing or not of this form."""
    content = read_samples(path)
    try:
        samples = []
        for entry in content["samples"]:
            lookup, tags = (None if entry[key] is None else tuple(entry[key]) for key in ("truth_lookup", "tags"))
            truth = None if entry["truth"] is None else MaskFile(Path(entry["truth"]), lookup)
            samples.append(Sample(entry["name"], Path(entry["image"]), tags, (), truth))
        return Dataset(tuple(content["classes"]), tuple(samples))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IgcamError(f"{path}: is not a list of samples: {error!r}") from error


def read_samples(path: Path) -> dict[str, Any]:
    """Read what `dataset_to_plain` gave as it is; raises as `read_dataset_file` does."""
    content = read_json(path)
    rows = content.get("samples") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or "classes" not in content:
        raise IgcamError(f"{path}: is not a list of samples")
    return dict(content)


def have_cues(path: Path) -> list[bool]:
    """Return, for each image of the file, whether it had cues; raises as `read_dataset_file` does."""
    rows = read_samples(path)["samples"]
    if not all("cues" in row for row in rows):
        raise IgcamError(f"{path}: is not a list of samples: no cues")
    return [bool(row["cues"]) for row in rows]
