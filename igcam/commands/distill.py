"""`distill`: trains a segmenter, which needs no tags, on the masks of a run, round by round."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import digest, read_tensors, write_json, write_tensors
from igcam.core.progress import Progress, no_progress
from igcam.core.validation import to_plain
from igcam.data.images import load_image
from igcam.methods.distill import DistillOptions, train_segmenter
from igcam.methods.features import SAMPLED_LOCATIONS, views_of
from igcam.methods.network import open_backbone
from igcam.methods.tag_prior import open_image_prior
from igcam.methods.training.devices import open_accelerator
from igcam.methods.training.loading import Examples
from igcam.methods.training.loop import Training
from igcam.methods.training.mask_examples import AugmentedExamples, FrozenExamples, Masks
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.bank import FeatureBank
from igcam.models.decoders import choose_levels
from igcam.models.image_prior import ImagePrior, fit_tagger
from igcam.models.reduction import Reduction, fit_reduction, sample_locations
from igcam.models.segmenter import Encoder, Segmenter, SegmenterOptions
from igcam.models.views import View, mean_over_views, to_pixels
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import have_cues, read_dataset_file
from igcam.runs.distill_folder import DistillFolder
from igcam.runs.folder import RunFolder
from igcam.runs.segmenter_file import facts_of, write_segmenter
from igcam.supervision.pseudo_labels import restrict_to_tags

SAMPLED_IMAGES = 128
"""Images to which the principal components are fitted."""


def distill(
    run: str | Path | RunFolder,
    options: DistillOptions | None = None,
    *,
    out: str | Path | None = None,
    bank: str | Path | None = None,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Path:
    """Train a segmenter on the masks of a finished run.

    The same call again resumes after the last finished epoch. Processes of torchrun or `accelerate launch` share the
    work.

    Args:
        run: A finished run.
        options: Defaults to `DistillOptions()`.
        out: Folder for the segmenter; default: RUN/segmenter.
        bank: Folder of computed features, for the frozen regime; default: RUN/bank.
        workers: Threads, or beside a GPU processes, that load images, in each process; 0 is one a core, 8 at most.
        progress: Called by the main process with the task, the number done and the number to do.

    Returns:
        The folder with segmenter.json and segmenter.safetensors.

    >>> from igcam.methods.distill import DistillOptions
    >>> quick = DistillOptions(epochs=1, min_steps=1)
    >>> sorted(file.name for file in igcam.distill("runs/mine", quick, out="segmenter").glob("segmenter.*"))
    ['segmenter.json', 'segmenter.safetensors']

    Raises:
        IgcamError: The run is not finished or its masks are missing or damaged, the network has too few stages for the
            decoder, `out` holds something else, or a file cannot be read or written.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if not run.is_done("masks"):
        raise IgcamError(f"{run.path}: is not finished: it has no masks of all images; run igcam fit again")
    options = _resolved(options or DistillOptions(), run)
    work = _Distillation(run, options, Path(out) if out else run.file("segmenter"), workers, progress)
    if not work.state.is_done:
        work.open_network(Path(bank) if bank else run.file("bank"))
        for round_ in range(work.first_round, options.rounds):
            work.train_round(round_)
        work.finish()
    return work.state.path


