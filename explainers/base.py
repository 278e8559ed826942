"""Explainer and Explanation: one call for every method, checked on the way in and on the way out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import Spec

from . import memory, registry
from .info import Info
from .trajectory import Trajectory, joined

STATUSES = ("ok", "degenerate-zero", "degenerate-constant", "non-finite", "failed")
OUTCOMES = ("converged", "infeasible", "trivial", "failed")
"""How a search for a counterfactual ended: it meets its own goal, it does not, nothing had to be moved, it broke."""
CONTRASTIVE = ("counterfactual", "trajectory", "reconstruction", "latents", "source", "target", "outcome")
"""What an explanation says beside its attribution where it comes with a counterfactual."""


class ExplainerError(RuntimeError):
    """An explainer broke its contract, or cannot explain this network."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an explainer says about a batch of images.

    Attributes:
        attribution: (N, 1|C, H, W) float32; signed or not as `info.signed` says; in the space of images in [0, 1].
        targets: (N,) int64, the explained classes.
        status: per image `ok`, `degenerate-zero`, `degenerate-constant`, `non-finite` or `failed`.
        info: the card of the explainer.
        residual: (N,) relative error of the method's own balance (completeness, conservation), None where it has none.
        counterfactual: (N, C, H, W) in [0, 1] of contrastive explainers, else None.
        trajectory: images on the way to the counterfactual with the probabilities of all classes, else None.
        extra: further tensors or numbers of the method, by name.
        reconstruction: (N, C, H, W) what the generator makes of the image itself, else None.
        latents: (where the search began, where it ended), each (N, ...), else None.
        source: (N,) class that the counterfactual moves away from, else None.
        target: (N,) class that it moves to (the probe), -1 where there is none, else None.
        outcome: per image one of OUTCOMES, None for explainers without a counterfactual.
    """

    attribution: Tensor
    targets: Tensor
    status: tuple[str, ...]
    info: Info
    residual: Tensor | None = None
    counterfactual: Tensor | None = None
    trajectory: Trajectory | None = None
    extra: dict[str, Any] | None = None
    reconstruction: Tensor | None = None
    latents: tuple[Tensor, Tensor] | None = None
    source: Tensor | None = None
    target: Tensor | None = None
    outcome: tuple[str, ...] | None = None

    def map(self, mode: str = "signed") -> Tensor:
        """The attribution as one map per image, (N, H, W).

        Args:
            mode: `signed` (channels reduced as the card says), `abs` (its absolute value), `positive` (negative part 0).
        """
        if mode not in ("signed", "abs", "positive"):
            raise ValueError(f"mode is {mode!r}; allowed are 'signed', 'abs', 'positive'")
        reduced = self.attribution.sum(1) if self.info.channels == "sum" else self.attribution.abs().amax(1)
        return {"signed": reduced, "abs": reduced.abs(), "positive": reduced.clamp_min(0)}[mode]


@dataclass(frozen=True)
class Partial:
    """What an explainer's function may return instead of a tensor: the attribution and what belongs to it."""

    attribution: Tensor
    residual: Tensor | None = None
    counterfactual: Tensor | None = None
    trajectory: Trajectory | None = None
    failed: Tensor | None = None
    extra: dict[str, Any] | None = None
    reconstruction: Tensor | None = None
    latents: tuple[Tensor, Tensor] | None = None
    source: Tensor | None = None
    target: Tensor | None = None
    outcome: tuple[str, ...] | None = None

    @classmethod
    def of(cls, made: Tensor | Partial | Explanation) -> Partial:
        """Whatever an explainer's function returned as a Partial; what it says has failed stays failed."""
        if isinstance(made, Partial):
            return made
        if not isinstance(made, Explanation):
            return cls(made)
        lost = torch.tensor([status == "failed" for status in made.status], dtype=torch.bool)
        failed = lost.to(made.attribution.device) if bool(lost.any()) else None
        beside = {name: getattr(made, name) for name in (*CONTRASTIVE, "residual", "extra")}
        return cls(made.attribution, failed=failed, **beside)


