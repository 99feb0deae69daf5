"""Influence of a linear head against retraining and against other libraries, and what it is good for.

Parts: exact (leaving out, turning tags), libraries (pyDVL, captum, dattri; those that are not installed are left
out with a message), growth (time and memory of many images), spatial (sums, hiding places), audit (planted wrong
tags). Without --part all of them run and the results file is written anew; with --part only its rows are replaced.

Run benchmarks/voc_animals.py first: the frozen features are those of its run. --peers adds folders of packages,
as of an environment made for one library, behind those of this one.
"""

# ruff: noqa: E402, threads are set before numpy is loaded
from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

# The same number of threads for all libraries.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import torch
from influence_audit import Scenes, audit_rows
from influence_exact import exact_rows
from influence_libraries import growth_rows, library_rows
from influence_spatial import spatial_rows
from numpy.typing import NDArray

from igcam.commands.label import Labeller
from igcam.core.errors import IgcamError
from igcam.methods.features import mean_level
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, read_results, write_results
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "influence.json"
PARTS = {
    "exact": ("loo/", "group10/", "group40/", "flip/"),
    "libraries": ("pydvl/", "captum-arnoldi/", "dattri-cg/", "ours/"),
    "growth": ("growth/",),
    "spatial": ("spatial/",),
    "audit-voc": ("audit/voc-animals/",),
    "audit-scenes": ("audit/scenes/",),
}
"""Part -> what its ids begin with."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/voc-animals/seed-0/cam"), help="run of voc_animals.py")
    parser.add_argument("--bank", type=Path, default=Path("runs/bank"), help="its feature bank")
    parser.add_argument("--out", type=Path, default=Path("runs/influence"), help="networks of the scenes, which go on")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; repeatable")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions where chance plays")
    parser.add_argument("--peers", type=Path, action="append", default=[], help="site-packages with peers; repeatable")
    parser.add_argument("--quick", action="store_true", help="a slice, to try the code; writes no results")
    arguments = parser.parse_args()
    sys.path += [str(folder) for folder in arguments.peers]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        run(arguments)
    except IgcamError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Run the parts, print their rows and write them."""
    rows: list[Row] = []
    quick, seeds = arguments.quick, 1 if arguments.quick else arguments.seeds

    def add(name: str, values: list[float], unit: str, note: str = "") -> None:
        row = Row.from_values(name, values, unit, note)
        rows.append(row)
        reach = "" if row.low is None else f"  [{row.low:.4f}, {row.high:.4f}]"
        print(f"{time.strftime('%H:%M:%S')} {name:44s} {row.value:10.4g} {unit}{reach}  {note}", flush=True)

    parts = arguments.part or list(PARTS)
    animals = Animals(arguments.run, arguments.bank) if {"exact", "spatial", "audit-voc"} & set(parts) else None
    if animals and "exact" in parts:
        exact_rows(animals.pooled, animals.tags, seeds, add, quick)
    if "libraries" in parts:
        library_rows(add, quick)
    if "growth" in parts:
        growth_rows(add, quick)
    if animals and "spatial" in parts:
        spatial_rows(animals.pooled, animals.tags, animals.maps, seeds, add, quick)
    if animals and "audit-voc" in parts:
        audit_rows("voc-animals", animals.tags, lambda tags, name: (animals.pooled, animals.maps), seeds, add)
    if "audit-scenes" in parts:
        scenes = Scenes(arguments.out, 60 if quick else 300)
        tags = scenes.dataset.tag_matrix().astype(np.float64)
        audit_rows("scenes", tags, scenes.features, seeds, add)
    if not quick:
        write(rows, parts, arguments)


def write(rows: list[Row], parts: list[str], arguments: argparse.Namespace) -> None:
    """Write the rows; with --part those of the other parts stay."""
    if arguments.part and RESULTS.exists():
        begins = tuple(begin for part in parts for begin in PARTS[part])
        rows = [row for row in read_results(RESULTS)[1] if not row.id.startswith(begins)] + rows
    ledger = Ledger(
        method="influence functions of a linear head",
        split="voc-animals train, built-in scenes or random features, see the ids",
        split_size=437,
        tags_at_inference=True,
        backbone="resnet50",
        regime="frozen",
    )
    write_results(RESULTS, ledger, rows)


class Animals:
    """The frozen features of voc-animals, train."""

    def __init__(self, run: Path, bank: Path) -> None:
        opened = RunFolder.open(run)
        self.dataset = read_dataset_file(opened.file("samples.json"))
        self.tags = self.dataset.tag_matrix().astype(np.float64)
        self.pooled = RunArtefacts(opened).load_array("features/pooled").astype(np.float64)
        self._bank = Labeller.open(opened, bank).bank
        self._maps: dict[int, NDArray[np.float16]] = {}

    def maps(self, index: int) -> NDArray[np.float32]:
        """Return the feature map of an image, float32 (D, h, w); all of them take 1 GB in memory."""
        if index not in self._maps:
            self._maps[index] = mean_level(self._bank, self.dataset.samples[index].image).astype(np.float16)
        return self._maps[index].astype(np.float32)


if __name__ == "__main__":
    main()