class _Distillation:
    """A distillation, in one of its processes."""

    def __init__(self, run: RunFolder, options: DistillOptions, out: Path, workers: int, progress: Progress) -> None:
        self.run, self.options, self.workers = run, options, workers
        self.dataset = read_dataset_file(run.file("samples.json"))
        self.images = [sample.image for sample in self.dataset]
        self.masks = [run.file("masks", f"{name}.png") for name in self.dataset.names]
        self.accelerator = open_accelerator(options.compile)
        self.progress = progress if self.accelerator.is_main_process else no_progress
        self.state = DistillFolder(out)
        self.curve: list[dict[str, float]] = []
        asked = {"options": to_plain(options), "classes": list(run.classes), "images": len(self.images)}
        asked["masks"] = _digest(self.masks, run)
        if self.accelerator.is_main_process:
            self.state.begin(asked)
        self.accelerator.wait_for_everyone()
        self.first_round, seconds = self.state.reached()
        self.begun = time.perf_counter() - seconds

    def open_network(self, bank: Path) -> None:
        """Build the network, and compute the features of a frozen backbone."""
        options, accelerator = self.options, self.accelerator
        encoder, self.backbone_options = open_encoder(self.run, options.segmenter)
        encoder.to(accelerator.device).eval()
        if accelerator.is_main_process:
            reduce_levels(encoder, self.images, options.size, self.state.encoder, options.seed, self.progress)
        accelerator.wait_for_everyone()
        encoder.use_reduction(Reduction.from_tensors(read_tensors(self.state.encoder)))
        self.bank = FeatureBank(bank, encoder, views_of(options.size, self.run.options.flip))
        if options.regime == "frozen":
            mine = self.images[accelerator.process_index :: accelerator.num_processes]
            self.bank.fill(mine, progress=lambda done, total: self.progress("compute features", done, total))
            accelerator.wait_for_everyone()
        self.encoder = encoder

    def train_round(self, round_: int) -> None:
        """Train a new decoder from its last checkpoint; then predict by the teacher for the next round."""
        self.segmenter = self._new(round_)
        frozen = self.options.regime == "frozen"
        model = self.segmenter.decoder if frozen else self.segmenter
        training = Training.with_teacher(model, self._optimiser())
        training.curve += self.curve
        self.state.restore(round_, training)
        task = "train the segmenter" if self.options.rounds == 1 else f"train the segmenter, round {round_ + 1}"
        examples, save = self._examples(round_), lambda reached: self.state.save(round_, reached, self.seconds)
        train_segmenter(training, examples, self.options, self.accelerator, save, self.progress, task, self.workers)
        model.load_state_dict(training.best.state_dict())
        self.segmenter.eval()
        self.curve = training.curve
        if round_ + 1 < self.options.rounds:
            self._predict(round_)

    @property
    def seconds(self) -> float:
        """Training time so far, without what interruptions have lost."""
        return time.perf_counter() - self.begun

    def finish(self) -> None:
        """Write the segmenter."""
        if not self.accelerator.is_main_process:
            return
        self.segmenter.decoder.favour_classes(self.options.foreground_bias)
        weight = self.options.tag_prior or 0.0
        if weight > 0:
            self.segmenter.prior = self._prior(weight).to(self.accelerator.device)
        size, flip = self.options.size, self.run.options.flip
        facts = facts_of(self.segmenter, self.backbone_options, self.run.classes, size, flip)
        write_json(self.state.path / "training.json", {"seconds": self.seconds, "curve": self.curve})
        write_segmenter(self.state.path, self.segmenter, facts)
        self.state.clear_checkpoint()
        self.run.log(f"distill: done in {self.seconds:.1f} s, in {self.state.path}")

    @torch.inference_mode()
    def _prior(self, weight: float) -> ImagePrior:
        """Return the image prior of the run, or one with a new tagger where the backbone was fine-tuned."""
        if self.options.regime == "frozen":
            artefacts = RunArtefacts(self.run)
            if not artefacts.has("tagger/tagger"):
                pooled = np.asarray(artefacts.load_array("features/pooled"))
                return ImagePrior(fit_tagger(pooled, self.dataset.tag_matrix(), self.options.seed), weight)
            objects = self.run.options.object_prior_weight if artefacts.has("objects/tagger") else 0.0
            return open_image_prior(artefacts, len(self.run.classes), weight, objects)
        backbone, means = self.segmenter.encoder.backbone, []
        for done, image in enumerate(self.images, start=1):
            views = [view.apply(load_image(image)) for view in self.bank.views]
            levels = backbone(to_pixels(np.stack(views), self.accelerator.device))
            means.append(levels[-1].mean(dim=(0, 2, 3)).cpu().numpy())
            self.progress("fit the tagger", done, len(self.images))
        return ImagePrior(fit_tagger(np.stack(means), self.dataset.tag_matrix(), self.options.seed), weight)

    def _new(self, round_: int) -> Segmenter:
        """Return a segmenter with a new decoder, the same in every process."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed + round_)
            segmenter = Segmenter(copy.deepcopy(self.encoder), self.options.segmenter, len(self.run.classes))
        return segmenter.to(self.accelerator.device)

    def _optimiser(self) -> torch.optim.Optimizer:
        options, segmenter = self.options, self.segmenter
        groups: list[dict[str, Any]] = [{"params": list(segmenter.decoder.parameters()), "lr": options.learning_rate}]
        if options.regime == "finetune":
            groups[0]["params"] += segmenter.encoder.projections.parameters()
            rate = options.learning_rate * options.backbone_rate
            groups.append({"params": list(segmenter.encoder.backbone.parameters()), "lr": rate})
        return torch.optim.AdamW(groups, weight_decay=options.weight_decay)

    def _examples(self, round_: int) -> Examples:
        options = self.options
        teacher: list[Path | None] = [None] * len(self.images)
        if round_ > 0 and options.teacher_weight > 0:
            # Masks of images with cues agree with them; predictions of the teacher need not.
            annotated = zip(self.dataset.names, have_cues(self.run.file("samples.json")), strict=True)
            teacher = [None if cues else self.state.prediction(round_ - 1, name) for name, cues in annotated]
        masks = Masks(self.masks, len(self.run.classes), _confidence(self.run), teacher, options.teacher_weight)
        masks = replace(masks, weights=masks.balanced(options.class_balance))
        if options.regime == "frozen":
            return FrozenExamples(masks, self.images, self.bank, options.seed)
        return AugmentedExamples(masks, self.images, self.run.options.flip, options)

    def _predict(self, round_: int) -> None:
        """Write the teacher's predictions of all images, restricted to their tags, for the next round."""
        accelerator = self.accelerator
        tags = self.dataset.tag_matrix()
        mine = range(accelerator.process_index, len(self.images), accelerator.num_processes)
        for done, index in enumerate(mine, start=1):
            file = self.state.prediction(round_, self.dataset.names[index])
            if not file.exists():
                probability = restrict_to_tags(self._probability(index), tags[index])
                ids = np.flatnonzero(np.append(1, tags[index]))
                kept = {"ids": torch.from_numpy(ids), "probability": torch.from_numpy(probability[ids]).half()}
                write_tensors(file, kept)
            self.progress("predict", done, len(mine))
        accelerator.wait_for_everyone()

    @torch.inference_mode()
    def _probability(self, index: int) -> NDArray[np.float32]:
        logits = []
        for view in self.bank.views:
            if self.options.regime == "frozen":
                levels = self.bank.read(self.images[index], view)
                batch = [torch.from_numpy(level.astype(np.float32))[None] for level in levels]
                found = self.segmenter.decoder([level.to(self.accelerator.device) for level in batch])
            else:
                square = view.apply(load_image(self.images[index]))[None]
                found = self.segmenter(to_pixels(square, self.accelerator.device))
            logits.append(found)
        mean = mean_over_views(logits, [view.flip for view in self.bank.views])
        probability: NDArray[np.float32] = torch.softmax(mean, dim=1)[0].cpu().numpy()
        return probability


