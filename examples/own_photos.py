"""From photos and tags to masks in Python: check, learn, label, score, report.

python examples/own_photos.py FOLDER

Small built-in scenes and a tiny random network stand in for your photos and a real one, so that it ends in
seconds; the masks are accordingly poor.
"""

from __future__ import annotations

import sys
from pathlib import Path

import igcam
from igcam.core.validation import with_setting
from igcam.data import MaskCue, SceneOptions, check_folder, read_folder, write_scenes
from igcam.models.backbone import BackboneOptions


def main(folder: Path) -> None:
    """Run everything below a folder."""
    own = write_scenes(folder / "scenes", 12, options=SceneOptions(size=64, classes=("fox", "frog")))
    for finding in check_folder(own / "photos", own / "tags.csv"):
        print(finding)
    dataset = read_folder(own / "photos", own / "tags.csv", own / "masks")
    drawn = {sample.name: (MaskCue(source=sample.truth),) for sample in dataset.samples[:4] if sample.truth}

    # For real photos leave the options out, or change the few that matter.
    tiny = BackboneOptions("resnet10t", output_stride=8, pretrained=False, levels=(-2, -1))
    options = igcam.FitOptions(backbone=tiny, size=64, components=(32, 32))
    options = with_setting(options, "igcam.guide.learn.head.min_steps=30", "igcam.reweight.learn.head.min_steps=30")
    run = igcam.fit(dataset.with_cues(drawn), folder / "runs" / "mine", options)

    igcam.label(dataset, run, folder / "masks", use_tags=False)
    result = igcam.evaluate(folder / "masks", dataset)
    print(f"mIoU without tags: {100 * result.scores.miou:.1f}")
    print(f"report: {igcam.report(run.path)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
