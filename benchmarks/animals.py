"""What the benchmarks on the animals of VOC 2012 share: photos, options, runs that go on, and their scores.

The photos are not part of this project: --data names a VOC root. Everything is chosen on train; val is scored once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from igcam.commands.evaluate import evaluate
from igcam.commands.fit import fit
from igcam.commands.label import LABEL, label
from igcam.core.errors import IgcamError
from igcam.core.memory import keep_memory
from igcam.data.formats.voc import read_voc
from igcam.data.sample import Dataset
from igcam.data.synthetic.simulate import simulate_cues
from igcam.methods.base import Refinement
from igcam.methods.options import FitOptions
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, read_results
from igcam.models.backbone import BackboneOptions
from igcam.runs.folder import RunFolder
from igcam.runs.ledger import run_ledger

SHARED = Path(__file__).parent.parent.parent / "shared"
Values = dict[str, list[float]]
"""Of every row, a value a seed."""
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all of them have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "voc-animals", help="VOC root")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "resnet50_imagenet_v1.safetensors")
    parser.add_argument("--out", type=Path, default=Path("runs/voc-animals"), help="run folders, which go on")
    parser.add_argument("--bank", type=Path, default=Path("runs/bank"), help="feature bank")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions")
    parser.add_argument("--quick", action="store_true", help="a seventh of the images, to try the code")
    return parser


def add_first_seed(parser: argparse.ArgumentParser) -> None:
    """Add the option to go on with further seeds, whose values join those of the results."""
    parser.add_argument("--first-seed", type=int, default=0, help="the results have the values of all seeds before it")


def seeds_of(given: argparse.Namespace, count: int | None = None) -> range:
    """Return the seeds to run; `count` of them, or as many as were asked for."""
    return range(given.first_seed, given.first_seed + (given.seeds if count is None else count))


def earlier(results: Path, first_seed: int, begins: Sequence[str], derived: str = "/of-full") -> Values:
    """Return the values of the seeds before the first one to run, of the rows whose ids begin so.

    Args:
        results: The results file.
        first_seed: The first one to run.
        begins: Each is the beginning of one row at least.
        derived: Ids that end so are made from the other rows, and are left out.

    Raises:
        IgcamError: A row has more or fewer of them, or there is none.
    """
    if not first_seed:
        return {}
    measured = [row for row in read_results(results)[1] if not row.id.endswith(derived)]
    rows = [row for row in measured if row.id.startswith(tuple(begins))]
    wrong = [f"{row.id}: has {len(row.by_seed)}" for row in rows if len(row.by_seed) != first_seed]
    wrong += [f"{begin}: has no row" for begin in begins if not any(row.id.startswith(begin) for row in rows)]
    if wrong:
        raise IgcamError.from_lines(f"{results}: --first-seed {first_seed} needs rows of as many seeds:", wrong)
    return {row.id: list(row.by_seed) for row in rows}


def call(run: Callable[[argparse.Namespace], None], given: argparse.Namespace) -> None:
    """Run a benchmark as the command line would; mistakes of the user are told in a line."""
    keep_memory()
    try:
        run(given)
    except IgcamError as error:
        sys.exit(str(error))


def print_rows(rows: Iterable[Row]) -> None:
    """Print a line for each row, with its interval where there is one."""
    for row in rows:
        interval = "" if row.low is None else f"  [{row.low:.1f}, {row.high:.1f}]"
        print(f"{row.id:50s} {row.value:8.2f} {row.unit}{interval}")


@dataclass(frozen=True)
class Animals:
    """The photos, and where runs on them lie."""

    arguments: argparse.Namespace

    @cached_property
    def train(self) -> Dataset:
        """The training photos with their truth."""
        return self._read("train", 7)

    @cached_property
    def val(self) -> Dataset:
        """The photos that only the final numbers are of."""
        return self._read("val", 8)

    def _read(self, split: str, every: int) -> Dataset:
        dataset = read_voc(self.arguments.data, split, CLASSES)
        return dataset.subset(dataset.names[::every]) if self.arguments.quick else dataset

    def folder(self, name: str) -> Path:
        """Return the folder of this name for runs, another one for those that only try the code."""
        return self.arguments.out / f"{'quick-' if self.arguments.quick else ''}{name}"

    def options(self, seed: int) -> FitOptions:
        """Return the defaults with the local weights."""
        return FitOptions(backbone=BackboneOptions(weights=self.arguments.weights, levels=(-2, -1)), seed=seed)

    def ledger(self, split: str, seconds: float, **facts: object) -> Ledger:
        """Return the ledger of a table over all seeds.

        Args:
            split: `train`, scored with its tags, or `val`, without.
            seconds: Wall time.
            facts: What else is special to the table.
        """
        known = run_ledger(
            self.options(0),
            self.train,
            split=f"voc-animals {split}",
            split_size=len(self.val if split == "val" else self.train),
            tags_at_inference=split != "val",
        )
        return replace(known, seed=None, wall_seconds=round(seconds, 1), **facts)  # type: ignore[arg-type]

    def learn(
        self,
        name: str,
        dataset: Dataset,
        options: FitOptions,
        split: str = "voc-animals train",
        after: Sequence[str] = ("igcam-tags", "cam"),
    ) -> RunFolder:
        """Fit, or resume, in the folder of this name and seed; the first run of `after` lends the stages they share."""
        seed = self.folder(f"seed-{options.seed}")
        others = [seed / other for other in after if other != name]
        earlier = next((other for other in others if RunFolder(other).is_done("classify")), None)
        bank = self.arguments.bank
        return fit(dataset, seed / name, options, bank=bank, earlier=earlier, split=split, progress=progress())

    def on_val(
        self, run: RunFolder, use_tags: bool = False, stages: Sequence[str] | None = None
    ) -> tuple[float, float]:
        """Label val with a run and return mIoU and Boundary IoU in percent."""
        name = "val-tags" if use_tags else "val"
        masks = run.file(name if stages is None else "-".join([name, "plain", *stages]))
        options = replace(LABEL, stages=None if stages is None else tuple(stages))
        label(self.val, run, masks, options, bank=self.arguments.bank, use_tags=use_tags, progress=progress())
        return scored(masks, self.val)

    def on_train(self, run: RunFolder) -> tuple[float, float]:
        """Label train by the head of a run and its tags, without any cue, and return the same."""
        masks = run.file("train-predicted")
        label(self.train, run, masks, bank=self.arguments.bank, progress=progress())
        return scored(masks, self.train)


def with_cues(dataset: Dataset, kind: str, share: float, seed: int) -> Dataset:
    """Return the data set with simulated cues of one kind on a random share of the images."""
    return dataset.with_cues(simulate_cues(dataset, kind, share=share, seed=seed))  # type: ignore[arg-type]


def without_masks(full: Dataset, given: Dataset) -> Dataset:
    """Return the images of `full` that have no mask among their cues in `given`."""
    masked = {sample.name for sample in given if any(cue.kind == "mask" for cue in sample.cues)}
    return full.subset([name for name in full.names if name not in masked])


def scored(masks: Path, dataset: Dataset) -> tuple[float, float]:
    """Return mIoU and Boundary IoU of a folder of masks in percent."""
    result = evaluate(masks, dataset)
    return 100 * result.scores.miou, 100 * result.boundary.miou


def maps_only(options: FitOptions) -> FitOptions:
    """Return the options without refinements of masks, which can be chosen again when val is labelled."""
    return options.leave_out([stage.name for stage in options.stages if isinstance(stage, Refinement)])


def progress() -> Callable[[str, int, int], None]:
    """Return a reporter that prints each task once."""
    seen: set[str] = set()

    def show(task: str, done: int, total: int) -> None:
        if task not in seen:
            seen.add(task)
            print(f"{time.strftime('%H:%M:%S')}   {task} ({total})", flush=True)

    return show
