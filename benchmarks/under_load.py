"""What `GOMP_SPINCOUNT=3000` buys: passes of a ResNet-50 alone, and beside another process that does the same.

Waiting threads of OpenMP spin for milliseconds by default, on cores that the other process needs. The passive policy
is measured too. Each measurement runs in a process of its own, as torch reads the settings when it is loaded.
Results: benchmarks/results/under_load.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, write_results

RESULTS = Path(__file__).parent / "results" / "under_load.json"
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "short": {"GOMP_SPINCOUNT": "3000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PASSES = """
import sys, time, torch, timm
network = timm.create_model("resnet50", num_classes=0).eval()
image = torch.rand(1, 3, 384, 384)
with torch.inference_mode():
    network(image)
    start, count = time.perf_counter(), 0
    while count < int(sys.argv[1]):
        network(image)
        count += 1
    print(time.perf_counter() - start)
"""


def main() -> None:
    """Parse the command line, measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two passes, once; writes no results")
    given = parser.parse_args()
    passes, repeats = (2, 1) if given.quick else (given.passes, given.repeats)
    start, rows = time.perf_counter(), []
    for busy in (False, True):
        seconds: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
        for _ in range(repeats):
            for setting, found in seconds.items():
                found.append(timed(setting, passes, busy))
        name = "busy" if busy else "alone"
        rows += [Row.from_values(f"{name}/{setting}/seconds", found, "s") for setting, found in seconds.items()]
        for setting in ("short", "passive"):
            ratios = [usual / other for usual, other in zip(seconds["default"], seconds[setting], strict=True)]
            rows.append(Row.from_values(f"{name}/{setting}/speedup", ratios, "x", "time by default / this time"))
    for row in rows:
        print(f"{row.id:25s} {row.value:8.2f} {row.unit}")
    if not given.quick:
        ledger = Ledger(
            method=f"{passes} passes of a ResNet-50 at 384 px; busy: beside a process that does the same all the time",
            split="one random image",
            split_size=1,
            tags_at_inference=False,
            wall_seconds=round(time.perf_counter() - start, 1),
        )
        write_results(RESULTS, ledger, rows)


def timed(setting: str, passes: int, busy: bool) -> float:
    """Return the seconds of some passes in a fresh process; a busy neighbour has the same setting."""
    environment = {**os.environ, **SETTINGS[setting]}
    words = [sys.executable, "-c", PASSES]
    neighbour = subprocess.Popen([*words, "1000000"], env=environment) if busy else None
    try:
        if neighbour is not None:
            time.sleep(8)
        return float(subprocess.run([*words, str(passes)], env=environment, capture_output=True, check=True).stdout)
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()


if __name__ == "__main__":
    main()
