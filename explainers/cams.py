"""Class activation maps: Grad-CAM and its product with guided backpropagation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.base import Subject
from models.copying import private
from models.naming import UsageError, near
from models.stages import CONVOLUTIONS

from .backprop import guided_backprop
from .base import ExplainerError
from .passes import Network, chunks, fingerprint, forward, network, remembered


def gradcam(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, layer: str = "last") -> Tensor:
    """Grad-CAM, (N, 1, H, W), non-negative, enlarged bilinearly to the image.

    Args:
        layer: path of the layer whose output is used; `last` is the last convolution (after a folded batch norm).

    Source: Selvaraju et al. 2017, eq. 1 and 2; Nuzzo 2020, eq. 4.11 and 4.12.
    """

    def compute() -> Tensor:
        return enlarged(coarse_gradcam(subject, images, targets, layer).clamp_min(0), images)

    key = ("gradcam", id(subject), fingerprint(images), fingerprint(targets), layer)
    return remembered(key, (subject, images, targets), compute)


def guided_gradcam(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, layer: str = "last") -> Tensor:
    """Guided backpropagation times the enlarged Grad-CAM map, (N, C, H, W), signed. Source: Selvaraju 2017, section 3.2."""
    cam = gradcam(subject, images, targets, seed=seed, layer=layer)
    return cam * guided_backprop(subject, images, targets, seed=seed)


def enlarged(coarse: Tensor, images: Tensor) -> Tensor:
    """Maps (N, 1, h, w) enlarged bilinearly to the size of the images, (N, 1, H, W)."""
    return F.interpolate(coarse, size=images.shape[2:], mode="bilinear", align_corners=False)


def coarse_gradcam(subject: Subject, images: Tensor, targets: Tensor, layer: str = "last") -> Tensor:
    """sum_k mean_ij(df_c/dA^k_ij) A^k at the layer's own resolution, before the positive part, (N, 1, h, w)."""
    parts = []
    for features, grads in features_and_gradients(subject, images, targets, layer):
        parts.append((grads.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).float())
    return torch.cat(parts)


def features_and_gradients(
    subject: Subject, images: Tensor, targets: Tensor, layer: str, rectified: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Output of a layer and the gradient of the target logit with respect to it, (n, K, h, w) each, chunk by chunk.

    Args:
        rectified: take the output of the ReLU that directly reads a convolution instead, where there is one.

    Raises:
        UsageError: no such layer. ExplainerError: its output has not two spatial axes, or it is not used, or used more than
            once.
    """
    module = network(subject)
    name = last_convolution(subject) if layer == "last" else layer
    model: nn.Module = module.model  # type: ignore[assignment]
    if not _weighs_pixels(_layer(model, name)):
        module = private(module)  # the tap hangs a hook on it
        model = module.model  # type: ignore[assignment]

    def run(net: Network, x: Tensor) -> tuple[_Tap, Tensor]:
        tap = _Tap(model.get_submodule(name), rectified)
        return tap, net(x, tap)

    found = []
    for x, t in chunks(images, targets):
        _, (tap, logits) = forward(subject, module, x, f"features of {name}", run)
        if tap.output is None or tap.output.dim() != 4:
            shape = None if tap.output is None else tuple(tap.output.shape)
            raise ExplainerError(f"gradcam needs a layer with output (N, K, h, w); {name!r} gives {shape}")
        if tap.calls > 1:
            raise ExplainerError(
                f"gradcam: {name!r} is called {tap.calls} times in a pass and has no one output; a map of one call would leave "
                "out what the others see. Name a layer that is called once, such as the one behind: layer=..."
            )
        (grads,) = torch.autograd.grad(logits.gather(1, t[:, None]).sum(), tap.output, retain_graph=True)
        found.append((tap.output.detach(), grads))
    return found


def last_convolution(subject: Subject) -> str:
    """Path of the last convolution executed.

    Raises:
        ExplainerError: the network has none.
    """
    for stage in subject.stages:
        weight = getattr(subject.model.get_submodule(stage.name), "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 4:
            return stage.name
    raise ExplainerError(f"gradcam needs a convolutional layer and {subject.name} has none")


def _layer(model: nn.Module, name: str) -> nn.Module:
    """The part of a network with this path."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        paths = [path for path, _ in model.named_modules()]
        raise UsageError(f"gradcam: the model has no layer {name!r}{near(name, paths)}") from None


def _weighs_pixels(layer: nn.Module) -> bool:
    """Whether a layer is known by its four-dimensional weight, wherever it is called."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 4


RELUS = frozenset({F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6})


class _Tap(TorchFunctionMode):
    """Keeps the output of one layer of a private network, called as a module or through its weight; counts the calls."""

    def __init__(self, layer: nn.Module, rectified: bool = False) -> None:
        super().__init__()
        self.output: Tensor | None = None
        self.calls = 0
        self._rectified, self._handed_on = rectified, None
        self._weight = layer.weight if _weighs_pixels(layer) else None
        self._handle = None if self._weight is not None else layer.register_forward_hook(lambda m, i, o: self._keep(o))

    def _keep(self, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        self.output = output
        self.calls += 1
        self._handed_on = output.clone()
        return self._handed_on

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._rectified and func in RELUS and args and args[0] is self._handed_on:
            self.output = result
            return result
        if (
            self._weight is not None
            and func in CONVOLUTIONS
            and any(v is self._weight for v in (*args, *(kwargs or {}).values()))
        ):
            return self._keep(result)
        return result

    def __exit__(self, *error: Any) -> None:
        if self._handle is not None:
            self._handle.remove()
        super().__exit__(*error)
