"""Card of RectGrad."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "rectgrad", "Back-propagation in which a ReLU passes on only where activation times what arrives from above exceeds "
        "the 98th percentile of its layer and image; at the input times the pixel, positive part.",
        "Kim et al. 2019, eq. 4; Nuzzo 2020, eq. 4.9 and 4.10", "R^l = 1[a R^{l+1} > tau] R^{l+1}; R = max(x R^1, 0)",
        "a network of ReLUs; black means absent", "fails (Sixt 2020)", "rectgrad:rectgrad",
        "modified-backprop", signed=False, requires="relu", params={"percentile": 98.0}, cost=2, memory=1.5,
    ),
)  # fmt: skip
