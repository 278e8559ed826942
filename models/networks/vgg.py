"""The thesis' VGG with 10 convolutions and 3 fully connected layers, at reduced width for 32x32 gray images.

Source: Nuzzo 2020, Table 7.1 ("Modified") and section 7.1.3 (batch norm after every layer but the last, before the
non-linearity; dropout), widths reduced fourfold or so.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = ((24, 24), (48, 48), (96, 96, 96), (128, 128, 128))
HIDDEN = (256, 256)


class Vgg(nn.Sequential):
    """Ten convolutions in four pooled blocks, then fc1, fc2, fc3; layers are named `conv1` ... `fc3`.

    Args:
        norm: `batch` puts a batch norm behind every convolution and hidden fully connected layer, `none` omits it.
        num_classes: number of logits.
        dropout: dropout probability behind the hidden fully connected layers; a quarter of it behind each pooling.
        side: height and width of the images, a multiple of 16.

    Takes (N, 1, side, side) normalised images, returns (N, num_classes) logits.

    Example:
        >>> import torch
        >>> Vgg().eval()(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, norm: str = "batch", num_classes: int = 10, dropout: float = 0.4, side: int = 32) -> None:
        if norm not in ("batch", "none"):
            raise ValueError(f"norm is {norm!r}; allowed are 'batch' and 'none'")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, index = 1, 0
        for block, widths in enumerate(BLOCKS, 1):
            for width in widths:
                index += 1
                layers[f"conv{index}"] = nn.Conv2d(channels, width, 3, padding=1, bias=norm == "none")
                if norm == "batch":
                    layers[f"norm{index}"] = nn.BatchNorm2d(width)
                layers[f"relu{index}"] = nn.ReLU()
                channels = width
            layers[f"pool{block}"] = nn.MaxPool2d(2)
            layers[f"drop{block}"] = nn.Dropout(dropout / 4)
        layers["flatten"] = nn.Flatten()
        features = channels * (side // 16) ** 2
        for hidden, width in enumerate(HIDDEN, 1):
            index += 1
            layers[f"fc{hidden}"] = nn.Linear(features, width, bias=norm == "none")
            if norm == "batch":
                layers[f"norm{index}"] = nn.BatchNorm1d(width)
            layers[f"relu{index}"] = nn.ReLU()
            layers[f"drop{len(BLOCKS) + hidden}"] = nn.Dropout(dropout)
            features = width
        layers["fc3"] = nn.Linear(features, num_classes)
        super().__init__(layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class MosaicVgg(Vgg):
    """The same layout with batch norm on 64x64 mosaics; ten sigmoid outputs, one per class.

    Example:
        >>> import torch
        >>> MosaicVgg().eval()(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__("batch", 10, 0.4, side=64)


class FunctionalVgg(Vgg):
    """The same weights with every activation written as a function or in place, so that module hooks see none.

    Exists to show and test what hook-based explainers do there: nothing, silently.

    Example:
        >>> import torch
        >>> a, b = Vgg().eval(), FunctionalVgg().eval()
        >>> _ = b.load_state_dict(a.state_dict())
        >>> x = torch.rand(2, 1, 32, 32)
        >>> torch.allclose(a(x), b(x), atol=1e-5)
        True
    """

    def __init__(self, norm: str = "batch", num_classes: int = 10, dropout: float = 0.4) -> None:
        super().__init__(norm, num_classes, dropout)
        for name in [name for name, _ in self.named_children() if name.startswith("relu")]:
            delattr(self, name)

    def forward(self, input: Tensor) -> Tensor:
        """Logits (N, num_classes) of normalised images (N, 1, 32, 32)."""
        x, index = input, 0
        for block, widths in enumerate(BLOCKS, 1):
            for _ in widths:
                index += 1
                x = self._activate(self._normed(f"conv{index}", index, x), index)
            x = self.get_submodule(f"drop{block}")(F.max_pool2d(x, 2))
        x = torch.flatten(x, 1)
        for hidden, _ in enumerate(HIDDEN, 1):
            index += 1
            x = self._activate(self._normed(f"fc{hidden}", index, x), index)
            x = self.get_submodule(f"drop{len(BLOCKS) + hidden}")(x)
        return self.get_submodule("fc3")(x)  # type: ignore[no-any-return]

    def _normed(self, layer: str, index: int, x: Tensor) -> Tensor:
        x = self.get_submodule(layer)(x)
        return self.get_submodule(f"norm{index}")(x) if hasattr(self, f"norm{index}") else x

    @staticmethod
    def _activate(x: Tensor, index: int) -> Tensor:
        if index % 4 == 0:
            return torch.relu(x)
        if index % 4 == 1:
            return F.relu(x, inplace=True)
        if index % 4 == 2:
            return x.relu_()
        return F.relu(x)
