"""Images a second beside the bare forward pass of the backbone, and activation maps beside grad-cam and torchcam.

Every ratio is measured in one process with the same threads; what is compared takes turns, and the best round of each
counts, so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tables import with_kept_rows
from throughput_memory import memory_rows
from torch import Tensor, nn

from igcam.cams.gradient import gradient_maps
from igcam.commands.label import LABEL, label
from igcam.commands.predict import PredictOptions, predict
from igcam.core.errors import IgcamError
from igcam.core.memory import keep_memory
from igcam.data.formats.voc import read_voc
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.features import views_of
from igcam.methods.network import open_backbone
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, write_results
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.localiser import Localiser
from igcam.models.views import View
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results" / "throughput.json"
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
BATCH = 8
PARTS = ("extract", "maps", "label", "memory")
MAX_DIFFERENCE = 1e-3
"""Maps of peers, scaled to 0..1, must be ours to this."""

Task = Callable[[], object]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "voc-animals", help="VOC root")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "resnet50_imagenet_v1.safetensors")
    parser.add_argument("--run", type=Path, default=Path("runs/voc-animals/seed-0/igcam-tags"), help="for label")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; default: all")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=5000, help="for memory")
    parser.add_argument("--rounds", type=int, default=3, help="turns of what is compared")
    parser.add_argument("--quick", action="store_true", help="8 images, one round; writes no results")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.images, arguments.rounds, arguments.pictures = BATCH, 1, 100
    # As the command line does; whatever is compared has the same.
    keep_memory()
    try:
        run(arguments)
    except IgcamError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, and write the rows beside those of other parts that were measured before."""
    start = time.perf_counter()
    data = read_voc(arguments.data, "train", CLASSES)
    data = data.subset(data.names[: arguments.images])
    measure = {"extract": extract_rows, "maps": maps_rows, "label": label_rows, "memory": growth_rows}
    rows = [row for part in arguments.part or PARTS for row in measure[part](data, arguments)]
    for row in rows:
        print(f"{row.id:28s} {row.value:8.3f} {row.unit:10s} {row.note}")
    if not arguments.quick:
        ledger = Ledger(
            method="throughput",
            split="voc-animals train, the first",
            split_size=len(data),
            tags_at_inference=True,
            backbone="resnet50",
            regime="frozen",
            resolution="384 x 384",
            wall_seconds=round(time.perf_counter() - start, 1),
        )
        write_results(RESULTS, ledger, with_kept_rows(RESULTS, rows))


def extract_rows(data: Dataset, arguments: argparse.Namespace) -> list[Row]:
    """Compare filling a new feature bank from files with the forward pass of images in memory."""
    backbone = build_backbone(BackboneOptions(weights=arguments.weights, levels=(-2, -1)))
    images = [sample.image for sample in data]
    bare = bare_forward(backbone, images, (View(384),))

    def extract() -> None:
        with tempfile.TemporaryDirectory() as folder:
            FeatureBank(folder, backbone, (View(384),)).fill(images, BATCH)

    seconds = best([bare, extract], arguments.rounds)
    return [
        Row(
            "extract/ratio",
            seconds[0] / seconds[1],
            "x",
            n=arguments.rounds,
            note=f"{len(images)} images, one view; bare {len(images) / seconds[0]:.2f} images/s; {threads()}",
        )
    ]


def maps_rows(data: Dataset, arguments: argparse.Namespace) -> list[Row]:
    """Compare the Grad-CAM maps of all tagged classes of each image."""
    torch.manual_seed(0)
    backbone = build_backbone(BackboneOptions(weights=arguments.weights))
    localiser = Localiser(backbone, len(data.classes))
    # Any head will do: what it knows changes no time. Not zero, so that maps can be compared.
    nn.init.normal_(localiser.head.weight, std=0.05)
    network = ImageLogits(localiser).eval()
    views = [View(384).apply(load_image(sample.image)) for sample in data]
    images = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float().div(255)
    pairs = [(index, tag) for index, sample in enumerate(data) for tag in sample.tags or ()]
    answers: dict[str, Tensor] = {}

    def answering(name: str, maps: Callable[[], Tensor]) -> Task:
        return lambda: answers.update({name: maps()})

    tasks = [answering("ours", lambda: our_maps(localiser, images, pairs))]
    peers = {"grad-cam": grad_cam_maps, "torchcam": torchcam_maps}
    tasks += [answering(name, lambda peer=peer: peer(network, images, pairs)) for name, peer in peers.items()]
    seconds = best(tasks, arguments.rounds)
    rows = []
    for name, theirs in zip(peers, seconds[1:], strict=True):
        difference = float((to_unit(answers["ours"]) - to_unit(answers[name])).abs().max())
        if difference > MAX_DIFFERENCE:
            raise IgcamError(f"{name}: its maps differ from ours by {difference:.1e}, so that times say nothing")
        note = f"{len(pairs)} classes of {len(images)} images; maps differ by {difference:.0e}; {threads()}"
        rows.append(Row(f"maps/{name}/speedup", theirs / seconds[0], "x", n=arguments.rounds, note=note))
    return rows


