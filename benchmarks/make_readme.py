"""Write benchmarks/README.md and the block of numbers in README.md from benchmarks/results/*.json.

python benchmarks/make_readme.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FRONT_PAGE = HERE.parent / "README.md"
BEGIN, END = "<!-- numbers:begin -->", "<!-- numbers:end -->"
Results = Mapping[str, Any]

ANIMALS = {
    "cam": "tags: plain CAM",
    "tags": "tags: IG-CAM",
    "points": "tags, a point on every object",
    "scribbles": "tags, a scribble on every object",
    "boxes": "tags, a box around every object",
    "masks5": "tags, masks of 5% of the images",
    "masks10": "tags, masks of 10% of the images",
    "masks25": "tags, masks of 25% of the images",
    "full": "masks of all images",
}
"""Mode in the ids of guidance.json -> what it has learnt from."""

SCENES = {
    "cam": "tags: plain CAM",
    "igcam/guide": "tags: IG-CAM, guide",
    "igcam/reweight": "+ reweight",
    "igcam": "+ sharpen",
    "igcam-crf": "+ CRF",
    "masks5": "tags, masks of 5% of the images",
    "full": "masks of all images, same head",
}
"""The same for demo.json."""

SPEED = {
    "dense CRF, 21 labels, beside pydensecrf2": ("refine", "crf/21-labels/speedup"),
    "dense CRF, labels that are present, beside pydensecrf2": ("refine", "crf/present/speedup"),
    "activation maps of all tags of a photo, beside grad-cam": ("throughput", "maps/grad-cam/speedup"),
    "the same, beside torchcam": ("throughput", "maps/torchcam/speedup"),
    "influence of 1500 on 300 images, beside pyDVL": ("influence", "pydvl/speedup"),
    "the same, beside dattri (conjugate gradients)": ("influence", "dattri-cg/speedup"),
    "the same, beside captum (Arnoldi, 50 directions: an approximation)": ("influence", "captum-arnoldi/speedup"),
    "features of photos from files, beside the bare forward pass": ("throughput", "extract/ratio"),
    "`igcam label` without CRF, beside the bare forward pass": ("throughput", "label/ratio"),
    "`igcam label` with CRF, beside the bare forward pass": ("throughput", "label-crf/ratio"),
    "`igcam predict`, beside the bare forward pass": ("throughput", "predict/ratio"),
}
"""What is compared -> results file and id."""


def benchmarks_page(results: Mapping[str, Results]) -> str:
    """Return benchmarks/README.md: a ledger and a table for each results file."""
    parts = [
        "# Results",
        "Written by `benchmarks/make_readme.py` from `benchmarks/results`; do not edit. What the ledger and the rows "
        "mean, and how to run the scripts: [docs/benchmarks.md](../docs/benchmarks.md). Numbers of two tables, or "
        "with other words in their ids, were bought with different things and do not compare.",
    ]
    for name, content in results.items():
        script = HERE / f"{name}.py"
        parts.append(f"## {name}\n\n" + (_first_line(script) if script.exists() else "From `igcam demo`."))
        parts.append("\n".join(f"- {words}" for words in ledger_words(content["ledger"])))
        cells = [
            (row["id"], _number(row), _interval(row), row["n"], row["unit"], row["note"]) for row in content["rows"]
        ]
        parts.append(_table(("id", "value", "95% interval", "n", "unit", "note"), cells))
    if not results:
        parts.append("There are no results yet.")
    return "\n\n".join(parts) + "\n"


def front_page(text: str, results: Mapping[str, Results]) -> str:
    """Return README.md with its block of numbers replaced.

    Raises:
        ValueError: The markers are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{FRONT_PAGE.name}: must have the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{numbers_block(results)}\n{END}{after}"


def numbers_block(results: Mapping[str, Results]) -> str:
    """Return the numbers of the front page."""
    parts = []
    if "guidance" in results:
        parts += _animals(results["guidance"])
    if "guidance_gpu" in results:
        parts += _finetuned(results["guidance_gpu"])
    if "demo" in results:
        parts += _scenes(results["demo"])
    if "throughput" in results:
        parts += _speed(results)
    return "\n\n".join(parts or ["No results have been written yet."])


def _animals(content: Results) -> list[str]:
    ledger = content["ledger"]
    table, repetitions = _guided(content, "")
    return [
        f"**Photos with animals from VOC 2012** (cat, cow, dog, horse, person, sheep; {ledger['split_size']} training "
        f"images; {ledger['backbone']}, {ledger['regime']}, {ledger['resolution']}), in percent. Train: the images "
        "that were learnt from, with their tags. Val: other images, without tags.",
        table,
        f"{repetitions} The train columns count images whose masks were given as cues too. This is a subset "
        "with seven classes: never compare it with published results on VOC.",
    ]


