"""Networks for images with known evidence: a small VGG for planted cues, and one head per cell for 2x2 mosaics."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

CUE_BLOCKS = ((32, 32), (48, 48), (64, 64))
CELL_BLOCKS = ((16, 24), (32, 48), (64,))


class CueVgg(nn.Sequential):
    """Six convolutions in three pooled blocks, then fc1 and fc2; ten sigmoid outputs, one per cue; no batch norm.

    Takes (N, 1, 32, 32) normalised images, returns (N, 10) logits.

    Example:
        >>> import torch
        >>> CueVgg().eval()(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        layers = _blocks(CUE_BLOCKS)
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(CUE_BLOCKS[-1][-1] * 16, 128)
        layers["relu_fc1"] = nn.ReLU()
        layers["fc2"] = nn.Linear(128, 10)
        super().__init__(layers)
        _start(self)


class CellHeads(nn.Module):
    """One shared trunk read at each quarter of the image alone, and a head of its own per quarter.

    The logits of a quarter depend on its pixels alone, so a map of them can be right only if it is zero elsewhere.
    Takes (N, 1, 64, 64) normalised images, returns (N, 40) logits: ten per quarter, row by row.

    Source: Rao, Boehle, Schiele 2022, section 3.2 (DiFull).

    Example:
        >>> import torch
        >>> CellHeads().eval()(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 40])
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(_blocks(CELL_BLOCKS) | {"flatten": nn.Flatten()})
        for quarter in range(4):
            self.add_module(f"hidden{quarter}", nn.Linear(CELL_BLOCKS[-1][-1] * 16, 64))
            self.add_module(f"relu{quarter}", nn.ReLU())
            self.add_module(f"head{quarter}", nn.Linear(64, 10))
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 40) of normalised images (N, 1, 64, 64)."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        logits = []
        for quarter in range(4):
            top, left = quarter // 2 * height, quarter % 2 * width
            features = self.trunk(x[:, :, top : top + height, left : left + width])
            hidden = self.get_submodule(f"relu{quarter}")(self.get_submodule(f"hidden{quarter}")(features))
            logits.append(self.get_submodule(f"head{quarter}")(hidden))
        return torch.cat(logits, 1)


def _blocks(blocks: tuple[tuple[int, ...], ...]) -> OrderedDict[str, nn.Module]:
    """Blocks of 3x3 convolutions with ReLU, each followed by 2x2 maximum pooling."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, index = 1, 0
    for block, widths in enumerate(blocks, 1):
        for width in widths:
            index += 1
            layers[f"conv{index}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"relu{index}"] = nn.ReLU()
            channels = width
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    return layers


def _start(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
