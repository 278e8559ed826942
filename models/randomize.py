"""Re-initialisation of stages on private copies: cascading, independent, and everything at once.

Every draw has its own generator keyed by (base, subject, layer, seed). So a cascade is nested, the same layer gets the
same weights in every protocol, and no draw depends on the explainer or on the order of the work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Stamp, Subject, stamp
from .copying import private
from .naming import UsageError, near
from .seeds import generator
from .stages import Stage

INITS = ("he", "default", "truncated-normal", "permute")
BATCH_NORMS = ("recalibrate", "keep", "reset")
CALIBRATION_IMAGES = 64


def randomized(
    subject: Subject, stages: Sequence[Stage], *, base: int, seed: int, init: str = "he", batchnorm: str = "recalibrate"
) -> Subject:
    """A private copy of the subject with the given stages re-initialised.

    Args:
        subject: stays untouched.
        stages: any of `subject.stages`.
        base, seed: base seed of the run and index of the draw.
        init: `he` (normal, std sqrt(2 / fan in), zero bias), `default` (uniform, bound 1 / sqrt(fan in), as
            torch's reset_parameters), `truncated-normal` (He, cut at two deviations) or `permute` (own weights shuffled).
        batchnorm: `recalibrate` (gamma 1, beta 0, statistics re-estimated on fixed training images with the new
            weights), `reset` (statistics 0 and 1) or `keep` (affine reset, trained statistics kept).

    Source: Adebayo et al. 2018, section 3.1; He et al. 2015, equation 10.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-vgg")
        >>> other = randomized(subject, subject.stages[:1], base=0, seed=0)
        >>> bool((other.model.fc3.weight != subject.model.fc3.weight).all())
        True
    """
    law = _checked(base, seed, init, batchnorm)
    master, since = private(subject.model), stamp(subject.model)
    for stage in stages:
        _draw(subject, master, stage, law)
    return _drawn(subject, master, since, tuple(stages), law)


@dataclass(frozen=True)
class _Law:
    """How stages are re-drawn; see `randomized`."""

    base: int
    seed: int
    init: str
    batchnorm: str


def _checked(base: int, seed: int, init: str, batchnorm: str) -> _Law:
    for value, allowed, what in ((init, INITS, "init"), (batchnorm, BATCH_NORMS, "batchnorm")):
        if value not in allowed:
            raise UsageError(f"{what} is {value!r}; allowed are {', '.join(allowed)}{near(value, allowed)}")
    return _Law(base, seed, init, batchnorm)


def _drawn(trained: Subject, master: nn.Module, since: Stamp, stages: Sequence[Stage], law: _Law) -> Subject:
    """A private copy of a network in which these stages are re-drawn already; their norms are re-estimated if asked for."""
    model = private(master)
    result = trained.with_weights(model)
    norms = [_norm(model, stage.norm) for stage in stages if stage.norm]
    estimated = bool(norms) and law.batchnorm == "recalibrate"
    if estimated:
        with torch.no_grad():
            _recalibrate(trained, result, norms, stages)
    draws = {stage.name: law for stage in stages if not (stage.norm and estimated)}
    return result.derived(model, trained, frozenset(stage.name for stage in stages), draws, since)


def _draw(trained: Subject, model: nn.Module, stage: Stage, law: _Law) -> None:
    """Re-draw one stage of a network in place, and reset its batch norm."""
    with torch.no_grad():
        draw = generator(law.base, "weights", trained.name, stage.name, law.seed)
        _redraw(model.get_submodule(stage.name), draw, law.init)
        if stage.norm:
            _reset_norm(model, stage.norm, law.batchnorm)


def cascade(
    subject: Subject, *, base: int, seed: int, init: str = "he", batchnorm: str = "recalibrate"
) -> Iterator[tuple[Stage, Subject]]:
    """The subject with its first, first two, ... stages re-initialised, from the output down; see `randomized`."""
    law = _checked(base, seed, init, batchnorm)
    # This network is not handed out: whatever is done to those that are, the next stage starts from it.
    master, since = private(subject.model), stamp(subject.model)
    for count, stage in enumerate(subject.stages, 1):
        _draw(subject, master, stage, law)
        yield stage, _drawn(subject, master, since, subject.stages[:count], law)


def independent(
    subject: Subject, *, base: int, seed: int, init: str = "he", batchnorm: str = "recalibrate"
) -> Iterator[tuple[Stage, Subject]]:
    """The subject with one stage at a time re-initialised, everything else as trained."""
    for stage in subject.stages:
        yield stage, randomized(subject, [stage], base=base, seed=seed, init=init, batchnorm=batchnorm)


def _redraw(layer: nn.Module, draw: torch.Generator, init: str) -> None:
    for _, parameter in sorted(layer.named_parameters()):
        if init == "permute":
            order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
        elif init == "default":
            bound = 1 / math.sqrt(_fan_in(layer))
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=draw))
        elif parameter.dim() < 2:
            parameter.zero_()
        else:
            parameter.copy_(_normal(parameter.shape, draw, init) * math.sqrt(2 / _fan_in(layer)))


def _normal(shape: torch.Size, draw: torch.Generator, init: str) -> Tensor:
    values = torch.empty(shape)
    if init == "truncated-normal":
        return nn.init.trunc_normal_(values, a=-2.0, b=2.0, generator=draw)
    return values.normal_(generator=draw)


def _fan_in(layer: nn.Module) -> int:
    weight = next(p for _, p in sorted(layer.named_parameters(), key=lambda item: -item[1].dim()))
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return int(weight.shape[0] * weight[0, 0].numel() // layer.groups)
    return int(weight[0].numel())


def _norm(model: nn.Module, path: str) -> nn.modules.batchnorm._BatchNorm:
    norm = model.get_submodule(path)
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        raise TypeError(f"{path} is a {type(norm).__name__} and not a batch norm")
    return norm


def _reset_norm(model: nn.Module, path: str, batchnorm: str) -> None:
    norm = _norm(model, path)
    if norm.affine:
        norm.weight.fill_(1.0)
        norm.bias.zero_()
    if batchnorm == "reset":
        norm.reset_running_stats()


def _recalibrate(
    trained: Subject, drawn: Subject, norms: Sequence[nn.modules.batchnorm._BatchNorm], stages: Sequence[Stage]
) -> None:
    """Set the running statistics of these norms to those of the reference images, from the input upward in one pass."""
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    if type(drawn.model).forward is nn.Sequential.forward:
        _run_touched(trained, drawn, {stage.name for stage in stages}, norms)
    else:
        _run_to_last(trained, drawn, stages)
    for norm, (momentum, training) in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.train(training)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.fill_(1)


def _run_touched(trained: Subject, drawn: Subject, layers: set[str], norms: Sequence[nn.Module]) -> None:
    """Run a sequential network from its first changed layer, whose input the trained one has, to its last norm."""
    inputs = _inputs(trained)
    children = _children(drawn.model)
    touched = [at for at, (name, _) in enumerate(children) if any(layer.split(".")[0] == name for layer in layers)]
    last = max(at for at, (_, child) in enumerate(children) if any(module in set(norms) for module in child.modules()))
    x = inputs[children[touched[0]][0]]
    for _, child in children[touched[0] : last + 1]:
        x = child(x.clone())


class _Enough(BaseException):
    """All norms of a pass have run; no handler of a network's own takes it for an error."""


def _run_to_last(trained: Subject, drawn: Subject, stages: Sequence[Stage]) -> None:
    """Run a network until all norms of these stages have run as often as in a whole pass; what is above adds nothing."""
    known: Counter[str] | None = drawn.wiring.get("norm runs")
    ran: Counter[str] = Counter()
    paths = {stage.norm for stage in (drawn.stages if known is None else stages) if stage.norm}
    left = None if known is None else sum(known[path] for path in paths)

    def note(path: str) -> None:
        ran[path] += 1
        if ran.total() == left:
            raise _Enough

    handles = [
        _norm(drawn.model, path).register_forward_hook(lambda *_, path=path: note(path))  # type: ignore[misc]
        for path in sorted(paths)
    ]
    try:
        drawn.module(_reference(trained))
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if known is None:
        drawn.wiring["norm runs"] = ran


def _inputs(trained: Subject) -> dict[str, Tensor]:
    """What each stage's part of a trained sequential network reads on the reference images, computed once."""

    def compute() -> dict[str, Tensor]:
        wanted = {stage.name.split(".")[0] for stage in trained.stages}
        found: dict[str, Tensor] = {}
        x = trained.module.normalised(_reference(trained))
        for name, child in _children(trained.model):
            if name in wanted:
                found[name] = x.clone()
            x = child(x)
        return found

    return trained.kept("inputs", compute)


def _children(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a sequential network as they run: one that stands in two places twice, unlike `named_children`."""
    return [(name, child) for name, child in model._modules.items() if child is not None]


def _reference(subject: Subject) -> Tensor:
    def load() -> Tensor:
        return subject.reference.load(range(min(CALIBRATION_IMAGES, len(subject.reference)))).to(subject.device)

    return subject.kept("reference", load)
