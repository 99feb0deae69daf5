"""Rows of the dense CRF for benchmarks/refine.py: right, fast, on many cores, at every size."""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.refine import CRF_PRESETS, CRFParameters, dense_crf, dense_crf_from_unary, in_parallel

Array = NDArray[np.float32]
Photo = tuple[NDArray[np.uint8], Array]
"""A photo and its seeds at the same size."""


def brute(add: Callable[..., None]) -> None:
    """Compare with mean field over all pairs of pixels in double precision."""
    differences, agreements, alone = [], [], []
    for height, width, seed in ((30, 40, 0), (30, 40, 1), (48, 64, 2), (48, 64, 3)):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        truth = (x + 0.4 * y > 0.65 * width).astype(int) + 2 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < 90)
        colours = np.array([[60, 90, 140], [200, 120, 40], [90, 180, 90], [150, 60, 170]])[truth]
        image = np.clip(colours + random.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)
        unary = -(random.normal(0, 1, (4, height, width)) + 0.5 * (truth == np.arange(4)[:, None, None]))
        parameters = CRFParameters(3, 3, 12, 20, 4)
        expected = exact(image, unary, parameters)
        found = dense_crf_from_unary(image, unary.astype(np.float32), parameters)
        differences.append(np.abs(found - expected).mean())
        agreements.append((found.argmax(axis=0) == expected.argmax(axis=0)).mean())
        alone.append((unary.argmin(axis=0) == expected.argmax(axis=0)).mean())
    note = "2 images of 30 x 40, 2 of 48 x 64, 4 labels; the worst of them"
    add("crf/brute/mean-dq", max(differences), "", note)
    add("crf/brute/agreement", 100 * min(agreements), "%", f"the unary alone agrees in {100 * max(alone):.0f}% at most")


def exact(image: NDArray[np.uint8], unary: NDArray[np.float64], parameters: CRFParameters) -> NDArray[np.float64]:
    """Return the mean field with exact kernels, float64 (K, H, W)."""
    classes, height, width = unary.shape
    y, x = np.mgrid[:height, :width]
    position = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    colour = image.reshape(-1, 3) / parameters.bilateral_colour
    message = np.zeros((height * width, height * width))
    for weight, points in (
        (parameters.gaussian_weight, position / parameters.gaussian_width),
        (parameters.bilateral_weight, np.hstack([position / parameters.bilateral_width, colour])),
    ):
        square = (points**2).sum(axis=1)
        kernel = np.exp(-np.maximum(square[:, None] + square - 2 * points @ points.T, 0) / 2)
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        message += weight * norm[:, None] * kernel * norm
    energy = -unary.reshape(classes, -1)
    posterior = np.exp(energy) / np.exp(energy).sum(axis=0)
    for _ in range(parameters.iterations):
        logits = energy + posterior @ message
        posterior = np.exp(logits - logits.max(axis=0))
        posterior /= posterior.sum(axis=0)
    return posterior.reshape(unary.shape)


def peer(add: Callable[..., None], photos: list[Photo]) -> None:
    """Compare with pydensecrf2: the same answer, then the time, on one thread."""
    preset = CRF_PRESETS["irn"]
    agreements, times = [], dict.fromkeys(("ours", "ours-21", "theirs", "theirs-21"), 0.0)
    for image, stack in photos:
        present = stack[stack.reshape(len(stack), -1).max(axis=1) >= 0.1]
        all_labels = np.concatenate([stack, np.full((21 - len(stack), *stack.shape[1:]), 1e-5, np.float32)])
        for suffix, labels in (("", present), ("-21", all_labels)):
            unary = -np.log(labels / labels.sum(axis=0))
            found, seconds = timed(dense_crf_from_unary, image, unary, preset)
            times["ours" + suffix] += seconds
            expected, seconds = timed(reference, image, unary, preset)
            times["theirs" + suffix] += seconds
            agreements.append((found.argmax(axis=0) == expected.argmax(axis=0)).mean())
    note = f"{len(photos)} photos of 500 x 375 with IG-CAM seeds, preset irn, one thread; kernels built anew each time"
    add("crf/pydensecrf2/agreement", 100 * float(np.mean(agreements)), "%", note)
    add("crf/21-labels/speedup", times["theirs-21"] / times["ours-21"], "x", note)
    add("crf/present/speedup-over-21", times["theirs-21"] / times["ours"], "x", note)
    add("crf/present/speedup", times["theirs"] / times["ours"], "x", note)
    for name, seconds in times.items():
        add(f"crf/{name}/seconds", seconds / len(photos), "s", "an image")


def reference(image: NDArray[np.uint8], unary: Array, preset: CRFParameters) -> Array:
    """Return what pydensecrf2 answers, (K, H, W)."""
    classes, height, width = unary.shape
    crf = importlib.import_module("pydensecrf.densecrf").DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1)))
    crf.addPairwiseGaussian(sxy=preset.gaussian_width, compat=preset.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=preset.bilateral_width,
        srgb=preset.bilateral_colour,
        rgbim=np.ascontiguousarray(image),
        compat=preset.bilateral_weight,
    )
    return np.array(crf.inference(preset.iterations)).reshape(unary.shape)


def timed(
    solve: Callable[..., Array], image: NDArray[np.uint8], unary: Array, preset: CRFParameters
) -> tuple[Array, float]:
    """Return an answer and its seconds; nothing is kept between calls."""
    importlib.import_module("igcam.refine.crf")._position_lattice.cache_clear()
    start = time.perf_counter()
    result = solve(image, unary, preset)
    return result, time.perf_counter() - start


def cores(add: Callable[..., None], photos: list[Photo]) -> None:
    """Compare two threads with one over many images."""
    seconds = []
    for workers in (1, 2):
        start = time.perf_counter()
        list(in_parallel(lambda photo: dense_crf(photo[0], photo[1]), photos, workers))
        seconds.append(time.perf_counter() - start)
    add("crf/two-cores/speedup", seconds[0] / seconds[1], "x", f"{len(photos)} images, 7 labels")


def sizes(add: Callable[..., None]) -> None:
    """Solve photos of growing size, each in a process of its own."""
    for megapixels in (0.1, 0.5, 2.0, 8.0):
        command = [sys.executable, str(Path(__file__).with_name("refine.py")), "--megapixels", str(megapixels)]
        seconds, peak = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
        name = f"crf/{megapixels:g}mp"
        add(f"{name}/seconds", seconds, "s", "3 labels, preset irn, one thread")
        add(f"{name}/peak-mb", peak, "MB", "peak of the process less what it held before the call")


def large(megapixels: float) -> tuple[float, float]:
    """Return the seconds and the growth of memory in MB of one CRF on a made photo with smooth regions."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = cv2.resize(random.normal(0, 6, (height // 2, width // 2, 3)).astype(np.float32), (width, height))
    image = np.clip(photo + noise, 0, 255).astype(np.uint8)
    stack = np.stack([cv2.resize(random.random((24, 32), np.float32), (width, height)) for _ in range(3)])
    stack /= stack.sum(axis=0)
    dense_crf(image[:64, :64], stack[:, :64, :64])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    start = time.perf_counter()
    dense_crf(image, stack)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, peak - pages * resource.getpagesize() / 2**20
