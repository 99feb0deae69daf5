from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from igcam.core.errors import IgcamError
from igcam.core.progress import no_progress
from igcam.methods.distill import DistillOptions, batches_of, epochs_of, train_segmenter
from igcam.methods.training.loop import Batch, Training, rate_at

OPTIONS = DistillOptions(epochs=6, min_steps=0, batch_size=4, learning_rate=0.05, averaging=0.9)


@dataclass(frozen=True)
class Stripes:
    """Maps of two channels, whose larger one is the class; confidence is random."""

    count: int = 10

    def __len__(self) -> int:
        return self.count

    def load(self, index: int, epoch: int) -> Batch:
        random = np.random.default_rng([index, epoch])
        maps = torch.from_numpy(random.normal(size=(2, 4, 4)).astype(np.float32))
        target = nn.functional.one_hot(maps.argmax(dim=0), 2).permute(2, 0, 1).float()
        confidence = torch.from_numpy(random.uniform(0, 2, (4, 4)).astype(np.float32))
        return Batch([maps], {"target": target, "confidence": confidence})


def begin(dropout: float = 0.0) -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(4, 2, 1))
    return Training.with_teacher(model, torch.optim.AdamW(model.parameters(), OPTIONS.learning_rate))


def trained(options: DistillOptions = OPTIONS, dropout: float = 0.0, training: Training | None = None) -> Training:
    training = begin(dropout) if training is None else training
    train_segmenter(training, Stripes(), options, Accelerator(cpu=True), lambda reached: None, no_progress)
    return training


def weights(training: Training) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in training.teacher.state_dict().values()]


def test_training_reduces_the_loss_and_the_teacher_follows() -> None:
    training = trained(replace(OPTIONS, epochs=40))
    assert training.curve[-1]["loss"] < 0.3 * training.curve[0]["loss"]
    example = Stripes().load(3, 99)
    assert (
        training.teacher(example.inputs[0][None]).argmax(dim=1) == example.known["target"].argmax(dim=0)
    ).float().mean() > 0.9
    assert not training.teacher.training


def test_parts_of_an_update_make_no_difference() -> None:
    whole, parts = trained(), trained(replace(OPTIONS, accumulate=3))
    for first, second in zip(weights(whole), weights(parts), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_over_the_locations_of_the_update() -> None:
    training = begin()
    examples = [Stripes(4).load(index, 0) for index in range(4)]
    maps, target, confidence = (
        torch.stack(parts)
        for parts in zip(
            *((one.inputs[0], one.known["target"], one.known["confidence"]) for one in examples), strict=True
        )
    )
    logits = training.model(maps)
    expected = (-(logits.log_softmax(dim=1) * target).sum(dim=1) * confidence).sum() / confidence.sum()
    options = replace(OPTIONS, epochs=1, accumulate=4)
    train_segmenter(training, Stripes(4), options, Accelerator(cpu=True), lambda reached: None, no_progress)
    assert training.curve == [{"epoch": 1, "loss": pytest.approx(float(expected.detach()), rel=1e-5)}]


@pytest.mark.parametrize("epoch", [1, 4])
def test_going_on_from_a_checkpoint_ends_alike_to_the_bit(epoch: int) -> None:
    undisturbed = trained(dropout=0.5)
    kept: dict[int, tuple[dict[str, torch.Tensor], list[dict[str, float]]]] = {}

    def save(reached: Training) -> None:
        kept[reached.epoch] = ({n: t.clone() for n, t in reached.tensors().items()}, list(reached.curve))

    train_segmenter(begin(0.5), Stripes(), OPTIONS, Accelerator(cpu=True), save, no_progress)
    again = begin(0.5)
    tensors, curve = kept[epoch]
    again.load(tensors, epoch, curve)
    trained(training=again)
    assert again.curve == undisturbed.curve
    for first, second in zip(undisturbed.tensors().items(), again.tensors().items(), strict=True):
        assert first[0] == second[0]
        assert torch.equal(first[1], second[1]), first[0]


def test_the_teacher_is_the_running_average() -> None:
    options = replace(OPTIONS, epochs=1, batch_size=10)
    training = begin()
    train_segmenter(training, Stripes(), options, Accelerator(cpu=True), lambda reached: None, no_progress)
    # After one update nothing of the start is left.
    for first, second in zip(weights(training), training.model.state_dict().values(), strict=True):
        torch.testing.assert_close(first, second)


def test_the_rate_rises_and_falls_to_zero() -> None:
    rates = [rate_at(step, 50) for step in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[-1] == pytest.approx(0)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rate_at(0, 1) == 1


def test_few_images_get_more_epochs() -> None:
    options = DistillOptions(epochs=3, min_steps=20, batch_size=4)
    assert (batches_of(10, options), epochs_of(10, options)) == (2, 10)
    assert (batches_of(400, options), epochs_of(400, options)) == (100, 3)
    assert batches_of(1, options) == 1


def test_random_state_outside_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    training = begin(0.5)
    torch.manual_seed(5)
    trained(training=training)
    assert torch.equal(torch.rand(1), expected)


def test_more_processes_than_images_an_update_are_refused() -> None:
    class Many:
        num_processes = 6

    with pytest.raises(IgcamError, match="batch_size: an update of 5 images is too small for 6 processes"):
        train_segmenter(begin(), Stripes(), OPTIONS, Many(), lambda reached: None, no_progress)  # type: ignore[arg-type]
