"""The Generator: a frozen decoder with or without an encoder, and the checks that one has to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..data import ImageSet
from ..naming import UsageError, said
from ..seeds import generator as draw

TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Generator:
    """A generative model, frozen and in eval mode.

    Attributes:
        name: what reports call it.
        latent: number of latent dimensions D.
        shape: (C, H, W) of its images.
        decode: latent points (N, D) -> images (N, C, H, W) in [0, 1], differentiable in z.
        encode: images (N, C, H, W) in [0, 1] -> latent points (N, D), differentiable; None where latent points have to
            be sought by inversion.
        posterior: images -> mean and standard deviation (N, D) each of the encoder's distribution; None where it has
            none.
        module: what holds the weights; None where the user's object is no `nn.Module`.
        spec: JSON-able digests that make it this generator.

    Example:
        >>> import torch
        >>> flat = Generator("flat", 4, (1, 2, 2), decode=lambda z: torch.sigmoid(z).view(-1, 1, 2, 2))
        >>> flat.decode(torch.zeros(3, 4)).shape, flat.encode is None
        (torch.Size([3, 1, 2, 2]), True)
    """

    name: str
    latent: int
    shape: tuple[int, int, int]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor] | None = None
    posterior: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    module: nn.Module | None = field(default=None, repr=False)
    spec: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What makes it this generator, JSON-able, for keys: name, latent size, image size, digests."""
        return {"name": self.name, "latent": self.latent, "shape": list(self.shape), **self.spec}

    def fits(self, data: ImageSet) -> Generator:
        """This generator, after a look at the images it is to draw.

        Raises:
            UsageError: its images have another size than those of the data.
        """
        if tuple(data.shape) != self.shape:
            raise UsageError(
                f"generator {self.name!r} draws images of {_size(self.shape)} and {data.name} has {_size(data.shape)} "
                "(channels x height x width); give a generator of this size, or data of the generator's"
            )
        return self

    def prior(self, count: int, *parts: str | int, base: int = 0) -> Tensor:
        """`count` points (N, D) of the standard normal, seeded by `base` and the named parts of what is drawn."""
        return torch.randn(count, self.latent, generator=draw(base, *parts))


def frozen(module: nn.Module) -> nn.Module:
    """The module itself, in eval mode and without gradients of its parameters."""
    return module.eval().requires_grad_(False)


def conforming(made: Generator, images: Tensor | None = None) -> Generator:
    """The generator with its image size filled in, after checks of shapes, range, NaN, determinism and batches.

    Args:
        made: any generator; `shape` may be (0, 0, 0) where it is not known, `latent` 0 where `encode` says it.
        images: (N, C, H, W) in [0, 1] of the data it belongs to; None takes noise of its own `shape`.

    Raises:
        UsageError: what was found, what is allowed and how to mend it.
    """
    with torch.no_grad():
        if made.encode is not None:
            made = _encoding(made, images)
        if made.latent < 1:
            raise UsageError(
                f"generator {made.name!r} has no encode and does not say how many latent dimensions it has; give it "
                "an integer attribute `latent` of at least 1"
            )
        z = made.prior(4, "conformance")
        drawn = _drawn(made, z)
    found = (int(drawn.shape[1]), int(drawn.shape[2]), int(drawn.shape[3]))
    if made.shape != (0, 0, 0) and made.shape != found:
        raise UsageError(
            f"generator {made.name!r}: decode gave images of {_size(found)}, and {_size(made.shape)} is asked for "
            "(channels x height x width); let both agree"
        )
    _differentiable(made, z)
    return replace(made, shape=found)


