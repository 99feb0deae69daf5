from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed
from torch import Tensor, nn

from igcam.models.decoders import SharedBatchNorm


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process only."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def norms() -> tuple[SharedBatchNorm, nn.BatchNorm2d]:
    torch.manual_seed(0)
    ours, theirs = SharedBatchNorm(3), nn.BatchNorm2d(3)
    for name, parameter in theirs.named_parameters():
        nn.init.normal_(parameter)
        ours.get_parameter(name).data.copy_(parameter.data)
    return ours, theirs


def results(norm: nn.BatchNorm2d, function: object, given: Tensor) -> list[Tensor]:
    """Return what comes out, the gradients, and the statistics that are kept."""
    given = given.clone().requires_grad_()
    found = function(given)  # type: ignore[operator]
    (found * torch.linspace(0, 1, found.numel()).view_as(found)).sum().backward()
    gradients = [given.grad, norm.weight.grad, norm.bias.grad]
    return [found.detach(), *(g for g in gradients if g is not None), norm.running_mean, norm.running_var]  # type: ignore[list-item]


def test_over_processes_it_computes_what_batch_norm_does(alone: None) -> None:
    ours, theirs = norms()
    given = 3 + 2 * torch.randn(4, 3, 5, 6)
    found = results(ours, lambda maps: ours._over_processes(maps, 4 * 5 * 6), given)
    expected = results(theirs, theirs, given)
    assert len(found) == len(expected) == 6
    for first, second in zip(found, expected, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 1


def test_in_one_process_and_in_evaluation_it_is_batch_norm() -> None:
    ours, theirs = norms()
    given = torch.randn(4, 3, 5, 6)
    assert torch.equal(ours(given), theirs(given))
    assert torch.equal(ours.eval()(given), theirs.eval()(given))


def test_a_single_value_is_normalised_by_the_running_statistics(alone: None) -> None:
    ours, _ = norms()
    ours(torch.randn(4, 3, 5, 6))
    kept = [ours.running_mean.clone(), ours.running_var.clone()]  # type: ignore[union-attr]
    given = torch.randn(1, 3, 1, 1)
    found, over = ours(given), ours._over_processes(given, 1)
    expected = ours.eval()(given)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(over, expected)
    assert torch.equal(kept[0], ours.running_mean)  # type: ignore[arg-type]
    assert torch.equal(kept[1], ours.running_var)  # type: ignore[arg-type]