def _finetuned(content: Results) -> list[str]:
    ledger = content["ledger"]
    table, repetitions = _guided(content, "gpu/")
    return [
        f"**Fine-tuned on a GPU** (`igcam distill --regime finetune`: a DeepLabV3+ and ResNet-50 "
        f"learn the masks of these runs together, {ledger['resolution']}; {_device(ledger)}), the "
        f"same photos. {repetitions}",
        table,
    ]


def _device(ledger: Mapping[str, Any]) -> str:
    return str(ledger["method"].split(", on ")[-1].split(";")[0])


def _guided(content: Results, prefix: str) -> tuple[str, str]:
    """Return the table of what was learnt from, and how often each was repeated."""
    rows = {row["id"].removeprefix(prefix): row for row in content["rows"]}
    columns = [f"{split}/{metric}" for split in ("train/tags", "val/notags") for metric in ("miou", "boundary-iou")]
    head = ("learnt from", "train: mIoU", "Boundary IoU", "val: mIoU", "Boundary IoU")
    modes = [name for name in ANIMALS if f"{name}/{columns[0]}" in rows]
    cells = [(ANIMALS[name], *(_cell(rows.get(f"{name}/{column}")) for column in columns)) for name in modes]
    shown = [rows[key] for name in modes for column in columns if (key := f"{name}/{column}") in rows]
    return _table(head, cells), _repetitions(shown)


def _speed(results: Mapping[str, Results]) -> list[str]:
    values = {(name, row["id"]): row["value"] for name, content in results.items() for row in content["rows"]}
    cells = [(words, f"{values[key]:.3g} x") for words, key in SPEED.items() if key in values]
    return [
        "**Speed**: images or answers a second as a multiple of the peer's, same input, same machine, after the "
        "answers were compared; two cores, no GPU.",
        _table(("what", "speed"), cells),
    ]


def _scenes(content: Results) -> list[str]:
    rows, ledger = {row["id"]: row for row in content["rows"]}, content["ledger"]
    cells = [
        (words, *(_cell(rows.get(f"{name}/{metric}")) for metric in ("miou", "boundary-iou")))
        for name, words in SCENES.items()
    ]
    shown = [rows[key] for name in SCENES if (key := f"{name}/miou") in rows]
    time = f" It took {_duration(rows['seconds']['value'])} in all." if "seconds" in rows else ""
    return [
        f"**Built-in scenes** (`make demo`; {ledger['split_size']} pictures a seed, a small network that has seen "
        "nothing else), in percent, on the images that were learnt from, with their tags.",
        _table(("learnt from", "mIoU", "Boundary IoU"), cells),
        f"{_repetitions(shown)}{time}",
    ]


def ledger_words(ledger: Mapping[str, Any]) -> list[str]:
    """Return a ledger as lines of a question and its answer; what is empty is left out."""
    lines = []
    for name, value in ledger.items():
        if value is None or value in ("", [], {}):
            continue
        if name.endswith("_seconds"):
            lines.append(f"{name.removesuffix('_seconds')} time: {_duration(value)}")
        else:
            lines.append(f"{name.replace('_', ' ')}: {_plain(value)}")
    return lines


def read_all(folder: Path = RESULTS) -> dict[str, Results]:
    """Return the results files by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _number(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.1f}" if row["unit"] == "%" else f"{row['value']:.3g}"


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None:
        return "-"
    return f"{row['low']:.1f} to {row['high']:.1f}" if row["unit"] == "%" else f"{row['low']:.3g} to {row['high']:.3g}"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return _number(row) if row["low"] is None else f"{_number(row)} ({_interval(row)})"


def _repetitions(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({row["n"] for row in rows})
    if counts == [1]:
        return "One run each, so there are no intervals."
    return f"Means over {' to '.join(map(str, counts))} seeds, with their 95% intervals."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    numbers = {"value", "95% interval", "n", "speed", "training"} | {name for name in head if "IoU" in name}
    lines = [head, ["---:" if name in numbers else "---" for name in head], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _first_line(script: Path) -> str:
    return script.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    found = read_all()
    _write(HERE / "README.md", benchmarks_page(found))
    _write(FRONT_PAGE, front_page(FRONT_PAGE.read_text(encoding="utf-8"), found))
