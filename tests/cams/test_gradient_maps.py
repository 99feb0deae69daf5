from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torchcam.methods import GradCAM, LayerCAM

from igcam.cams import gradient
from igcam.cams.gradient import gradient_maps
from igcam.models.backbone import BackboneOptions, build_backbone
from igcam.models.localiser import Localiser

CLASSES = [0, 3, 4]
LEVELS = [2, 3, 4]


class Classifier(nn.Module):
    """Image logits, as the peers want them."""

    def __init__(self, localiser: Localiser) -> None:
        super().__init__()
        self.localiser = localiser

    def forward(self, images: Tensor) -> Tensor:
        return self.localiser.image_logits(images)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    options = BackboneOptions("resnet10t", pretrained=False, arguments={"zero_init_last": False})
    localiser = Localiser(build_backbone(options), classes=5)
    nn.init.normal_(localiser.head.weight)
    return Classifier(localiser).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))


def ours(classifier: Classifier, images: Tensor, level: int, method: str, classes=CLASSES) -> Tensor:
    localiser = classifier.localiser
    with torch.no_grad():
        feature = localiser.backbone.trunk(images, level)
    return gradient_maps(
        feature,
        lambda a: localiser.pooling(localiser.logit_maps([localiser.backbone.tail(a, level)])),
        classes,
        method,  # type: ignore[arg-type]
    )


def to_unit(maps: Tensor) -> Tensor:
    low = maps.amin(dim=(-2, -1), keepdim=True)
    high = maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-12)


def layer(classifier: Classifier, level: int) -> nn.Module:
    return getattr(classifier.localiser.backbone.network, f"layer{level}")


@pytest.mark.parametrize("level", LEVELS)
def test_gradcam_agrees_with_captum(classifier, images, level):
    peer = LayerGradCam(classifier, layer(classifier, level))
    theirs = torch.cat([peer.attribute(images, target=c, relu_attributions=True) for c in CLASSES], dim=1)
    maps = ours(classifier, images, level, "gradcam")
    assert maps.amax(dim=(2, 3)).gt(0).sum() > len(images)
    torch.testing.assert_close(to_unit(maps), to_unit(theirs.detach()), rtol=0, atol=1e-4)
    torch.testing.assert_close(maps, theirs.detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("method", "peer"), [("gradcam", GradCAM), ("layercam", LayerCAM)])
def test_both_agree_with_torchcam(classifier, images, level, method, peer):
    theirs = []
    with peer(classifier, layer(classifier, level)) as extractor:
        for index in CLASSES:
            scores = classifier(images.requires_grad_())
            theirs.append(extractor([index] * len(images), scores, normalized=False)[0])
    maps = ours(classifier, images.detach(), level, method)
    peers = torch.stack(theirs, dim=1).detach()
    assert maps.shape == peers.shape == (2, 3, *peers.shape[2:])
    torch.testing.assert_close(to_unit(maps), to_unit(peers), rtol=0, atol=1e-4)


def test_by_hand():
    feature = torch.tensor([[[[1.0, 2.0]], [[4.0, -1.0]]]])
    position = torch.tensor([[[[2.0, 0.0]], [[-1.0, 1.0]]]])

    def score(a: Tensor) -> Tensor:
        return torch.stack([(a * position).sum(dim=(1, 2, 3)), -(a * position).sum(dim=(1, 2, 3))], dim=1)

    # Mean gradients of class 0: 1 and 0; ReLU'd ones: 2, 0 and 0, 1.
    assert gradient_maps(feature, score, [0]).tolist() == [[[[1.0, 2.0]]]]
    assert gradient_maps(feature, score, [0, 1], "layercam").tolist() == [[[[2.0, 0.0]], [[4.0, 0.0]]]]
    assert gradient_maps(feature, score, [1]).tolist() == [[[[0.0, 0.0]]]]


def test_a_linear_head_gives_its_activation_maps(classifier, images):
    head = classifier.localiser.head
    with torch.no_grad():
        feature = classifier.localiser.backbone(images)[0]
    maps = ours(classifier, images, -1, "gradcam", None)
    cells = feature.shape[2] * feature.shape[3]
    expected = nn.functional.conv2d(feature, head.weight).relu() / cells
    torch.testing.assert_close(maps, expected.detach(), rtol=1e-4, atol=1e-6)


def test_classes_come_in_the_order_asked_for(classifier, images):
    everything = ours(classifier, images, 3, "layercam", None)
    assert everything.shape[1] == 5
    assert torch.equal(ours(classifier, images, 3, "layercam", [4, 0]), everything[:, [4, 0]])
    assert ours(classifier, images, 3, "layercam", []).shape == (2, 0, *everything.shape[2:])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_works_whatever_the_caller_does_with_gradients(classifier, images, context):
    expected = ours(classifier, images, 3, "gradcam")
    with context():
        maps = ours(classifier, images, 3, "gradcam")
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    assert torch.equal(maps, expected)
    assert not maps.requires_grad
    assert not maps.is_inference()
    with torch.inference_mode():
        feature = classifier.localiser.backbone.trunk(images, 3)
    assert feature.is_inference()
    score = lambda a: classifier.localiser.head(classifier.localiser.backbone.tail(a, 3)).mean((2, 3))  # noqa: E731
    assert torch.equal(gradient_maps(feature, score, CLASSES), expected)


def test_nothing_is_left_behind(classifier, images):
    parameters = list(classifier.parameters())
    parameters[0].requires_grad_(False)
    classifier.localiser.backbone.network.layer4.eval()
    modes = [module.training for module in classifier.modules()]
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in classifier.modules()]
    state = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    with torch.no_grad():
        feature = classifier.localiser.backbone.trunk(images, 3)
    before = feature.clone()
    ours(classifier, images, 3, "layercam")
    gradient_maps(feature, lambda a: a.mean(dim=(2, 3)))
    assert torch.equal(feature, before)
    assert not feature.requires_grad
    assert all(parameter.grad is None for parameter in parameters)
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)
    assert [module.training for module in classifier.modules()] == modes
    assert [len(m._forward_hooks) + len(m._backward_hooks) for m in classifier.modules()] == hooks
    assert all(torch.equal(tensor, state[name]) for name, tensor in classifier.state_dict().items())
    parameters[0].requires_grad_(True)


def test_parts_of_a_batch_equal_the_whole(classifier, images, monkeypatch):
    whole = ours(classifier, images, 3, "gradcam")
    monkeypatch.setattr(gradient, "_CHUNK_BYTES", 1)
    torch.testing.assert_close(ours(classifier, images, 3, "gradcam"), whole, rtol=1e-4, atol=1e-7)


def test_mistakes_are_named():
    feature = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="method must be gradcam or layercam, got 'cam'"):
        gradient_maps(feature, lambda a: a.mean((2, 3)), method="cam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"feature must be \(N, D, h, w\)"):
        gradient_maps(feature[0], lambda a: a)
    with pytest.raises(ValueError, match=r"score must return \(2, C\), got \(2,\)"):
        gradient_maps(feature, lambda a: a.mean((1, 2, 3)))
    with pytest.raises(ValueError, match="depend on the activations"):
        gradient_maps(feature, lambda a: torch.zeros(2, 5))
