from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.models.decoders import DECODERS, BinnedMean, Decoder, choose_levels

CHANNELS = {name: (8, 12, 16, 24)[-len(kind.components) :] for name, kind in DECODERS.items()}
RESNET = (2, 4, 8, 16, 16)
PLAIN = (16,) * 12


def levels(name: str, height: int, width: int, strides: tuple[int, ...] = (4, 8, 16, 32)) -> list[Tensor]:
    """Return maps as a network gives them that rounds up."""
    channels = CHANNELS[name]
    kept = (strides[0], *strides[-2:]) if len(channels) == 3 else strides
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, depth, -(-height // stride), -(-width // stride), generator=generator)
        for depth, stride in zip(channels, kept, strict=True)
    ]


def decoder(name: str) -> Decoder:
    torch.manual_seed(0)
    return Decoder(name, CHANNELS[name], classes=3, width=32).eval()


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("size", [(64, 64), (33, 90), (97, 41)])
@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (4, 8, 16, 16), (16, 16, 16, 16)])
def test_any_size_gives_logits_no_coarser_than_the_finest_level(
    name: str, size: tuple[int, int], strides: tuple[int, ...]
) -> None:
    given = levels(name, *size, strides)
    logits = decoder(name)(given)
    assert logits.shape[:2] == (2, 4)
    assert all(found >= side for found, side in zip(logits.shape[2:], given[0].shape[2:], strict=True))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", DECODERS)
def test_a_single_image_can_be_learnt(name: str) -> None:
    logits = decoder(name).train()([level[:1] for level in levels(name, 64, 64)])
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", DECODERS)
def test_every_level_and_every_weight_takes_part(name: str) -> None:
    model = decoder(name)
    given = [level.requires_grad_() for level in levels(name, 64, 64)]
    model(given)[:, 1].square().sum().backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in given)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_background_can_be_made_less_probable() -> None:
    model, given = decoder("segformer"), levels("segformer", 64, 64)
    before = model(given)
    model.favour_classes(1.5)
    torch.testing.assert_close(before - model(given), torch.tensor([1.5, 0, 0, 0]).view(1, 4, 1, 1).expand_as(before))


def test_a_mirrored_image_gives_mirrored_logits_where_the_levels_divide_each_other() -> None:
    model = decoder("deeplabv3plus")
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            module.weight.data = (module.weight.data + module.weight.data.flip(-1)) / 2
    given = levels("deeplabv3plus", 64, 96)
    mirrored = model([level.flip(-1) for level in given]).flip(-1)
    torch.testing.assert_close(model(given), mirrored, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 24), (3, 31)])
def test_means_over_bins_are_those_of_torch(bins: int, size: tuple[int, int]) -> None:
    feature = torch.randn(2, 3, *size)
    torch.testing.assert_close(BinnedMean(bins)(feature), nn.AdaptiveAvgPool2d(bins)(feature))


@pytest.mark.parametrize(
    ("name", "strides", "chosen"),
    [
        ("deeplabv3plus", RESNET, (1, 3, 4)),
        ("upernet", RESNET, (1, 2, 3, 4)),
        ("fpn", (4, 8, 16, 32), (0, 1, 2, 3)),
        ("deeplabv3plus", (4, 8, 16, 32), (0, 2, 3)),
        ("segformer", PLAIN, (2, 5, 8, 11)),
        ("deeplabv3plus", PLAIN, (3, 7, 11)),
    ],
)
def test_levels_are_chosen_by_their_strides(name: str, strides: tuple[int, ...], chosen: tuple[int, ...]) -> None:
    assert choose_levels(name, strides) == chosen


def test_a_network_with_too_few_stages_is_refused() -> None:
    with pytest.raises(IgcamError, match="decoder fpn: needs 4 stages of stride 4 or more, the network has 3"):
        choose_levels("fpn", (2, 4, 8, 16))


@pytest.mark.parametrize("arguments", [{"channels": (8, 8)}, {"width": 40}])
def test_what_does_not_fit_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Decoder("fpn", **{"channels": (8, 8, 8, 8), "classes": 2, **arguments})  # type: ignore[arg-type]