def _encoding(made: Generator, images: Tensor | None) -> Generator:
    if images is None:
        shape = made.shape
        if shape == (0, 0, 0):
            if made.latent < 1:
                raise UsageError(
                    f"generator {made.name!r} says neither the size of its images nor of its latent points; give it an "
                    "attribute `shape` = (channels, height, width) or an integer `latent`"
                )
            shape = tuple(_drawn(made, made.prior(4, "conformance")).shape[1:])  # type: ignore[assignment]
        images = torch.rand(4, *shape, generator=draw(0, "conformance", "images"))
    codes = _called(made, "encode", images)
    if codes.dim() != 2 or codes.shape[0] != len(images) or codes.shape[1] < 1:
        raise UsageError(
            f"generator {made.name!r}: encode gave a tensor of shape {tuple(codes.shape)} for {len(images)} images; "
            "(N, D) latent points are needed"
        )
    if made.latent not in (0, codes.shape[1]):
        raise UsageError(
            f"generator {made.name!r}: encode gives {codes.shape[1]} dimensions and `latent` says {made.latent}; "
            "let both agree, or leave `latent` out"
        )
    _steady(made, "encode", images, codes)
    return replace(made, latent=int(codes.shape[1]))


def _drawn(made: Generator, z: Tensor) -> Tensor:
    drawn = _called(made, "decode", z)
    if drawn.dim() != 4 or drawn.shape[0] != len(z) or 0 in drawn.shape:
        raise UsageError(
            f"generator {made.name!r}: decode gave a tensor of shape {tuple(drawn.shape)} for {len(z)} latent points; "
            "(N, C, H, W) images are needed"
        )
    low, high = float(drawn.min()), float(drawn.max())
    if low < 0 or high > 1:
        raise UsageError(
            f"generator {made.name!r}: decode gave values in [{low:.4g}, {high:.4g}]; images in [0, 1] are needed: end "
            "in a sigmoid, or map tanh's [-1, 1] with (y + 1) / 2"
        )
    if float((drawn - drawn[:1]).abs().max()) == 0:
        raise UsageError(
            f"generator {made.name!r}: decode gave the same image for {len(z)} different latent points; it has to "
            "depend on z"
        )
    _steady(made, "decode", z, drawn)
    return drawn


def _called(made: Generator, what: str, given: Tensor) -> Tensor:
    try:
        result = getattr(made, what)(given)
    except Exception as error:
        raise UsageError(
            f"generator {made.name!r}: {what} failed on a tensor of shape {tuple(given.shape)}: {said(error)}"
        ) from error
    if not isinstance(result, Tensor) or not result.is_floating_point():
        kind = str(result.dtype) if isinstance(result, Tensor) else type(result).__name__
        raise UsageError(f"generator {made.name!r}: {what} gave {kind}; a floating-point tensor is needed")
    if not bool(torch.isfinite(result).all()):
        raise UsageError(f"generator {made.name!r}: {what} gave NaN or infinity; check its weights and its input range")
    return result


def _steady(made: Generator, what: str, given: Tensor, first: Tensor) -> None:
    again = _called(made, what, given)
    if again.shape != first.shape or float((again - first).abs().max()) > TOLERANCE:
        raise UsageError(
            f"generator {made.name!r}: {what} gave two results for the same input; it has to be deterministic: call "
            "eval(), return the encoder's mean and not a draw"
        )
    alone = _called(made, what, given[:1])
    if alone.shape != first[:1].shape or float((alone - first[:1]).abs().max()) > TOLERANCE:
        raise UsageError(
            f"generator {made.name!r}: {what} gives another result for an image alone than in a batch of {len(given)}; "
            "use running statistics (eval mode), or a norm over the image only"
        )


def _differentiable(made: Generator, z: Tensor) -> None:
    with torch.enable_grad():
        point = z[:1].clone().requires_grad_(True)
        drawn = made.decode(point)
    if not drawn.requires_grad:
        raise UsageError(
            f"generator {made.name!r}: decode cuts the gradient (no_grad, detach or NumPy inside); it has to be "
            "differentiable in z"
        )
    (slope,) = torch.autograd.grad(drawn.sum(), point, allow_unused=True)
    if slope is None or not bool(torch.isfinite(slope).all()):
        raise UsageError(f"generator {made.name!r}: the gradient of decode with respect to z is missing or not finite")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(value) for value in shape)
