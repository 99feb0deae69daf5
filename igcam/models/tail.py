"""The tail of a network: a copy of its last stages with a 1x1 head, trained on stored maps."""

from __future__ import annotations

import copy

from timm.models.resnet import ResNet
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.models.backbone import Backbone


class TailNetwork(nn.Module):
    """From maps of the backbone's last but one level to raw logit maps of C classes, without background.

    The stages after that level are copied. Their batch norms stay in evaluation mode, with the statistics of
    pretraining. The head has no bias and starts at zero, which makes training independent of a seed.

    Raises:
        IgcamError: The backbone is not a ResNet with at least two levels.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        if not isinstance(backbone.network, ResNet) or len(backbone.levels) < 2 or backbone.levels[-2] < 1:
            raise IgcamError(
                f"{backbone.name}: only the tail of a ResNet can be trained, from the last but one of two or more "
                f"levels on, the first of them 1 or deeper; got levels {list(backbone.levels)}"
            )
        first, last = backbone.levels[-2:]
        stages = [getattr(backbone.network, f"layer{stage}") for stage in range(first + 1, last + 1)]
        self.stages = copy.deepcopy(nn.Sequential(*stages)).requires_grad_(True)
        self.head = nn.utils.skip_init(nn.Conv2d, backbone.channels[-1], classes, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def train(self, mode: bool = True) -> TailNetwork:
        """Set the mode of all modules but the batch norms of the stages."""
        super().train(mode)
        for module in self.stages.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, feature: Tensor) -> Tensor:
        """Return raw logit maps, float (N, C, h, w), of maps of the last but one level, float (N, D, h', w')."""
        return self.head(self.stages(feature))
