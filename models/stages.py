"""Stages of a network: its Conv/Linear layers in execution order, each with the batch norm that directly follows.

The order is read from one forward pass, by recognising parameters where they are used. So functional calls, shared
modules and modules registered in another order come out right, and no hook is placed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .naming import UsageError

CONVOLUTIONS = frozenset(
    getattr(space, name)
    for space in (F, torch)
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
)
LAYERS = CONVOLUTIONS | {F.linear, torch._C._nn.linear}
BATCH_NORMS = frozenset({F.batch_norm, torch.batch_norm})


@dataclass(frozen=True)
class Stage:
    """One Conv/Linear layer and the batch norm that directly follows it.

    Attributes:
        index: 1 is the layer nearest the output.
        name: path of the layer in the model, for example `fc3`.
        norm: path of the batch norm, or None.
    """

    index: int
    name: str
    norm: str | None


class _Recorder(TorchFunctionMode):
    """Notes every use of a known weight, and which batch norm reads a layer's output."""

    def __init__(self, weights: dict[int, str], norms: dict[int, str]) -> None:
        super().__init__()
        self.weights, self.norms = weights, norms
        self.order: list[str] = []
        self.followed: dict[str, str] = {}
        self._outputs: dict[int, tuple[str, Tensor]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in BATCH_NORMS:
            self._norm(args, kwargs)
        result = func(*args, **kwargs)
        used = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and id(v) in self.weights]
        if used and (func in LAYERS or func is F.multi_head_attention_forward):
            for weight in used:
                name = self.weights[id(weight)]
                if name not in self.order:
                    self.order.append(name)
                if isinstance(result, Tensor):
                    self._outputs[id(result)] = (name, result)
        return result

    def _norm(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        source = args[0] if args else kwargs.get("input")
        made_by = self._outputs.get(id(source))
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and id(value) in self.norms and made_by:
                self.followed.setdefault(made_by[0], self.norms[id(value)])


def trace_stages(model: nn.Module, run: nn.Module, example: Tensor) -> tuple[Stage, ...]:
    """The stages of a model, output layer first.

    Args:
        model: the network whose layers are named.
        run: module that calls it (with its normalisation) on `example`.
        example: (1, C, H, W) image in [0, 1].

    Raises:
        UsageError: the forward pass uses no Conv or Linear layer.
    """
    weights: dict[int, str] = {}
    norms: dict[int, str] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight, module.running_mean):
                if tensor is not None:
                    norms[id(tensor)] = name
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            weights[id(module.in_proj_weight)] = name
        elif isinstance(weight, Tensor) and weight.dim() >= 2:
            weights.setdefault(id(weight), name)
    with torch.no_grad(), _Recorder(weights, norms) as recorder:
        run(example)
    if not recorder.order:
        raise UsageError(
            f"the model {type(model).__name__} uses no convolution or linear layer in its forward pass, so there is no "
            "stage to randomise; give a model with at least one nn.Conv or nn.Linear"
        )
    order = reversed(recorder.order)
    return tuple(Stage(index, name, recorder.followed.get(name)) for index, name in enumerate(order, 1))
