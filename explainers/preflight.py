"""Pre-flight of a model: its operations in execution order, and which explainers are right on it.

The operations are read from one forward pass below the level of modules, so functional, re-used and in-place calls count
as what they are. Whether an explainer has a rule for every operation is found by running it on one image.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.base import Subject
from models.naming import UsageError, said
from models.stages import Stage

from . import registry
from .base import ExplainerError, unsuited
from .cards import WORD_CARDS
from .engine import UnsupportedOperation, operation, site, tensors_in

ACTIVATIONS = frozenset(
    "relu relu6 hardtanh leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish softplus sigmoid hardsigmoid tanh "
    "softmax log_softmax threshold clamp clamp_min maximum".split()
)
HOOKABLE = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax)
CUT = "the logits have no gradient: the model's forward runs under torch.no_grad, or detaches what it computes"
POOLS = frozenset("max_pool1d max_pool2d max_pool3d".split())


@dataclass(frozen=True)
class Activation:
    """One activation of the forward pass: what it is, where it is called, whether through a module of torch."""

    operation: str
    site: str
    module: str
    inplace: bool
    shared_input: bool
    before_pooling: bool


@dataclass(frozen=True)
class Layer:
    """One call of a layer: its path in the model and its type. A module that calls others of its own is no layer."""

    path: str
    type: str


@dataclass(frozen=True)
class Validity:
    """Whether an explainer is right on this model, and if not why."""

    explainer: str
    valid: bool
    reason: str


@dataclass(frozen=True)
class Preflight:
    """What `bench inspect` says of a model.

    Attributes:
        subject: its name.
        layers: every call of a layer, in order of execution; one that is used twice stands there twice.
        operations: name and number of calls, in order of first use.
        stages: layers that a randomisation re-initialises, output first.
        activations: every activation in execution order.
        explainers: validity of every explainer of the registry.
        hooks: which hook-based methods of captum would be wrong here, and how; silently unless it says that they raise.
    """

    subject: str
    layers: tuple[Layer, ...]
    operations: tuple[tuple[str, int], ...]
    stages: tuple[Stage, ...]
    activations: tuple[Activation, ...]
    explainers: tuple[Validity, ...]
    hooks: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    def text(self) -> str:
        """The same for people, a screen or two."""
        lines = [f"model {self.subject}", "", "stages, output first (layer + batch norm):"]
        lines += [
            f"  {stage.index:3d}  {stage.name}{' + ' + stage.norm if stage.norm else ''}" for stage in self.stages
        ]
        called = ", ".join(f"{layer.path or '(model)'} {layer.type}" for layer in self.layers)
        lines += [
            "",
            f"layers in order of execution ({len(self.layers)}):",
            *textwrap.wrap(called, 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False),
            "",
            "operations: " + ", ".join(f"{name} x{count}" for name, count in self.operations),
            "",
            "activations:",
        ]
        kinds = Counter((a.operation, "module" if a.module else "function", a.inplace) for a in self.activations)
        lines += [
            f"  {n} x {name} by {how}{', in place' if inplace else ''}" for (name, how, inplace), n in kinds.items()
        ]
        places = sorted({f"{a.operation} at {a.site}" for a in self.activations if not a.module})
        lines += [f"  {place}" for place in places[:12]]
        good = [each.explainer for each in self.explainers if each.valid]
        lines += ["", f"valid explainers ({len(good)}): " + ", ".join(good)]
        lines += [f"  not valid: {each.explainer}: {each.reason}" for each in self.explainers if not each.valid]
        lines += ["", "hook-based methods of captum on this model:"]
        lines += [f"  {line}" for line in self.hooks] or ["  none would be wrong for a reason that is checked here"]
        return "\n".join(lines)


def inspect(subject: Subject) -> Preflight:
    """Look at a model before anything is run on it.

    Example:
        >>> import models
        >>> found = inspect(models.load("fmnist-vgg-functional"))
        >>> any("guided" in line.lower() for line in found.hooks)
        True
    """
    images = subject.data.load([0]).to(subject.device)
    recorder, calls = _record(subject.private_copy(), images)
    activations = tuple(recorder.activations)
    return Preflight(
        subject.name,
        tuple(recorder.layers),
        tuple(recorder.operations.items()),
        subject.stages,
        activations,
        tuple(_validity(subject, images, name, recorder.cut) for name in (*registry.names(), *WORD_CARDS)),
        tuple(_hook_faults(activations, calls, recorder)),
    )


def _record(private: Subject, images: Tensor) -> tuple[_Recorder, Counter[str]]:
    """One recorded forward pass on a private copy, with the number of calls of every activation module."""
    calls: Counter[str] = Counter()
    recorder = _Recorder()

    def entering(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            calls[name] += 1
            recorder.module = name

        return hook

    for name, module in private.model.named_modules():
        if isinstance(module, (*HOOKABLE, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)) or _is_activation(module):
            module.register_forward_pre_hook(entering(name))
            module.register_forward_hook(lambda m, i, o: recorder.leave())
        module.register_forward_pre_hook(partial(recorder.enter, name), with_kwargs=True)
        module.register_forward_hook(lambda m, i, o: recorder.close())
    module = private.module
    try:
        with torch.enable_grad(), recorder:
            recorder.cut = not module(images.clone().requires_grad_(True)).requires_grad
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"model {private.name!r} fails as soon as gradients are recorded: {said(error)}; let its forward run with and "
            "without torch.no_grad()"
        ) from error
    return recorder, calls


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.activation"


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.activations: list[Activation] = []
        self.layers: list[Layer] = []
        self._open: list[int] = []
        self.overlapping = False
        self.module = ""
        self._readers: Counter[int] = Counter()
        self._inputs: list[int] = []
        self._outputs: dict[int, int] = {}
        self._held: list[Any] = []
        self.cut = False

    def leave(self) -> None:
        self.module = ""

    def enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Note that a module is called; fits `register_forward_pre_hook` behind its path."""
        self._open.append(len(self.layers))
        self.layers.append(Layer(path, type(module).__name__))

    def close(self) -> None:
        """Note that it is done; where it called other modules, those are the layers."""
        place = self._open.pop()
        if len(self.layers) > place + 1:
            del self.layers[place]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [t for t in tensors_in(args, kwargs) if t.requires_grad]
        ids = [id(t) for t in inputs]
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor | tuple | list) or not inputs:
            return result
        name, inplace = operation(func)
        self._held += [inputs, result]
        self.operations[name] += 1
        self._readers.update(ids)
        if name in POOLS:
            self._pool(name, ids, args, kwargs)
        if name in ACTIVATIONS:
            flagged = inplace or bool(kwargs.get("inplace"))
            self.activations.append(Activation(name, site(), self.module, flagged, False, False))
            self._inputs.append(ids[0])
            self._outputs[id(result)] = len(self.activations) - 1
        return result

    def _pool(self, name: str, ids: list[int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        size = args[1] if len(args) > 1 else kwargs.get("kernel_size")
        stride = args[2] if len(args) > 2 else kwargs.get("stride")
        self.overlapping |= bool(stride) and stride != size and size is not None
        before = self._outputs.get(ids[0])
        if before is not None:
            self.activations[before] = replace(self.activations[before], before_pooling=True)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.activations = [
            replace(a, shared_input=self._readers[source] > 1 and not a.inplace)
            for a, source in zip(self.activations, self._inputs, strict=True)
        ]
        self._held.clear()


def _validity(subject: Subject, images: Tensor, name: str, cut: bool) -> Validity:
    """Whether an explainer is right on one image; `cut`: the logits have no gradient although the image wants one."""
    info = registry.card(name)
    try:
        unsuited(info, subject)
    except ExplainerError as error:
        return Validity(name, False, str(error))
    if info.requires in ("any", "words") and getattr(subject.data, "content", "") == "words":
        return Validity(name, True, "")
    if info.requires == "evidence" and subject.evidence is None:
        return Validity(name, False, "its data have no planted evidence")
    if info.requires == "any" and "generator" in info.params:
        return _drawable(subject, images, name)
    if info.requires == "any" and not (cut and info.origin == "built-in"):
        return Validity(name, True, "")
    try:
        found = registry.get(name).explain(subject, images)
    except (UnsupportedOperation, ExplainerError, UsageError) as error:
        return Validity(name, False, str(error).splitlines()[0])
    except (Exception, SystemExit) as error:  # an explainer of the user's own may raise anything
        return Validity(name, False, CUT if cut and isinstance(error, RuntimeError) else said(error))
    if found.status[0] == "failed":
        residual = float(found.residual[0]) if found.residual is not None else float("nan")
        return Validity(name, False, f"its balance misses by {residual:.2%} on the first image")
    return Validity(name, True, "")


def _drawable(subject: Subject, images: Tensor, name: str) -> Validity:
    """Whether there is a generator for the images; the search itself is not tried."""
    from .contrastive.start import generator_for

    try:
        generator_for(subject, str(registry.card(name).params["generator"]), images)
    except ExplainerError as error:
        return Validity(name, False, str(error).splitlines()[0])
    return Validity(name, True, "")


def _hook_faults(activations: Sequence[Activation], calls: Counter[str], recorder: _Recorder) -> list[str]:
    relus = [a for a in activations if a.operation == "relu"]
    loose = [a for a in relus if not a.module]
    faults = []
    if loose:
        share = "equals the plain gradient" if len(loose) == len(relus) else "is a mixture with the plain gradient"
        faults.append(
            f"GuidedBackprop, Deconvolution: {len(loose)} of {len(relus)} ReLUs are not nn.ReLU modules, no hook sees "
            f"them: the map silently {share} (first at {loose[0].site})"
        )
        faults.append(f"DeepLift, DeepLiftShap: {len(loose)} ReLUs silently keep the plain gradient: not complete")
    shared = [a for a in relus if a.shared_input and a.module]
    if shared:
        faults.append(
            f"GuidedBackprop, Deconvolution: the input of {len(shared)} ReLUs has a second reader; the hook silently "
            f"replaces the gradient of both (first at {shared[0].site})"
        )
    other = sorted({a.operation for a in activations if a.operation not in ("relu", "softmax", "log_softmax")})
    if other:
        faults.append(f"GuidedBackprop, Deconvolution, DeepLift: {', '.join(other)} silently keep the plain gradient")
    reused = sorted(name for name, count in calls.items() if count > 1)
    if reused:
        faults.append(f"DeepLift, LRP: modules called more than once raise an error: {', '.join(reused[:5])}")
    if any(a.before_pooling and a.module for a in relus):
        faults.append("DeepLift, DeepLiftShap: ReLU directly before max-pooling is silently wrong in captum 0.9")
    if recorder.overlapping:
        faults.append("DeepLift, DeepLiftShap: overlapping max-pooling windows are silently not complete")
    return faults
