"""Weights of a backbone: from a local safetensors file, or from timm's hub."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.core.files import read_tensors_and_metadata

_SHOWN = 5
_TIMEOUT_SECONDS = 5.0
_CLASSIFIERS = ("fc", "head", "classifier")


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file into tensors by name, floating ones as float32, and its metadata.

    Raises:
        IgcamError: The file is missing, damaged, or of a format that would have to be unpickled.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise IgcamError(
            f"{path}: weights are read from .safetensors only, as a pickle can run code; convert it once: "
            f'python -c "import torch, safetensors.torch as s; '
            f"w = torch.load('{path.name}', weights_only=True); w = w.get('state_dict', w); "
            f"s.save_file({{k: v.clone() for k, v in w.items()}}, '{path.stem}.safetensors')\""
        )
    tensors, metadata = read_tensors_and_metadata(path)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }, metadata


def load_weights(network: Any, path: str | Path) -> None:
    """Load a local file into a timm network that was built without its classifier.

    Names may be those of timm or any that timm converts (DINO, CLIP, ...); timm resamples position embeddings. Weights
    of the classifier are ignored. Where the metadata of the file has `stride` = `v1...`, the strides of the network are
    moved first, see `use_v1_strides`.

    Raises:
        IgcamError: The file cannot be read, or tensors are missing, left over, or of another shape (five are named).
    """
    tensors, metadata = read_weights(path)
    if metadata.get("stride", "").startswith("v1") and not use_v1_strides(network):
        raise IgcamError(f"{path}: has v1 strides, which only a ResNet of bottleneck blocks can have")
    architecture = network.pretrained_cfg.get("architecture", type(network).__name__)
    # As timm itself converts the names and shapes of published files.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        with torch.no_grad():
            tensors = tensors if convert is None else dict(convert(tensors, network))
    except Exception as error:  # timm's converters stop in many ways at names that they do not expect
        raise IgcamError(f"{path}: is not a file of weights of {architecture}: {error!r}") from error
    expected = network.state_dict()
    shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    own = network.pretrained_cfg.get("classifier") or ()
    classifiers = tuple(f"{name}." for name in (*((own,) if isinstance(own, str) else own), *_CLASSIFIERS))
    left_over = [name for name in tensors if name not in expected and not name.startswith(classifiers)]
    for problem, names in (("lacks", missing), ("has another shape of", shapes), ("has also", left_over)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise IgcamError(
                f"{path}: is not a file of weights of {architecture}: {problem} {', '.join(names[:_SHOWN])}{more}"
            )
    network.load_state_dict({name: tensors[name] for name in expected if name in tensors}, strict=False)


def use_v1_strides(network: nn.Module) -> bool:
    """Move the stride of 2 from the 3x3 to the first 1x1 convolution of layer2.0, layer3.0 and layer4.0.

    The original ("v1") networks were trained so. Where the output stride has turned the stride into a dilation, the 3x3
    convolution is dilated instead: in a v1 network it follows the stride and sees the grid of the later blocks.

    Returns:
        Whether the network has bottleneck blocks; another is left unchanged.

    Source: He et al., CVPR 2016, table 1 (the stride sits in conv3_1, conv4_1, conv5_1); the dilation follows Yu and
    Koltun, ICLR 2016: every output of the dense network is one of the strided network, shifted.
    """
    blocks = _strided_blocks(network)
    if not blocks or not all(isinstance(block, Bottleneck) for block in blocks):
        return False
    for block in blocks:
        if block.conv2.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
        else:
            dilation = 2 * block.conv2.dilation[0]
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    return True


def has_v1_strides(network: nn.Module) -> bool:
    """Tell whether `use_v1_strides` was applied to a network."""
    blocks = _strided_blocks(network)
    # The first of them has its stride at every output stride.
    return bool(blocks) and isinstance(blocks[0], Bottleneck) and blocks[0].conv1.stride == (2, 2)


def download(build: Callable[[], nn.Module], name: str) -> nn.Module:
    """Call `build`, which lets timm fetch the weights of `name`, or read them from the hub's cache when offline.

    Raises:
        IgcamError: There are no such weights, or no network and nothing cached.
    """
    try:
        with _offline_if_unreachable():
            return build()
    except Exception as error:  # hub, sockets and timm each have their own exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise IgcamError(
            f"{name}: its pretrained weights cannot be fetched ({reason}); give a local file: --weights FILE"
        ) from error


@contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Avoid the retries of the hub, up to a minute, where there is no network."""
    constants = huggingface_hub.constants
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(address: str) -> bool:
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _strided_blocks(network: nn.Module) -> list[Any]:
    layers = ("layer2", "layer3", "layer4") if isinstance(network, ResNet) else ()
    return [getattr(network, layer)[0] for layer in layers]
