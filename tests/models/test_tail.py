from __future__ import annotations

import pytest
import torch

from igcam.core.errors import IgcamError
from igcam.models.backbone import Backbone, BackboneOptions, build_backbone
from igcam.models.tail import TailNetwork


def backbone(name: str = "resnet10t", levels: tuple[int, ...] = (-2, -1)) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneOptions(name, pretrained=False, levels=levels))


@pytest.mark.parametrize("levels", [(-2, -1), (2, 4), (1, 2, 3)])
def test_it_goes_on_where_the_stored_level_ends(levels: tuple[int, ...]) -> None:
    whole = backbone(levels=levels)
    network = TailNetwork(whole, 3).eval()
    torch.nn.init.normal_(network.head.weight)
    maps = whole(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(network.stages(maps[-2]), maps[-1])
    expected = torch.einsum("cd,ndhw->nchw", network.head.weight[:, :, 0, 0], maps[-1])
    torch.testing.assert_close(network(maps[-2]), expected, rtol=1e-4, atol=1e-4)


def test_training_leaves_statistics_and_the_backbone_alone() -> None:
    whole = backbone()
    # Random weights of timm begin with blocks that add nothing.
    torch.nn.init.ones_(whole.network.layer4[0].bn2.weight)
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    network = TailNetwork(whole, 2).train()
    assert network.training
    assert not network(torch.rand(1, 256, 4, 4)).any()
    torch.nn.init.normal_(network.head.weight)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    network(torch.rand(2, 256, 4, 4)).square().mean().backward()
    optimiser.step()
    state = network.stages.state_dict()
    changed = {
        name
        for name, tensor in state.items()
        if not torch.equal(tensor, before[f"network.layer4.{name.split('.', 1)[1]}"])
    }
    assert changed == {name for name, _ in network.stages.named_parameters()}
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    ("name", "levels"), [("resnet10t", (-1,)), ("resnet10t", (0, 4)), ("mobilenetv3_small_050", (-2, -1))]
)
def test_other_networks_are_refused(name: str, levels: tuple[int, ...]) -> None:
    with pytest.raises(IgcamError, match=f"^{name}: only the tail of a ResNet can be trained"):
        TailNetwork(backbone(name, levels), 2)
