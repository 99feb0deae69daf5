"""The other forms of the walk, and published propagations as lines of options."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from refiner_suite import photo

from igcam.refine.affinity import AffinityOptions, DenseAffinityOptions, dense_affinity, local_affinity
from igcam.refine.propagation import by_rows, walk, walk_limit
from igcam.refine.tensors import walk_tensors


def random_affinity(nodes: int, seed: int = 0) -> np.ndarray:
    weights = np.random.default_rng(seed).random((nodes, nodes)).astype(np.float32)
    return weights + weights.T


def test_the_limit_is_where_the_walk_ends() -> None:
    affinity, seeds = random_affinity(14), np.random.default_rng(1).random((3, 14)).astype(np.float32)
    dense = by_rows(affinity)
    sparse = by_rows(scipy.sparse.csr_array(affinity))
    np.testing.assert_allclose(sparse.toarray(), dense, rtol=1e-5)
    expected = walk(sparse, seeds, 300, restart=0.1)
    np.testing.assert_allclose(walk_limit(dense, seeds, 0.1), expected, atol=1e-4)
    np.testing.assert_allclose(walk_limit(sparse, seeds, 0.1), expected, atol=1e-4)


def test_normalised_by_rows() -> None:
    affinity = random_affinity(9)
    np.testing.assert_allclose(by_rows(affinity).sum(axis=1), 1, rtol=1e-5)
    affinity[3] = affinity[:, 3] = 0
    assert not by_rows(affinity)[3].any()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("restart", "competition"), [(0.0, 1.0), (0.3, 1.0), (0.2, 1.7)])
def test_tensors_give_the_same(sparse: bool, restart: float, competition: float) -> None:
    transition = by_rows(random_affinity(12))
    seeds = np.random.default_rng(1).random((4, 12)).astype(np.float32)
    shares = np.linspace(0, restart, 12).astype(np.float32)
    clamped = np.arange(12) % 5 == 0
    expected = walk(
        scipy.sparse.csr_array(transition), seeds, 6, restart=shares, clamped=clamped, competition=competition
    )
    tensor = torch.from_numpy(transition)
    result = walk_tensors(
        tensor.to_sparse_csr() if sparse else tensor,
        torch.from_numpy(seeds),
        6,
        restart=torch.from_numpy(shares),
        clamped=torch.from_numpy(clamped),
        competition=competition,
    )
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_batches_of_tensors_and_gradients() -> None:
    transitions = torch.from_numpy(np.stack([by_rows(random_affinity(7, seed)) for seed in range(2)]))
    seeds = torch.rand(2, 3, 7, requires_grad=True)
    together = walk_tensors(transitions, seeds, 3, restart=0.2)
    for index in range(2):
        torch.testing.assert_close(together[index], walk_tensors(transitions[index], seeds[index], 3, restart=0.2))
    together.sum().backward()
    assert seeds.grad is not None
    assert bool(seeds.grad.abs().sum() > 0)


def test_pixel_correlation_of_seam_is_one_step() -> None:
    # y = relu(cos(f, f)) x / sum: Wang et al., CVPR 2020, equation 6.
    random = np.random.default_rng(0)
    feature, maps = random.normal(size=(5, 4, 6)), random.random((3, 24)).astype(np.float32)
    unit = feature.reshape(5, -1) / np.linalg.norm(feature.reshape(5, -1), axis=0)
    correlation = np.maximum(unit.T @ unit, 0)
    expected = maps @ (correlation / correlation.sum(axis=1, keepdims=True)).T
    affinity = dense_affinity(feature, None, DenseAffinityOptions(power=1, colour=0, radius=1e6))
    np.testing.assert_allclose(walk(scipy.sparse.csr_array(by_rows(affinity)), maps, 1), expected, atol=1e-5)


def test_propagation_of_irn_is_a_power_and_many_steps() -> None:
    # T = D^-1 A^beta and vec(M') = T^t vec(M): Ahn et al., CVPR 2019, equations 11 and 12.
    affinity, maps = random_affinity(10) / 2, np.random.default_rng(1).random((2, 10)).astype(np.float32)
    raised = affinity.astype(np.float64) ** 10
    transition = raised / raised.sum(axis=1, keepdims=True)
    expected = maps @ np.linalg.matrix_power(transition, 2**4).T
    sparse = scipy.sparse.csr_array(by_rows(affinity**10))
    np.testing.assert_allclose(walk(sparse, maps, 2**4), expected, atol=1e-5)


def test_pixel_adaptive_refinement_is_a_local_affinity() -> None:
    # Ru et al. (AFA), CVPR 2022: kernels exp(-(|I_i - I_j| / (w1 sigma))^2) and the same of positions with w2, each
    # normalised by a softmax over the neighbours of all dilations, added with weight w3, ten times.
    image = photo(9, 11)
    y, x = 4, 5
    dilations, width, share = (1, 2), 0.3, 0.01
    offsets = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    around = np.array([image[y + dy, x + dx] for dy, dx in offsets], np.float64)
    deviation = around.std(axis=0) + 1e-8
    logits = -(((around - image[y, x]) / (deviation * width)) ** 2).mean(axis=1)
    distances = np.array([np.hypot(dy, dx) for dy, dx in offsets])
    positions = -((distances / (distances.std() * width)) ** 2)
    weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    weights += share * np.exp(positions - positions.max()) / np.exp(positions - positions.max()).sum()
    options = AffinityOptions(dilations, colour_width=width, contrast_floor=1e-8, position_weight=share)
    row = local_affinity(image, options=options)[[y * 11 + x]].toarray()[0]
    found = np.array([row[(y + dy) * 11 + x + dx] for dy, dx in offsets])
    np.testing.assert_allclose(found, weights / weights.sum(), atol=2e-3)


def test_competition_keeps_instances_apart() -> None:
    # Two seeds on a chain of two halves with a weak link: with competition each half ends with one of them.
    affinity = np.diag(np.ones(7), 1) + np.diag(np.ones(7), -1) + np.eye(8)
    affinity[3, 4] = affinity[4, 3] = 0.3
    transition = scipy.sparse.csr_array(by_rows(affinity.astype(np.float32)))
    seeds = np.zeros((2, 8), np.float32)
    seeds[0, 0], seeds[1, 7] = 1, 0.6
    ends = np.isin(np.arange(8), [0, 7])
    plain = walk(transition, seeds, 400, clamped=ends)
    rivals = walk(transition, seeds, 400, clamped=ends, competition=1.2)
    assert (rivals.argmax(axis=0) == [0, 0, 0, 0, 1, 1, 1, 1]).all()
    assert np.abs(np.diff(rivals, axis=0)).mean() > np.abs(np.diff(plain, axis=0)).mean()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="restart: must be above 0"):
        walk_limit(np.eye(2), np.ones((1, 2)), 0)
    with pytest.raises(ValueError, match=r"transition: must be \(2, 2\), got \(3, 3\)"):
        walk_limit(np.eye(3), np.ones((1, 2)), 0.5)
    with pytest.raises(ValueError, match="seeds: must be finite"):
        walk_limit(np.eye(2), np.full((1, 2), np.nan), 0.5)
    with pytest.raises(ValueError, match="transition: must be"):
        walk_tensors(torch.eye(3), torch.ones(1, 2), 1)
    with pytest.raises(ValueError, match="seeds: must be finite"):
        walk_tensors(torch.eye(2), torch.full((1, 2), torch.nan), 1)
    with pytest.raises(ValueError, match=r"competition: out of range, got 1, 0\.5, 0\.9"):
        walk_tensors(torch.eye(2), torch.ones(1, 2), 1, restart=0.5, competition=0.9)
