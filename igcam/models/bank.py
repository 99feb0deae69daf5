"""The feature bank: features of a frozen backbone, computed once and kept on disk."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.files import CHECKSUM, digest, write_json, write_tensors
from igcam.core.parallel import default_workers, in_parallel, shared_cores
from igcam.data.images import load_image
from igcam.models.backbone import Backbone, images_a_pass, passes
from igcam.models.views import View, filled_up, pixels_of_views, to_pixels

if TYPE_CHECKING:
    from igcam.models.segmenter import Encoder

Task = tuple[Path, View]
"""A view of an image file."""
Progress = Callable[[int, int], None]
"""Called with the number of views done and the total."""

_FORMAT = "igcam features 1"
_HALF_MAX = float(np.finfo(np.float16).max)


class FeatureBank:
    """Features of images on disk in half precision, one file per image and view.

    A file is named after the content of the image and the view, in a folder named after the key of the backbone, so
    that whatever changes the features changes the file. Damaged files are computed again. Values beyond the range of
    half precision (65504) are clamped. Several processes may share a folder.

        FOLDER/<16 hex digits of the key>/key.json
        FOLDER/<16 hex digits of the key>/3f/3f...c1-384-flip.safetensors

    Args:
        folder: May hold the features of several backbones.
        backbone: Must not change its weights while the bank is open.
        views: What to keep of each image.
    """

    def __init__(self, folder: str | Path, backbone: Backbone | Encoder, views: Sequence[View] = (View(),)) -> None:
        self.backbone = backbone
        self.views = tuple(dict.fromkeys(views))
        self.key = json.dumps({"format": _FORMAT, "backbone": json.loads(backbone.key)}, sort_keys=True)
        self.folder = Path(folder) / digest(self.key.encode())[:16]
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._verified: set[Path] = set()

    def random_view(self, *seed: int) -> View:
        """Return the view that these numbers draw."""
        return self.views[np.random.default_rng(seed).integers(len(self.views))]

    def missing(self, paths: Sequence[str | Path]) -> list[Task]:
        """List the images and views without a complete file, in order; images of equal content count once.

        Only headers are read here; the content is verified when it is first read.

        Raises:
            IgcamError: Images that cannot be read, all named.
        """
        failures: dict[Path, IgcamError] = {}
        seen: set[Path] = set()
        tasks = []
        for path in dict.fromkeys(map(Path, paths)):
            try:
                files = [self._file(path, view) for view in self.views]
            except IgcamError as error:
                failures[path] = error
                continue
            for file, view in zip(files, self.views, strict=True):
                if file not in seen and layout(file) is None:
                    tasks.append((path, view))
                seen.add(file)
        _raise(failures)
        return tasks

    def fill(self, paths: Sequence[str | Path], batch_size: int = 8, progress: Progress | None = None) -> int:
        """Compute the missing features; return the number of views computed.

        Each thread takes a batch from image files to features on disk, on its share of the cores, and holds one batch
        in memory. Finished work survives an interruption.

        Args:
            paths: Image files.
            batch_size: Views per forward pass.
            progress: Called after each batch.

        Raises:
            IgcamError: Images that cannot be read, all named, after the others are done; NaN features; a full disk.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        failures: dict[Path, IgcamError] = {}
        tasks = self.missing(paths)
        done = computed = 0

        def work(batch: list[Task]) -> list[tuple[Task, IgcamError | None]]:
            images = decoded(batch)
            pixels = [(task, image) for task, image in images if not isinstance(image, IgcamError)]
            if pixels:
                # Always a whole batch, so that an interrupted fill ends with the same bits.
                whole = self._whole([image for _, image in pixels], batch_size, batch[0][1])
                maps = self._halved(to_pixels(np.stack(whole), device))
                self._write_all([task for task, _ in pixels], maps)
            return [(task, image if isinstance(image, IgcamError) else None) for task, image in images]

        device = self.backbone.mean.device
        # With a GPU one thread decodes and writes while the other uses the network.
        workers = default_workers() if device.type == "cpu" else 2
        with shared_cores(workers), self._evaluating():
            for outcome in in_parallel(work, batches(tasks, batch_size), workers):
                failures |= {task[0]: error for task, error in outcome if error is not None}
                computed += sum(error is None for _, error in outcome)
                done += len(outcome)
                if progress is not None:
                    progress(done, len(tasks))
        _raise(failures)
        return computed

    def read(self, path: str | Path, view: View | None = None) -> list[NDArray[np.float16]]:
        """Return the maps of one image, float16 (channels, h, w) per level, memory-mapped and read-only.

        Missing or damaged ones are computed first. The view is one of the bank's; None takes the first.

        Raises:
            IgcamError: The image cannot be read.
        """
        path, view = Path(path), view or self.views[0]
        maps = self._load(path, view)
        if maps is None:
            pixels = to_pixels(view.apply(load_image(path))[None], self.backbone.mean.device)
            with self._evaluating():
                self._write_all([(path, view)], self._halved(pixels))
            maps = self._load(path, view)
        if maps is None:
            raise IgcamError(f"{self._file(path, view)}: cannot be read back after writing")
        return maps

    def of_photos(
        self, photos: Mapping[Path, NDArray[np.uint8]], keep: bool, batch_size: int = 8
    ) -> dict[Path, list[list[Tensor]]]:
        """Return the maps of photos in memory, uint8 (H, W, 3) by image file, from the bank or computed.

        The maps are the same either way: for each file one list of levels per view, float16 (channels, h, w). Computed
        ones are written to the bank if `keep` is set.
        """
        found: dict[Path, list[list[Tensor]]] = {}
        for path in photos if keep or self.folder.exists() else ():
            held = [maps for view in self.views if (maps := self._load(path, view)) is not None]
            if len(held) == len(self.views):
                found[path] = [[torch.from_numpy(np.array(level)) for level in levels] for levels in held]
        missing = [path for path in photos if path not in found]
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            for path, views in zip(batch, self.of_batch([photos[path] for path in batch], batch_size), strict=True):
                found[path] = views
                for view, levels in zip(self.views, views, strict=True) if keep else ():
                    self._write((path, view), [level.contiguous() for level in levels])
        return found

    def of_batch(self, images: Sequence[NDArray[np.uint8]], batch_size: int = 8) -> list[list[list[Tensor]]]:
        """Compute the maps of up to `batch_size` images, uint8 (H, W, 3); one entry per image, as in `of_photos`."""
        whole = self._whole(list(images), batch_size, *self.views)
        with self._evaluating():
            pixels = pixels_of_views(whole, self.views, self.backbone.mean.device)
            views = [self._halved(view) for view in pixels]
        return [[[level[index] for level in levels] for levels in views] for index in range(len(images))]

    def _whole(self, images: list[NDArray[np.uint8]], batch_size: int, *views: View) -> list[NDArray[np.uint8]]:
        """Fill up to a whole batch, unless the network takes single images of these views."""
        alone = all(images_a_pass(view.size, view.size, self.backbone.mean.device) == 1 for view in views)
        return images if alone else filled_up(images, batch_size)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Put the backbone into evaluation mode, and restore its mode afterwards."""
        training = self.backbone.training
        self.backbone.eval()
        try:
            yield
        finally:
            self.backbone.train(training)

    @torch.inference_mode()
    def _halved(self, pixels: Tensor) -> list[Tensor]:
        # Pass by pass: allocating whole batches is slow.
        halves = [
            [level.clamp_(-_HALF_MAX, _HALF_MAX).half().cpu() for level in self.backbone(part)]
            for part in passes(pixels)
        ]
        return [torch.cat(level) for level in zip(*halves, strict=True)]

    def _write_all(self, tasks: Sequence[Task], levels: Sequence[Tensor]) -> None:
        for index, task in enumerate(tasks):
            self._write(task, [level[index].contiguous() for level in levels])

    def _write(self, task: Task, maps: list[Tensor]) -> None:
        path, view = task
        if any(has_nan(level) for level in maps):
            raise IgcamError(f"{path}: {self.backbone.name} gives features that are not numbers: check its weights")
        description = self.folder / "key.json"
        if not description.exists():
            write_json(description, json.loads(self.key))
        file = self._file(path, view)
        # Zero-padded, as names are stored in sorted order.
        write_tensors(file, {f"level{index:03d}": level for index, level in enumerate(maps)})
        self._verified.add(file)

    def _load(self, path: Path, view: View) -> list[NDArray[np.float16]] | None:
        """Map the levels of a file; None if it is missing or damaged."""
        file = self._file(path, view)
        whole = layout(file)
        if whole is None:
            return None
        shapes, offset, checksum = whole
        maps = []
        found = 0
        for shape in shapes:
            level = np.memmap(file, np.float16, "r", offset, shape)
            offset += level.nbytes
            if file not in self._verified:
                found = zlib.crc32(level.data, found)
            maps.append(np.asarray(level))
        if file not in self._verified:
            if found != checksum:
                return None
            self._verified.add(file)
        return maps

    def _file(self, path: Path, view: View) -> Path:
        try:
            facts = path.stat()
        except OSError as error:
            raise IgcamError(f"{path}: cannot be read: {error.strerror or error}") from error
        key = (path, facts.st_size, facts.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = digest(path)
        content = self._digests[key]
        return self.folder / content[:2] / f"{content}-{view.name}.safetensors"


def _raise(failures: dict[Path, IgcamError]) -> None:
    if failures:
        raise IgcamError.from_lines(f"{len(failures)} images cannot be read:", [*map(str, failures.values())])


def batches(tasks: Sequence[Task], batch_size: int) -> list[list[Task]]:
    """Cut tasks into batches of views of one size."""
    by_size: defaultdict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        by_size[task[1].size].append(task)
    return [same[start : start + batch_size] for same in by_size.values() for start in range(0, len(same), batch_size)]


def decoded(batch: list[Task]) -> list[tuple[Task, NDArray[np.uint8] | IgcamError]]:
    """Read the views of a batch; an image that cannot be read gives its error."""
    images: dict[Path, NDArray[np.uint8] | IgcamError] = {}
    result: list[tuple[Task, NDArray[np.uint8] | IgcamError]] = []
    for path, view in batch:
        if path not in images:
            images.clear()
            try:
                images[path] = load_image(path)
            except IgcamError as error:
                images[path] = error
        image = images[path]
        result.append(((path, view), image if isinstance(image, IgcamError) else view.apply(image)))
    return result


def layout(file: Path) -> tuple[list[tuple[int, ...]], int, int] | None:
    """Parse the header of a file into shapes, offset of the values and checksum; None if it is incomplete."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            total = file.stat().st_size
            if length > total - 8:
                return None
            header: dict[str, Any] = json.loads(stream.read(length))
        checksum = int(header.pop("__metadata__")[CHECKSUM])
        shapes = [tuple(header[name]["shape"]) for name in sorted(header)]
        whole = 8 + length + sum(2 * prod(shape) for shape in shapes) == total
        half = all(level["dtype"] == "F16" for level in header.values())
        return (shapes, 8 + length, checksum) if whole and half and shapes else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def has_nan(level: Tensor) -> bool:
    """Tell whether half-precision values contain NaN, in one thread: those of torch are busy with the network."""
    bits: NDArray[np.uint16] = level.numpy().view(np.uint16)
    return bool(bits.size) and int((bits & 0x7FFF).max()) > 0x7C00
