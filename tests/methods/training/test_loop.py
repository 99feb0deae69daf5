from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.methods.training.devices import OneDevice
from igcam.methods.training.loop import Batch, Plan, Training, one_cycle, scaled, total_confidence, train


def mean_square(logits: Tensor, batch: Batch) -> Tensor:
    confidence = batch.known["confidence"]
    return (confidence * (logits - batch.known["target"]).square()[:, 0]).sum() / confidence.sum()


def shrink(logits: Tensor, batch: Batch) -> Tensor:
    return 0.1 * logits.abs().mean()


def batch(seed: int, count: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(count, 1, 2, 2, generator=generator)
    confidence = torch.rand(count, 2, 2, generator=generator)
    return Batch([torch.randn(count, 3, 2, 2, generator=generator)], {"target": target, "confidence": confidence})


def begin() -> Training:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 1, 1)
    return Training(model, torch.optim.SGD(model.parameters(), 0.1))


PLAN = Plan(2, 3, lambda epoch: [[batch(10 * epoch + n)] for n in range(3)], [mean_square, shrink], lambda step: None)


def test_every_update_minimises_the_sum_of_the_losses() -> None:
    training, expected = begin(), begin()
    train(training, PLAN, OneDevice())
    for epoch in range(2):
        total = 0.0
        for n in range(3):
            one = batch(10 * epoch + n)
            logits = expected.model(one.inputs[0])
            loss = mean_square(logits, one) + shrink(logits, one)
            expected.optimiser.zero_grad()
            loss.backward()
            expected.optimiser.step()
            total += float(loss.detach())
        assert training.curve[epoch] == {"epoch": epoch + 1, "loss": pytest.approx(total / 3)}
    assert training.epoch == 2
    assert torch.equal(training.model.weight, expected.model.weight)
    assert training.best is training.model


def test_parts_are_joined_by_their_weight() -> None:
    parts = [batch(0, 3), batch(1, 1)]
    whole = Batch(
        [torch.cat([part.inputs[0] for part in parts])],
        {name: torch.cat([part.known[name] for part in parts]) for name in ("target", "confidence")},
    )
    trained = []
    for given in ([whole], parts):
        training = begin()
        plan = replace(PLAN, epochs=1, updates=1, batches=lambda epoch, given=given: [given], losses=[mean_square])
        train(training, replace(plan, weight=total_confidence), OneDevice())
        trained.append(training)
    torch.testing.assert_close(trained[0].model.weight, trained[1].model.weight)
    assert trained[0].curve[0]["loss"] == pytest.approx(trained[1].curve[0]["loss"])


def test_the_teacher_follows_with_the_decay_of_each_update() -> None:
    training = begin()
    training = Training.with_teacher(training.model, training.optimiser)
    seen: list[Tensor] = []
    decays = (0.0, 0.5, 0.9)
    plan = replace(PLAN, epochs=1, averaging=decays.__getitem__)
    train(
        training,
        replace(plan, after_update=lambda *_: seen.append(training.model.weight.detach().clone())),
        OneDevice(),
    )
    average = seen[0]
    for weight, decay in zip(seen[1:], decays[1:], strict=True):
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(training.best.weight, average)


def test_updates_and_epochs_are_reported() -> None:
    updates: list[tuple[int, int]] = []
    epochs: list[int] = []
    plan = replace(PLAN, after_update=lambda *at: updates.append(at), after_epoch=lambda at: epochs.append(at.epoch))
    training = begin()
    train(training, replace(plan, epochs=1), OneDevice())
    train(training, plan, OneDevice())
    assert updates == [(1, 3), (2, 3), (3, 3), (4, 6), (5, 6), (6, 6)]
    assert epochs == [1, 2]


def test_schedules_set_rates_before_each_update() -> None:
    optimiser = begin().optimiser
    schedule = scaled(optimiser, lambda step: 1 - step / 4)
    rates = []
    for step in range(4):
        schedule(step)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
    optimiser = torch.optim.AdamW(nn.Linear(1, 1).parameters(), 0.1)
    schedule, rates = one_cycle(optimiser, 0.1, 10), []
    for step in range(10):
        schedule(step)
        optimiser.step()
        rates.append(optimiser.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[0] < 0.01 > rates[-1]


def test_a_training_that_diverges_is_told() -> None:
    plan = replace(PLAN, losses=[lambda logits, batch: logits.mean() * torch.nan])
    with pytest.raises(IgcamError, match=r"^training diverged: its loss is nan in epoch 1; lower its rate$"):
        train(begin(), plan, OneDevice())