@dataclass(frozen=True)
class Explainer:
    """A resolved explainer: its display name, its card and its specification."""

    name: str
    info: Info
    resolved: Spec

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-able specification with all parameters and versions, for keys of cells."""
        return registry.identity(self.resolved)

    @property
    def cards(self) -> tuple[Info, ...]:
        """Its card and those of the explainers inside it."""
        inner = self.resolved.inner
        return (self.info, *(registry.get(inner).cards if inner is not None else ()))

    def anchored(self, trained: Subject) -> Explainer:
        """This explainer asking other weights the question that it asks the trained network.

        A search for a counterfactual starts from a point, with a residual, between two classes, all found with the help of
        the network. On a network with random layers those of the trained one are kept, and its logits are brought to the
        trained spread, so that only what the network answers differs. Explainers that find nothing beforehand are
        returned as they are.

        Args:
            trained: the network before its weights were changed; must not change while the result is in use.
        """
        if not self.info.anchors:
            return self
        from .contrastive.anchor import Anchored

        return Anchored(self.name, self.info, self.resolved, trained)

    def explain(
        self,
        subject: Subject | nn.Module,
        images: Tensor,
        targets: Tensor | Sequence[int] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> Explanation:
        """Explain one class per image.

        Args:
            subject: a Subject, or a bare module (then images go in as they are).
            images: (N, C, H, W) float in [0, 1].
            targets: (N,) classes; None explains the model's own prediction.
            seed: all randomness of the method comes from it and the image, never from global state.
            batch_size: at most so many images at once.

        Raises:
            ExplainerError: unusable images, targets or batch size; wrong shape of the result, changed input, undeclared negative
                values.
            UnsupportedOperation: the network has an operation the method has no rule for.

        Example:
            >>> import explainers, models
            >>> subject = models.load("fmnist-vgg")
            >>> images, labels = subject.sample(2, seed=0)
            >>> explainers.get("saliency").explain(subject, images).map("abs").shape
            torch.Size([2, 32, 32])
        """
        subject = subject if isinstance(subject, Subject) else _wrapped(subject, images)
        unsuited(self.info, subject)
        images, targets = _checked_input(subject, images, targets)
        if batch_size is not None and batch_size < 1:
            raise ExplainerError(f"batch_size is {batch_size}; at least 1 is needed, or None for all images at once")
        size = batch_size or len(images)
        parts = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            with memory.explaining(subject, batch, self.cards, split=size < len(images)):
                parts.append(self._explain_batch(subject, batch, targets[start : start + size], seed))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def fit(
        self,
        subject: Subject,
        images: Any = None,
        *,
        folder: str = "",
        log: Callable[[str], None] = lambda line: None,
    ) -> Explainer:
        """Fit an amortised explainer to one classifier, unless that was done before.

        Args:
            subject: the classifier; it is not changed.
            images: training images, a tensor (N, C, H, W) or an ImageSet; None takes the subject's own.
            folder: where the fit is kept; empty takes SANITY_BENCH_CACHE or ~/.cache/sanity-bench.
            log: receives progress lines.

        Returns:
            The explainer that uses this fit: itself, or with the parameters that say which images and folder.

        Raises:
            UsageError: this explainer is not fitted beforehand, or the classifier does not suit it.

        Example:
            >>> import explainers, models
            >>> explainers.get("ae-vae").fit(models.load("fmnist-lenet")).name
            'ae-vae'
        """
        from .contrastive.fits import fit

        return fit(self, subject, images, folder=folder, log=log)[0]

    def raw(self, subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor | Partial | Explanation:
        """Call the explainer's function itself, unchecked (combinators build on it)."""
        arguments = dict(self.resolved.params)
        if "seed" in arguments:
            arguments["relevance_seed"] = arguments.pop("seed")
        if self.resolved.inner is not None:
            arguments["inner"] = registry.get(self.resolved.inner)
        result: Tensor | Partial | Explanation = _function(self.info)(subject, images, targets, seed=seed, **arguments)
        return result

    def _explain_batch(self, subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Explanation:
        before = images.clone()
        made = self.raw(subject, images, targets, seed)
        if not torch.equal(before, images):
            raise ExplainerError(
                f"{self.name} changed the images it was given; an explainer must leave its input alone"
            )
        return _checked_output(self, made, images, targets)


def unsuited(info: Info, subject: Subject) -> None:
    """Refuse to explain pixels of sentences, and words of images (ExplainerError); references are asked about both."""
    words = getattr(subject.data, "content", "pixels") == "words"
    if words and info.requires != "words" and info.group not in ("reference", "plugin"):
        raise ExplainerError(f"{info.name} explains pixels, and {subject.name} reads sentences; take word-contrast")
    if info.requires == "words" and not words:
        raise ExplainerError(f"{info.name} explains sentences, and {subject.name} reads images; take text:reviews")


def _function(info: Info) -> Callable[..., Any]:
    plugin = registry.implementation(info.name)
    if plugin is not None:
        return plugin
    module, _, name = info.implementation.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(f"explainers.{module}"), name)
    return function


def _wrapped(module: nn.Module, images: Tensor) -> Subject:
    from models.adapters import from_tensor

    return from_tensor(module, images)


