"""The image that is searched for: what the generator draws, plus what it could not draw of the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CONSTRAINTS = ("corrected", "printed", "none")
MARGIN = 0.01
"""The search keeps third classes by so much (log odds) below the two, so that at its end they are below them."""


def clamped(images: Tensor) -> Tensor:
    """Images cut to [0, 1], with the gradient of images that were not cut.

    Cutting only the result of a search moves it off the boundary that was searched for; cutting with the ordinary
    gradient leaves pixels behind that were once cut.

    Example:
        >>> x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
        >>> y = clamped(x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 0.5, 1.0], [1.0, 1.0, 1.0])
    """
    return images.detach().clamp(0, 1) + (images - images.detach())


@dataclass(frozen=True, eq=False)
class Morph:
    """From latent points to images, and from images to the constraints of the search.

    Attributes:
        decode: latent points (n, ...) -> images (n, C, H, W).
        logits: images -> (n, K), differentiable.
        residual: (N, C, H, W) added to what is decoded, I - G(z0) or zeros.
        source, probe: (N,) classes.
        third: what is asked of all other classes: `corrected` (less likely than both), `printed` (the published signs,
            which ask for the opposite) or `none`.
        inside: whether images are cut to [0, 1] during the search, or only its result.
    """

    decode: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]
    residual: Tensor
    source: Tensor
    probe: Tensor
    third: str = "corrected"
    inside: bool = True

    def image(self, z: Tensor, rows: Tensor | None = None) -> Tensor:
        """The images of latent points, cut to [0, 1] if they are cut inside, (n, C, H, W).

        Args:
            rows: which of the N images each point belongs to; None where there is one point per image.
        """
        drawn = self.decode(z) + (self.residual if rows is None else self.residual[rows])
        return clamped(drawn) if self.inside else drawn

    def constraints(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """h (n,): log odds of the source against the probe; g (n, 2K): of every third class against both, plus MARGIN.

        Differences of log-likelihoods are differences of logits. Columns of the two classes themselves are -inf, and all
        of them where source and probe are the same.

        Source: Feghahati 2020, eq. 3.2 and 3.3, with the signs that its text asks for.
        """
        h, g = conditions(self.logits(self.image(z, rows)), self.source[rows], self.probe[rows], self.third)
        return h, g + MARGIN


def conditions(logits: Tensor, source: Tensor, probe: Tensor, third: str = "corrected") -> tuple[Tensor, Tensor]:
    """h (n,) and g (n, 2K) of logits (n, K); see Morph.constraints."""
    of_source, of_probe = logits.gather(1, source[:, None]), logits.gather(1, probe[:, None])
    h = (of_source - of_probe)[:, 0]
    sign = -1.0 if third == "printed" else 1.0
    g = sign * torch.cat([logits - of_source, logits - of_probe], 1)
    hidden = torch.zeros_like(logits, dtype=torch.bool)
    hidden.scatter_(1, source[:, None], True).scatter_(1, probe[:, None], True)
    hidden |= (source == probe)[:, None] | torch.tensor(third == "none", device=hidden.device)
    return h, torch.where(hidden.repeat(1, 2), float("-inf"), g)