class ImageLogits(nn.Module):
    """Image logits, as the peers want them."""

    def __init__(self, localiser: Localiser) -> None:
        super().__init__()
        self.localiser = localiser

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C)."""
        return self.localiser.image_logits(images)

    @property
    def layer(self) -> nn.Module:
        """The last stage of the network."""
        last: nn.Module = self.localiser.backbone.network.layer4
        return last


def our_maps(localiser: Localiser, images: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return one map a pair: a pass of the trunk, then all classes at once."""
    maps = []
    for batch in images.split(BATCH):
        with torch.inference_mode():
            feature = localiser.backbone.trunk(batch)
        maps.append(gradient_maps(feature, lambda levels: localiser.pooling(localiser.logit_maps([levels]))))
    every = torch.cat(maps)
    return torch.stack([every[index, tag] for index, tag in pairs])


def grad_cam_maps(network: ImageLogits, images: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return one map a pair, as grad-cam's front page does it, in batches of pairs."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # Its maps come scaled to the size of the image; the scaling is left out of its time.
    class Unscaled(GradCAM):  # type: ignore[misc]
        def compute_cam_per_layer(self, tensor: Tensor, targets: Any, smooth: bool) -> list[np.ndarray]:
            grads, activations = (getattr(self.activations_and_grads, name)[0] for name in ("gradients", "activations"))
            cam = self.get_cam_image(tensor, self.target_layers[0], targets, activations.numpy(), grads.numpy(), smooth)
            return [np.maximum(cam, 0)]

        def aggregate_multi_layers(self, maps: list[np.ndarray]) -> np.ndarray:
            return maps[0]

    maps = []
    with Unscaled(model=network, target_layers=[network.layer]) as peer:
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            targets = [ClassifierOutputTarget(tag) for _, tag in part]
            maps.append(torch.from_numpy(peer(images[[index for index, _ in part]], targets)))
    return torch.cat(maps)


def torchcam_maps(network: ImageLogits, images: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return one map a pair by torchcam, in batches of pairs."""
    from torchcam.methods import GradCAM

    maps = []
    with GradCAM(network, network.layer) as peer:
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            scores = network(images[[index for index, _ in part]])
            maps.append(peer([tag for _, tag in part], scores)[0].detach())
    return torch.cat(maps)


def label_rows(data: Dataset, arguments: argparse.Namespace) -> list[Row]:
    """Compare labelling and predicting photos that no bank knows with the forward pass of the same views."""
    run = RunFolder.open(arguments.run)
    options = run.options
    views = views_of(options.size, options.flip)
    images = [sample.image for sample in data]
    bare = bare_forward(open_backbone(RunArtefacts(run), options), images, views)

    def labelled(stages: tuple[str, ...]) -> Task:
        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                options = replace(LABEL, stages=stages)
                label(data, run, Path(folder) / "masks", options, bank=Path(folder) / "bank")

        return work

    def predicted() -> None:
        with tempfile.TemporaryDirectory() as folder:
            predict(data, run, Path(folder), PredictOptions(model="head", stages=("sharpen",)))

    ways = {"label": labelled(("sharpen",)), "label-crf": labelled(("sharpen", "crf")), "predict": predicted}
    seconds = best([bare, *ways.values()], arguments.rounds)
    shown = f"{len(images)} images, {len(views)} views each; bare {len(images) / seconds[0]:.2f} images/s; {threads()}"
    steps = {"label": "with tags, sharpen", "label-crf": "with tags, sharpen, crf", "predict": "without tags, sharpen"}
    return [
        Row(f"{name}/ratio", seconds[0] / theirs, "x", n=arguments.rounds, note=f"{steps[name]}; {shown}")
        for name, theirs in zip(ways, seconds[1:], strict=True)
    ]


def growth_rows(data: Dataset, arguments: argparse.Namespace) -> list[Row]:
    """Watch the memory of labelling and predicting; the pictures are made for it."""
    return memory_rows(arguments.pictures)


def bare_forward(backbone: Backbone, images: Sequence[Path], views: Sequence[View]) -> Task:
    """Return what runs the backbone on views that are in memory already, in batches."""
    pixels = np.stack([view.apply(load_image(image)) for image in images for view in views])
    batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(BATCH)

    @torch.inference_mode()
    def work() -> None:
        for batch in batches:
            backbone(batch.float().div_(255))

    return work


def best(tasks: Sequence[Task], rounds: int) -> list[float]:
    """Return the least seconds of each task; they take turns, after a round that does not count."""
    seconds = [float("inf")] * len(tasks)
    for count in range(rounds + 1):
        for index, task in enumerate(tasks):
            start = time.perf_counter()
            task()
            if count or rounds == 1:
                seconds[index] = min(seconds[index], time.perf_counter() - start)
    return seconds


def to_unit(maps: Tensor) -> Tensor:
    """Scale each map (n, h, w) to 0..1."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low + 1e-12)


def threads() -> str:
    """Say how many threads torch has."""
    return f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
