"""Moves in a latent space, compared at equal length: how much likelier a class gets on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Path:
    """One straight move per image.

    Attributes:
        begun, ended: (n, ...) latent points.
    """

    begun: Tensor
    ended: Tensor

    @property
    def length(self) -> Tensor:
        """Euclidean length of each move, (n,) in latent units."""
        return (self.ended - self.begun).flatten(1).norm(dim=1)

    def at(self, length: Tensor) -> Tensor:
        """The points at these lengths from the beginnings, (n, ...).

        Args:
            length: (n,), at most that of the move; a move of length 0 stays where it is.

        Example:
            >>> path = Path(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
            >>> path.at(torch.tensor([2.5])).tolist()
            [[1.5, 2.0]]
        """
        own = self.length
        share = torch.where(own > 0, length / own.clamp_min(1e-12), 0.0)
        return torch.lerp(self.begun, self.ended, share.view(-1, *[1] * (self.begun.dim() - 1)))


def astray(path: Path, draws: Sequence[torch.Generator]) -> Path:
    """Moves from the same points, as long, each in a direction drawn at random.

    Args:
        path: n moves.
        draws: one generator per move.

    Example:
        >>> path = Path(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        >>> round(float(astray(path, [torch.Generator()]).length[0]), 4)
        5.0
    """
    drawn = [torch.randn(path.begun.shape[1:], generator=draw) for draw in draws]
    directions = torch.stack(drawn).to(path.begun)
    lengths = path.length / directions.flatten(1).norm(dim=1)
    return Path(path.begun, path.begun + directions * lengths.view(-1, *[1] * (path.begun.dim() - 1)))


def compared(own: Path, other: Path, random: Path, draw: Draw, gain: Draw) -> dict[str, Tensor]:
    """What two moves of the same images gain at the end of the shorter one.

    A search that never meets its goal goes on and on: at its end it is far away, and what is gained there says more of the
    distance than of the direction. Both moves are therefore looked at where the shorter one ends.

    Args:
        own, other: moves in the latent space of one generator.
        random: moves as long as the own ones that lead anywhere, see `astray`.
        draw: latent points (n, ...) -> images.
        gain: images -> (n,) what is gained against the original images.

    Returns:
        (n,) each, NaN where either move has no length: `gain-end` of the whole own move, `gain-random` of the random one as
        long, `gain-per-distance` of the own one over its length, `gain-equal` of the own and `gain-equal-reference` of the
        other move at the common length, and `equal-share`, that length over the own one.
    """
    length = torch.minimum(own.length, other.length)
    moved, end = length > 0, gain(draw(own.ended))
    found = {
        "gain-end": end,
        "gain-random": gain(draw(random.ended)),
        "gain-per-distance": end / own.length,
        "gain-equal": gain(draw(own.at(length))),
        "gain-equal-reference": gain(draw(other.at(length))),
        "equal-share": length / own.length,
    }
    return {name: torch.where(moved, value.double(), float("nan")) for name, value in found.items()}
