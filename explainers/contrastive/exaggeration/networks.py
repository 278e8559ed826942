"""The networks of Progressive Exaggeration: encoder, conditional decoder, projection discriminator.

Source: Singla et al. 2020, section 2.1 and appendix; Miyato and Koyama 2018 for the projection. Sizes are for images of
about 32 pixels; the normalisation is per image, so that a result never depends on the other images of a batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

GROUPS = 8


class ConditionalNorm(nn.Module):
    """Group normalisation whose scale and shift belong to the requested bin."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(bins, channels))
        self.shift = nn.Parameter(torch.zeros(bins, channels))

    def forward(self, x: Tensor, bins: Tensor) -> Tensor:
        """Normalised features (N, C, H, W) for bins (N,)."""
        normal = F.group_norm(x, GROUPS)
        scale, shift = self.scale[bins].to(normal.dtype), self.shift[bins].to(normal.dtype)
        return normal * scale[:, :, None, None] + shift[:, :, None, None]


class Down(nn.Module):
    """Residual block that halves height and width."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, outside), nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / 2, W / 2)."""
        y = self.conv1(F.avg_pool2d(F.relu(self.norm1(x)), 2))
        y = self.conv2(F.relu(self.norm2(y)))
        result: Tensor = y + self.skip(F.avg_pool2d(x, 2))
        return result


class Up(nn.Module):
    """Residual block under a condition; doubles height and width where `factor` is 2."""

    def __init__(self, inside: int, outside: int, bins: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.norm1, self.conv1 = ConditionalNorm(inside, bins), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2, self.conv2 = ConditionalNorm(outside, bins), nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, bins: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, factor H, factor W)."""
        y = self.conv1(self._larger(F.relu(self.norm1(x, bins))))
        y = self.conv2(F.relu(self.norm2(y, bins)))
        result: Tensor = y + self._larger(self.skip(x))
        return result

    def _larger(self, x: Tensor) -> Tensor:
        return x if self.factor == 1 else F.interpolate(x, scale_factor=self.factor, mode="nearest")


class Exaggerator(nn.Module):
    """Encoder E and conditional decoder G; images in [0, 1] on both sides, only the decoder sees the bin.

    Example:
        >>> import torch
        >>> network = Exaggerator(1, 10, width=8).eval()
        >>> network(torch.rand(2, 1, 16, 16), torch.tensor([0, 9])).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, channels: int, bins: int, width: int = 16) -> None:
        super().__init__()
        self.bins = bins
        wide, widest = 3 * width, 6 * width
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.Sequential(Down(width, wide), Down(wide, widest))
        self.middle = Up(widest, widest, bins, factor=1)
        self.up1, self.up2 = Up(widest, wide, bins), Up(wide, width, bins)
        self.norm, self.last = ConditionalNorm(width, bins), nn.Conv2d(width, channels, 3, padding=1)

    def encode(self, images: Tensor) -> Tensor:
        """Spatial embedding (N, 6 width, H / 4, W / 4) of images (N, C, H, W) in [0, 1]."""
        first = self.first(2 * images - 1)
        code: Tensor = self.down(first.contiguous(memory_format=torch.channels_last))
        return code

    def decode(self, code: Tensor, bins: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of embeddings, for the requested bins (N,) int64."""
        y = self.up2(self.up1(self.middle(code, bins), bins), bins)
        y = self.last(F.relu(self.norm(y, bins)))
        return (torch.tanh(y.float()) + 1) / 2

    def forward(self, images: Tensor, bins: Tensor) -> Tensor:
        """What the explainer shows for these images at these bins, G(E(x), k)."""
        return self.decode(self.encode(images), bins)


class _Judged(nn.Module):
    def __init__(self, inside: int, outside: int, *, first: bool = False, down: bool = True) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.conv1 = spectral_norm(nn.Conv2d(inside, outside, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outside, outside, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inside, outside, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x if self.first else F.relu(x))
        if self.first:
            y = y.contiguous(memory_format=torch.channels_last)
        y = self.conv2(F.relu(y))
        # a 1x1 convolution and a mean over squares commute; the mean first costs a quarter
        skip = self.skip(F.avg_pool2d(x, 2)) if self.down else self.skip(x)
        return (F.avg_pool2d(y, 2) if self.down else y) + skip


class Discriminator(nn.Module):
    """Projection discriminator with one vector per step between neighbouring bins.

    D(x, k) = psi(phi(x)) + sum_{i < k} v_i . phi(x), the ordinal condition of eq. 4, with separate v_i.

    Example:
        >>> import torch
        >>> Discriminator(1, 10, width=8)(torch.rand(2, 1, 16, 16), torch.tensor([0, 9])).shape
        torch.Size([2])
    """

    def __init__(self, channels: int, bins: int, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Judged(channels, width, first=True),
            _Judged(width, 2 * width),
            _Judged(2 * width, 4 * width),
            _Judged(4 * width, 4 * width, down=False),
        )
        self.real = spectral_norm(nn.Linear(4 * width, 1))
        self.steps = spectral_norm(nn.Linear(4 * width, bins - 1, bias=False))

    def features(self, images: Tensor) -> Tensor:
        """phi(x): features summed over the image, (N, 4 width)."""
        return F.relu(self.body(2 * images - 1)).float().sum((2, 3))

    def forward(self, images: Tensor, bins: Tensor) -> Tensor:
        """Logit of `real, and of this bin`, (N,), for images in [0, 1] and bins (N,) int64."""
        features = self.features(images)
        return self.real(features)[:, 0].float() + ordinal(self.steps(features).float(), bins)


def ordinal(projections: Tensor, bins: Tensor) -> Tensor:
    """sum_{i < k} of the projections v_i . phi, (N,), for projections (N, n - 1) and bins k in 0..n-1.

    Example:
        >>> import torch
        >>> ordinal(torch.tensor([[1.0, 10.0, 100.0]]).expand(3, 3), torch.tensor([0, 1, 3])).tolist()
        [0.0, 1.0, 111.0]

    Source: Singla et al. 2020, eq. 4.
    """
    sums = F.pad(projections.cumsum(1), (1, 0))
    return sums.gather(1, bins[:, None])[:, 0]
