"""The independent classifier: a small residual network that judges counterfactuals and gives features for distances."""

from __future__ import annotations

from torch import Tensor, nn


class _Residual(nn.Module):
    """Two 3x3 convolutions with group norm around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Oracle(nn.Module):
    """A residual network with strided convolutions, group norm and global pooling, unlike the classifiers under test.

    For metrics only: its opinion of a counterfactual and its 64 features must come from nothing that was explained.

    Example:
        >>> import torch
        >>> net = Oracle().eval()
        >>> net(torch.zeros(2, 1, 32, 32)).shape, net.features(torch.zeros(2, 1, 32, 32)).shape
        (torch.Size([2, 10]), torch.Size([2, 64]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), _Residual(16),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), _Residual(32),
            nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), _Residual(64),
            nn.GroupNorm(8, 64), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def features(self, images: Tensor) -> Tensor:
        """The 64 averaged activations before the classes, (N, 64), of normalised images (N, 1, 32, 32)."""
        found: Tensor = self.body(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of normalised images (N, 1, 32, 32)."""
        logits: Tensor = self.head(self.features(images))
        return logits
