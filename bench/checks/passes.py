"""Explanations of one model by one explainer, ready to be compared, with every way to fail kept apart from the rest."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from bench import balance
from bench.limits import explaining
from bench.protocols import Protocol
from models.base import Subject
from models.snapshot import Snapshot

from .base import FAILED
from .normalise import check_sign

if TYPE_CHECKING:
    from explainers import Explainer, Explanation


T = TypeVar("T")


class Violation(RuntimeError):
    """An explainer broke a rule of the house: it changed the model or the images."""


@dataclass(frozen=True)
class Request:
    """What every explainer is asked on one model.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], on the model's device.
        targets: (N,) int64, the explained classes.
        seed: the same for all models of a walk: common random numbers.
        protocol: decides how channels become one map.
        batch_size: images per pass, None for the explainer's own choice.
    """

    images: Tensor
    targets: Tensor
    seed: int
    protocol: Protocol
    batch_size: int | None = None


@dataclass(frozen=True)
class Maps:
    """The maps of one explainer on one model.

    Attributes:
        maps: (N, H, W) float.
        failed: (N,) bool, maps that the explainer itself gave up.
        seconds: wall time of the call; passes shared with other explainers count for the first that asked.
        counterfactual: (N, C, H, W) in [0, 1] of explainers that make one, else None.
        answer: the whole explanation of explainers that search, with the outcome of each search; else None.
        residual: (N,) relative error of the method's own balance, None where it has none.
    """

    maps: Tensor
    failed: Tensor
    seconds: float
    counterfactual: Tensor | None = None
    answer: Explanation | None = None
    residual: Tensor | None = None

    @property
    def outcome(self) -> tuple[str, ...] | None:
        """What came of the search on each image, None for explainers that do not search."""
        return None if self.answer is None else self.answer.outcome


def is_signed(explainer: Explainer, protocol: Protocol) -> bool:
    """Whether the maps that are compared can have both signs under a protocol."""
    return bool(explainer.info.signed) and protocol.reduction != "abs-sum"


def explain(explainer: Explainer, subject: Subject, request: Request) -> Maps:
    """One map per image, reduced over channels as the protocol says.

    Its time includes that of passes which were made ahead of the call and that it is the first one to take.

    Raises:
        ValueError: a map of another size than the image, or a negative value from an explainer that declares none.
        Exception: whatever the explainer raises.
    """
    from explainers.passes import used_ahead

    start = time.perf_counter()
    with explaining(explainer.name):
        result = explainer.explain(
            subject, request.images, targets=request.targets, seed=request.seed, batch_size=request.batch_size
        )
    maps = reduced(result, request.protocol).to(request.images.device)
    expected = (len(request.images), *request.images.shape[2:])
    if tuple(maps.shape) != expected:
        raise ValueError(
            f"explainer {explainer.name!r} gave maps of shape {tuple(maps.shape)}; one map of the size of the image "
            f"per image is expected: {expected}"
        )
    check_sign(maps, is_signed(explainer, request.protocol), explainer.name)
    lost = [status == FAILED for status in result.status]
    balance.note(explainer.name, len(lost), sum(lost), result.residual)
    failed = torch.tensor(lost, dtype=torch.bool, device=maps.device)
    searches = getattr(explainer.info, "anchors", False) and result.outcome is not None
    answer = result if searches else None
    return Maps(
        maps, failed, time.perf_counter() - start + used_ahead(), result.counterfactual, answer, result.residual
    )


def reduced(result: Explanation, protocol: Protocol) -> Tensor:
    """One map per image (N, H, W), channels reduced as a protocol says."""
    with torch.no_grad():
        maps = result.attribution.abs().sum(1) if protocol.reduction == "abs-sum" else result.map("signed")
    return maps.detach()


def described(error: BaseException, stage: int | None = None) -> dict[str, Any]:
    """An exception as it is stored: type, message, traceback as text, and the stage it happened at."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        "stage": stage,
    }


class Guard:
    """Runs explainers on private copies of a model and finds the one that changes it.

    The user's model is never handed out. Where an explainer leaves its copy, or the images, different from before, that
    is its failure, and the next explainer gets a fresh copy.

    Args:
        subject: the trained model.
        request: what is asked; its images are restored if an explainer writes into them.
    """

    def __init__(self, subject: Subject, request: Request) -> None:
        self._subject = subject
        self._request = request
        self._images = request.images.clone()
        self._targets = request.targets.clone()
        self._copy = subject.private_copy()
        self._before = Snapshot(self._copy.model)

    def explain(self, explainer: Explainer) -> Maps:
        """As `explain` on a private copy.

        Raises:
            Violation: the explainer changed the model, the images or the targets.
            Exception: whatever the explainer raises.
        """
        return self.call(explainer.name, partial(explain, explainer))

    def call(self, name: str, ask: Callable[[Subject, Request], T]) -> T:
        """What `ask` gives for a private copy and the request.

        Raises:
            Violation: it changed the model, the images or the targets.
            Exception: whatever it raises.
        """
        try:
            with explaining(name):
                found = ask(self._copy, self._request)
        except Exception:
            self._restore()
            raise
        broken = self._restore()
        if broken:
            raise Violation(
                f"explainer {name!r} changed {' and '.join(broken)}; work on a copy and leave parameters, "
                "buffers, gradients, training mode, requires_grad, hooks and input tensors as they were"
            )
        return found

    def _restore(self) -> list[str]:
        broken = []
        if not self._before.holds(self._copy.model):
            broken.append("the model")
            self._copy = self._subject.private_copy()
        for what, tensor, kept in (
            ("the images", self._request.images, self._images),
            ("the targets", self._request.targets, self._targets),
        ):
            if not torch.equal(tensor, kept):
                broken.append(what)
                tensor.data.copy_(kept)
        return broken