def _resolved(options: DistillOptions, run: RunFolder) -> DistillOptions:
    """Return the options with defaults that depend on the run."""
    weight = options.tag_prior
    if weight is None:
        weight = run.options.tag_prior_weight if options.regime == "frozen" else 0.0
    return replace(options, size=options.size or run.options.size, tag_prior=weight)


def _digest(masks: list[Path], run: RunFolder) -> str:
    """Return a digest of masks, tags and cues; all missing masks are listed."""
    missing = [f"{file}: does not exist" for file in masks if not file.is_file()]
    if missing:
        raise IgcamError.from_lines(f"{run.path}: {len(missing)} masks are missing:", missing)
    content = hashlib.sha256()
    for file in masks:
        content.update(file.read_bytes())
    content.update(digest(run.file("samples.json")).encode())
    return content.hexdigest()


def _confidence(run: RunFolder) -> NDArray[np.float16] | None:
    """Return the confidence of the last stage that has one, (N, h, w), mapped; None for a plain CAM."""
    stages = [stage.name for stage in run.options.stages if "confidence" in stage.leaves]
    return RunArtefacts(run).load_array(f"{stages[-1]}/confidence") if stages else None


def open_encoder(run: RunFolder, options: SegmenterOptions) -> tuple[Encoder, BackboneOptions]:
    """Build the backbone of a run at the levels of a decoder, none deeper than the last one of the run.

    Returns:
        The encoder, whose projections are still random, and the options that its backbone was built with.

    Raises:
        IgcamError: The network has too few stages for the decoder.
    """
    fitted = run.options
    with torch.random.fork_rng(devices=[]):
        plain = build_backbone(replace(fitted.backbone, weights=None, pretrained=False))
    strides = [int(stage["reduction"]) for stage in plain.network.feature_info]
    chosen = replace(fitted.backbone, levels=choose_levels(options.decoder, strides[: plain.levels[-1] + 1]))
    return Encoder(open_backbone(RunArtefacts(run), fitted, chosen), options.max_components), chosen


def reduce_levels(
    encoder: Encoder, images: Sequence[Path], size: int, file: Path, seed: int, progress: Progress
) -> None:
    """Fit the principal components of every level to a sample of images and write them, unless the file exists."""
    if file.exists():
        return
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(images), min(SAMPLED_IMAGES, len(images)), replace=False))
    samples: list[list[np.ndarray]] = [[] for _ in encoder.channels]
    for done, index in enumerate(chosen, start=1):
        with torch.inference_mode():
            square = View(size).apply(load_image(images[index]))[None]
            levels = encoder.backbone(to_pixels(square, encoder.mean.device))
        for sample, level in zip(samples, levels, strict=True):
            sample.append(sample_locations(level[0].cpu().numpy(), -(-SAMPLED_LOCATIONS // len(chosen)), random))
        progress("sample features", done, len(chosen))
    reduction = fit_reduction([np.concatenate(sample) for sample in samples], encoder.channels)
    write_tensors(file, reduction.tensors())
