"""The part of throughput.py that watches memory: labelling and predicting many pictures with a tiny run."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

from igcam.commands.fit import fit
from igcam.commands.label import label
from igcam.commands.predict import PredictOptions, predict
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.memory import keep_memory
from igcam.data.formats.folder import read_photos
from igcam.data.images import save_jpeg
from igcam.data.synthetic.scenes import write_scenes
from igcam.metrics.results import Row

HERE = Path(__file__).parent


def memory_rows(pictures: int) -> list[Row]:
    """Compare the peak of memory after all pictures with that after a tenth of them; the data are small noise."""
    context = multiprocessing.get_context("spawn")
    worst, notes = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("label", "predict"):
            peaks = Path(folder) / f"{name}.json"
            # A process of its own, as a peak never falls.
            process = context.Process(target=note_peaks, args=(name, folder, pictures, str(peaks)))
            process.start()
            process.join()
            if process.exitcode:
                raise IgcamError(f"memory of {name}: ended with {process.exitcode}")
            early, late = read_json(peaks)
            worst = max(worst, late / early)
            notes.append(f"{name} {early:.0f} to {late:.0f} MB")
    note = f"peak after {pictures} pictures / after {pictures // 10}, the worse; {', '.join(notes)}"
    return [Row("memory/growth", worst, "x", n=1, note=note)]


def note_peaks(name: str, folder: str, count: int, file: str) -> None:
    """Label or predict noise with a tiny run, and write the peak of memory in MB after a tenth of it and at its end."""
    sys.path.insert(0, str(HERE.parent / "tests" / "suites"))
    from tiny_runs import COUNT, SCENES, tiny_dataset, tiny_options

    # As the command line does.
    keep_memory()
    root = Path(folder)
    scenes, photos = root / "scenes", root / "photos"
    if not photos.exists():
        write_scenes(scenes, COUNT, options=SCENES)
        random = np.random.default_rng(0)
        for index in range(count):
            save_jpeg(photos / f"{index:05d}.jpg", random.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    run = fit(tiny_dataset(scenes), root / "run", tiny_options())
    noise = read_photos(photos, None, run.classes)
    peaks: list[tuple[int, float]] = []

    def progress(task: str, done: int, total: int) -> None:
        peaks.append((done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))

    if name == "label":
        label(noise, run, root / "labelled", bank=root / "bank", progress=progress)
    else:
        predict(noise, run, root / "predicted", PredictOptions(model="head"), progress=progress)
    # Photos are counted in batches.
    write_json(file, [next(peak for done, peak in peaks if done >= count // 10), peaks[-1][1]])
