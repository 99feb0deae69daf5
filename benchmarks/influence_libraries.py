"""Speed beside pyDVL, captum and dattri, and growth with the number of images. Called by benchmarks/influence.py.

Seconds are those of the processor, one thread, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from igcam.influence import HeadInfluence
from igcam.models.linear_head import LinearHead, fit_linear_head

Array = NDArray[np.float64]
Add = Callable[[str, list[float], str, str], None]
L2 = 0.01
SMALL_SHAPE = (300, 60, 64, 5)
"""Training and validation images, features, outputs with --quick."""
SHAPE = (1500, 300, 512, 20)
GROWTH = (12_500, 25_000, 50_000, 100_000)


def library_rows(add: Add, quick: bool) -> None:
    """Add times of ours and of peers for the influence of every training image on every validation image."""
    problem = Problem(*(SMALL_SHAPE if quick else SHAPE))
    start = time.process_time()
    ours = problem.influence()
    seconds = time.process_time() - start
    add("ours/seconds", [seconds], "s", " x ".join(map(str, problem.shape)) + ", all pairs")
    for name, package, peer in (
        ("captum-arnoldi", "captum", captum_arnoldi),
        ("dattri-cg", "dattri", dattri_cg),
        ("pydvl", "pydvl", pydvl_direct),
    ):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: its rows are left out", flush=True)
            continue
        taken, theirs = peer(problem)
        add(f"{name}/seconds", [taken], "s", "")
        add(f"{name}/speedup", [taken / seconds], "x", "time of the peer / ours")
        note = "mean over the validation images of their ranking of images"
        add(f"{name}/spearman", [rank_agreement(ours, theirs)], "", note)
    if importlib.util.find_spec("captum") is not None:
        small = Problem(*SMALL_SHAPE)
        parameters = (small.shape[2] + 1) * small.shape[3]
        for name, directions in (("default", None), ("all", parameters)):
            _, theirs = captum_arnoldi(small, directions)
            note = f"300 x 60 images, {parameters} parameters: what its default of 50 directions leaves out"
            add(f"captum-arnoldi/directions/{name}/spearman", [rank_agreement(small.influence(), theirs)], "", note)


def rank_agreement(ours: Array, theirs: Array) -> float:
    """Return how alike two libraries rank the training images, on average over the validation images.

    All of them answer in another scale and sign; a ranking has neither.
    """
    return float(np.mean([abs(float(spearmanr(*rows).statistic)) for rows in zip(ours, theirs, strict=True)]))


class Problem:
    """Random features and tags of a linear rule, with a head at its optimum, as arrays and as a network."""

    def __init__(self, images: int, validation: int, width: int, outputs: int) -> None:
        random = np.random.default_rng(0)
        self.shape = (images, validation, width, outputs)
        rule = random.standard_normal((width, outputs)) / np.sqrt(width)
        rows = random.standard_normal((images + validation, width))
        tags = (random.uniform(size=(len(rows), outputs)) < 1 / (1 + np.exp(-3 * rows @ rule))).astype(np.float64)
        self.features, self.valid = rows[:images], rows[images:]
        self.tags, self.valid_tags = tags[:images], tags[images:]
        self.head: LinearHead = fit_linear_head(self.features, self.tags, L2)

    def influence(self) -> Array:
        """Return ours, (m, n)."""
        exact = HeadInfluence(self.features, self.tags, self.head.weight, self.head.bias, L2)
        return exact.on_each(self.valid, self.valid_tags)

    def network(self) -> nn.Linear:
        """Return the head as a float32 layer."""
        layer = nn.Linear(self.shape[2], self.shape[3])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.head.weight))
            layer.bias.copy_(torch.from_numpy(self.head.bias))
        return layer

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return features and tags of training and validation, float32."""
        arrays = (self.features, self.tags, self.valid, self.valid_tags)
        return tuple(torch.from_numpy(array.astype(np.float32)) for array in arrays)