def _checked_input(subject: Subject, images: Tensor, targets: Tensor | Sequence[int] | None) -> tuple[Tensor, Tensor]:
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point() or len(images) == 0:
        what = f"{tuple(images.shape)} {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise ExplainerError(f"images are {what}; a float tensor (N, C, H, W) in [0, 1] with N >= 1 is needed")
    if not bool(torch.isfinite(images).all()):
        raise ExplainerError("images hold NaN or infinity; numbers in [0, 1] are needed")
    images = images.detach().to(subject.device)
    if targets is None:
        return images, subject.predict(images.to(next(subject.model.parameters()).dtype))
    chosen = torch.as_tensor(targets, dtype=torch.int64, device=subject.device)
    if chosen.shape != (len(images),):
        raise ExplainerError(
            f"targets have shape {tuple(chosen.shape)}; one class per image ({len(images)},) is needed"
        )
    if int(chosen.min()) < 0 or int(chosen.max()) >= subject.num_classes:
        raise ExplainerError(
            f"targets span {int(chosen.min())}..{int(chosen.max())}; classes are 0..{subject.num_classes - 1}"
        )
    return images, chosen


def _checked_output(
    explainer: Explainer, made: Tensor | Partial | Explanation, images: Tensor, targets: Tensor
) -> Explanation:
    part = Partial.of(made)
    values = part.attribution
    n, channels, height, width = images.shape
    shapes = ((n, 1, height, width), (n, channels, height, width))
    if not isinstance(values, Tensor) or values.is_complex() or tuple(values.shape) not in shapes:
        what = f"{tuple(values.shape)} {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ExplainerError(f"{explainer.name} returned {what}; ({n}, 1 or {channels}, {height}, {width}) is needed")
    values = values.detach().to(torch.float32)
    if not explainer.info.signed and bool((values < 0).any()):
        raise ExplainerError(
            f"{explainer.name} is declared unsigned and returned values down to {float(values.min()):.3g}"
        )
    status = status_of(values)
    if part.failed is not None:
        status = tuple("failed" if bad else name for bad, name in zip(part.failed.tolist(), status, strict=True))
    if part.counterfactual is not None and part.counterfactual.shape != images.shape:
        raise ExplainerError(
            f"{explainer.name} returned counterfactuals {tuple(part.counterfactual.shape)}; {tuple(images.shape)} is needed"
        )
    if part.outcome is not None and (len(part.outcome) != n or not set(part.outcome) <= set(OUTCOMES)):
        raise ExplainerError(
            f"{explainer.name} returned outcomes {part.outcome}; {n} of {', '.join(OUTCOMES)} are needed"
        )
    beside = {name: getattr(part, name) for name in (*CONTRASTIVE, "residual", "extra")}
    return Explanation(values, targets, status, explainer.info, **beside)


def status_of(values: Tensor) -> tuple[str, ...]:
    """Per image `ok`, `degenerate-zero`, `degenerate-constant` or `non-finite`; values are (N, ...)."""
    flat = values.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    finite = torch.isfinite(flat).all(1)
    return tuple(
        "non-finite" if not f else "degenerate-zero" if lo == hi == 0 else "degenerate-constant" if lo == hi else "ok"
        for f, lo, hi in zip(finite.tolist(), low.tolist(), high.tolist(), strict=True)
    )


def _joined(parts: Sequence[Explanation]) -> Explanation:
    def cat(name: str) -> Tensor | None:
        tensors = [getattr(part, name) for part in parts]
        return None if any(tensor is None for tensor in tensors) else torch.cat(tensors)

    ways = [part.trajectory for part in parts]
    latents = [part.latents for part in parts]
    ends = None if any(pair is None for pair in latents) else [torch.cat(each) for each in zip(*latents, strict=True)]
    return replace(
        parts[0],
        attribution=torch.cat([part.attribution for part in parts]),
        targets=torch.cat([part.targets for part in parts]),
        status=tuple(name for part in parts for name in part.status),
        **{name: cat(name) for name in ("residual", "counterfactual", "reconstruction", "source", "target")},
        trajectory=None if any(way is None for way in ways) else joined([way for way in ways if way is not None]),
        latents=None if ends is None else (ends[0], ends[1]),
        outcome=None if parts[0].outcome is None else tuple(word for part in parts for word in part.outcome or ()),
        extra=None if parts[0].extra is None else {key: _extra(parts, key) for key in parts[0].extra},
    )


def _extra(parts: Sequence[Explanation], key: str) -> Any:
    """A tensor with one row per image is joined; what is not stays a list with one entry per batch."""
    found = [(part.extra or {}).get(key) for part in parts]
    whole = all(isinstance(each, Tensor) and each.dim() and len(each) == len(part.targets)
                for each, part in zip(found, parts, strict=True))  # fmt: skip
    return torch.cat(found) if whole else found
