"""The folded network of a copy whose layers are mostly those of another: only what differs is made anew.

Along a cascade a few layers change from stage to stage. The networks made here share the modules of all other layers
with the folded network of the trained model, so that they cost little, and so that one can see, tensor by tensor, what
two of them have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import torch
from torch import Tensor, nn

from .base import Origin, Pipeline, Subject
from .fold import Plan, fold_one, fold_plan, folded, fused, vanishes

_PLAIN = ("torch.nn.modules.", "models.networks.", "torchvision.models.")
"""Containers whose parts are found through their names alone, so that a part can be exchanged under its name."""


_Draws = dict[str, tuple[Hashable, nn.Module]]
"""For a layer the draw that was folded last, and the folded layer."""


def folded_network(
    subject: Subject, dtype: torch.dtype, origin: Origin | None = None, trained: nn.Module | None = None
) -> nn.Module:
    """A module on images in [0, 1] with batch norms folded, parameters without gradients, channels last.

    Args:
        subject: stays untouched. Where it is a copy (`Subject.common`), the result shares modules with the folded network
            of the subject that was copied, so it must not be changed.
        dtype: floating type.
        origin, trained: what `subject.common()` gives and the folded network of `origin.trained`, for those who have them.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-vgg")
        >>> one, other = (folded_network(each, torch.float32) for each in (subject, subject.private_copy()))
        >>> one.model.fc3.weight is other.model.fc3.weight
        True
    """
    origin = origin or subject.common()
    if origin is None:
        return _whole(subject, dtype)
    trained = trained or _whole(origin.trained, dtype)
    if not origin.changed:
        return trained
    return _exchanged(trained, subject, origin, fold_plan(subject), dtype) or _built(subject, dtype)


def _whole(subject: Subject, dtype: torch.dtype) -> Pipeline:
    """The network of a subject that is no copy, kept while its weights stay as they are."""
    return subject.kept(f"folded network, {dtype}", lambda: _built(subject, dtype))


def _built(subject: Subject, dtype: torch.dtype) -> Pipeline:
    copy = folded(subject, dtype).module.to(dtype)
    return copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _exchanged(
    trained: nn.Module, subject: Subject, origin: Origin, plan: Plan, dtype: torch.dtype
) -> nn.Module | None:
    """The trained network with the changed layers exchanged; None where that cannot be done by name."""
    norms = {stage.norm for stage in subject.stages if stage.name in origin.changed and stage.norm}
    pairs = [(layer, norm, remove) for layer, norm, remove in plan if layer in origin.changed or norm in norms]
    paths = {*origin.changed, *norms, *(path for layer, norm, _ in pairs for path in (layer, norm))}
    if not paths <= _exchangeable(subject):
        return None
    model = _skeleton(trained.get_submodule("model"), paths)
    layers = {path: subject.model.get_submodule(path) for path in paths}
    gone = {
        layer: norm
        for layer, norm, remove in pairs
        if remove and vanishes(layers[norm]) and layers[layer]._parameters.keys() == {"weight", "bias"}
    }
    kept: _Draws = origin.trained.kept(f"folded draws, {dtype}", dict) if origin.draws else {}

    def folds(layer: str, norm: str) -> nn.Module:
        draw = origin.draws.get(layer)
        known, made = kept.get(layer, (None, None))
        if draw is None or made is None or known != draw:
            made = _joined(layers[layer], layers[norm], dtype)
            if draw is not None:
                kept[layer] = (draw, made)
        return made

    with torch.no_grad():
        for path in paths - gone.keys() - set(gone.values()):
            _place(model, path, _read_only(layers[path], dtype))
        for layer, norm in gone.items():
            _place(model, layer, folds(layer, norm))
            _place(model, norm, nn.Identity())
        for layer, norm, remove in pairs:
            if layer not in gone:
                fold_one(model, layer, norm, remove=remove)
        for path in paths - gone.keys():
            model.get_submodule(path).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pipeline = _shell(trained)
    pipeline._modules["model"] = model
    return pipeline


def _place(model: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    model.get_submodule(parent)._modules[name] = part


def _joined(layer: nn.Module, norm: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A layer with the batch norm after it folded in, channels last."""
    if layer.weight.dtype != dtype or norm.running_mean.dtype != dtype:
        layer, norm = _read_only(layer, dtype), _read_only(norm, dtype)
    made, (weight, bias) = _shell(layer), fused(layer, norm)
    if weight.dim() == 4:
        weight.data = weight.data.to(memory_format=torch.channels_last)
    made.__dict__["_parameters"] = {"weight": weight, "bias": bias}
    return made


def _exchangeable(subject: Subject) -> frozenset[str]:
    """Paths of the layers that stand there only, below containers that reach them by name; found once per architecture."""
    if "exchangeable" not in subject.wiring:
        model = subject.model
        modules = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
        tensors = Counter(id(tensor) for _, tensor in model.named_parameters(remove_duplicate=False))

        def alone(path: str, part: nn.Module) -> bool:
            names = path.split(".")
            holders = [model.get_submodule(".".join(names[:depth])) for depth in range(len(names))]
            plain = all(type(holder).__module__.startswith(_PLAIN) for holder in holders)
            once = all(modules[id(module)] == 1 for module in (*holders, part))
            return plain and once and all(tensors[id(parameter)] == 1 for parameter in part.parameters())

        leaves = ((path, part) for path, part in model.named_modules() if path and not part._modules)
        subject.wiring["exchangeable"] = frozenset(path for path, part in leaves if alone(path, part))
    found: frozenset[str] = subject.wiring["exchangeable"]
    return found


def _read_only(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A layer without parts of its own whose weights stand in the memory of another's; folding replaces those.

    Vectors are copied, since folding may write into those of a batch norm.
    """

    def read(value: Tensor) -> Tensor:
        own = value.detach().to(dtype) if value.is_floating_point() else value.detach()
        return own.clone() if value.dim() < 2 else own

    made = _shell(part)
    made.__dict__["_parameters"] = {
        name: value if value is None else nn.Parameter(read(value), requires_grad=False)
        for name, value in part._parameters.items()
    }
    made.__dict__["_buffers"] = {name: value if value is None else read(value) for name, value in part._buffers.items()}
    return made


def _skeleton(model: nn.Module, paths: set[str]) -> nn.Module:
    """A module that shares everything with `model` except the containers on the way to these paths."""
    made = _shell(model)
    heads = {path.split(".")[0] for path in paths if "." in path}
    for head in heads:
        below = {path.split(".", 1)[1] for path in paths if path.startswith(f"{head}.")}
        made._modules[head] = _skeleton(model.get_submodule(head), below)
    return made


def _shell(module: nn.Module) -> nn.Module:
    """Another module object with the same parts."""
    made = module.__class__.__new__(module.__class__)
    made.__dict__.update(module.__dict__)
    made.__dict__["_modules"] = dict(module._modules)
    return made