def summed_loss(logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Return the tag loss of our objective: sum over outputs, mean over images."""
    return nn.functional.binary_cross_entropy_with_logits(logits, tags, reduction="none").sum(dim=-1).mean()


def pydvl_direct(problem: Problem) -> tuple[float, Array]:
    """Return seconds and influence (m, n) of pyDVL's direct solver with the penalty as its regularisation."""
    from pydvl.influence.torch import DirectInfluence

    features, tags, valid, valid_tags = problem.tensors()
    start = time.process_time()
    model = DirectInfluence(problem.network(), summed_loss, regularization=L2)
    model = model.fit(DataLoader(TensorDataset(features, tags), batch_size=500))
    values = model.influences(valid, valid_tags, features, tags)
    return time.process_time() - start, values.detach().numpy().astype(np.float64)


def captum_arnoldi(problem: Problem, directions: int | None = None) -> tuple[float, Array]:
    """Return seconds and influence (m, n) of captum's Arnoldi iteration.

    Its defaults keep the 50 leading directions of the Hessian; `directions` sets how many it looks for and keeps.
    """
    from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction

    class Penalised(nn.Module):
        """Binary cross-entropy, summed over outputs and images."""

        reduction = "sum"

        def forward(self, logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
            return nn.functional.binary_cross_entropy_with_logits(logits, tags, reduction="sum")

    features, tags, valid, valid_tags = problem.tensors()
    start = time.process_time()
    model = ArnoldiInfluenceFunction(
        problem.network(),
        TensorDataset(features, tags),
        "",
        lambda module, path: 1.0,
        loss_fn=Penalised(),
        batch_size=500,
        # Its Hessian is that of the sum over images.
        hessian_reg=L2 * len(features),
        sample_wise_grads_per_batch=True,
        show_progress=False,
        **({} if directions is None else {"arnoldi_dim": directions + 5, "projection_dim": directions}),
    )
    values = model.influence((valid, valid_tags))
    return time.process_time() - start, values.detach().numpy().astype(np.float64)


def dattri_cg(problem: Problem) -> tuple[float, Array]:
    """Return seconds and influence (m, n) of dattri's conjugate gradients, ten steps, as its default."""
    from dattri.algorithm.influence_function import IFAttributorCG
    from dattri.task import AttributionTask

    layer = problem.network()

    def loss(params: dict[str, torch.Tensor], pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        rows, targets = pair
        return summed_loss(torch.func.functional_call(layer, params, rows), targets)

    features, tags, valid, valid_tags = problem.tensors()
    start = time.process_time()
    task = AttributionTask(loss_func=loss, model=layer, checkpoints=layer.state_dict())
    attributor = IFAttributorCG(task=task, regularization=L2, max_iter=10)
    train = DataLoader(TensorDataset(features, tags), batch_size=500)
    attributor.cache(DataLoader(TensorDataset(features, tags), batch_size=len(features)))
    values = attributor.attribute(train, DataLoader(TensorDataset(valid, valid_tags), batch_size=len(valid)))
    return time.process_time() - start, values.detach().numpy().astype(np.float64).T


def growth_rows(add: Add, quick: bool) -> None:
    """Add time and peak memory for up to 100,000 images of 2048 features, six outputs, each in its own process."""
    for count in GROWTH[:1] if quick else GROWTH:
        command = [sys.executable, __file__, str(count)]
        seconds, megabytes, base = map(float, subprocess.run(command, capture_output=True, check=True).stdout.split())
        add(f"growth/{count}/seconds", [seconds], "s", "2048 features, 6 outputs, influence on 300 images' mean loss")
        add(f"growth/{count}/memory", [megabytes], "MB", f"above the {base:.0f} MB of the data in float32")


def grow(count: int) -> None:
    """Print seconds, memory above the data and the size of the data for a number of images."""
    random = np.random.default_rng(0)
    features = random.standard_normal((count, 2048), dtype=np.float32)
    rule = random.standard_normal((2048, 6)) / 45
    tags = (features @ rule.astype(np.float32) > 0).astype(np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    # Any head serves to measure time: infinity takes one that is not at its optimum.
    exact = HeadInfluence(features, tags, 0.1 * rule.T, np.zeros(6), 0.01, tolerance=np.inf)
    exact.on_loss(features[:300], tags[:300])
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, peak - before, features.nbytes / 2**20)


if __name__ == "__main__":
    grow(int(sys.argv[1]))
