"""Grad-CAM++, its product with guided backpropagation, and CAM itself for networks that pool globally before one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.base import Subject

from .backprop import guided_backprop
from .base import ExplainerError
from .cams import enlarged, features_and_gradients
from .engine import operation
from .passes import chunks, fingerprint, network, precision, remembered

GLOBAL_MEANS = frozenset({"mean", "adaptive_avg_pool2d", "avg_pool2d"})


def gradcam_plus(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, layer: str = "last") -> Tensor:
    """Grad-CAM++, (N, 1, H, W), non-negative, enlarged bilinearly to the image.

    Args:
        layer: path of the layer whose output is used; `last` is the last convolution. Where a ReLU reads the layer
            directly its output is used, as in the paper; of any other output the positive part.

    Source: Chattopadhay et al. 2018, eq. 6, 7 and 19 (not the binary toy case that Nuzzo 2020 prints as eq. 4.14), up to
    the factor exp(logit) of every image.
    """

    def compute() -> Tensor:
        return enlarged(coarse_gradcam_plus(subject, images, targets, layer), images)

    key = ("gradcam++", id(subject), fingerprint(images), fingerprint(targets), layer)
    return remembered(key, (subject, images, targets), compute)


def guided_gradcam_plus(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, layer: str = "last") -> Tensor:
    """Guided backpropagation times the enlarged Grad-CAM++ map, (N, C, H, W), signed. Source: Chattopadhay 2018, section 3."""
    cam = gradcam_plus(subject, images, targets, seed=seed, layer=layer)
    return cam * guided_backprop(subject, images, targets, seed=seed)


def coarse_gradcam_plus(subject: Subject, images: Tensor, targets: Tensor, layer: str = "last") -> Tensor:
    """Grad-CAM++ at the layer's own resolution, (N, 1, h, w), non-negative."""
    parts = []
    for features, grads in features_and_gradients(subject, images, targets, layer, rectified=True):
        features = features.clamp_min(0)
        weights = plus_weights(features, grads)[:, :, None, None]
        parts.append((weights * features).sum(1, keepdim=True).float())
    return torch.cat(parts)


def plus_weights(features: Tensor, grads: Tensor) -> Tensor:
    """w_k = sum_ij a_ij max(g_ij, 0) with a_ij = g^2 / (2 g^2 + g^3 sum_ab A_ab), (N, K), non-negative.

    Args:
        features: A, (N, K, h, w), non-negative.
        grads: g = dS_c/dA, (N, K, h, w).

    Source: Chattopadhay et al. 2018, eq. 6 and 19; g^2 is cancelled, so that small gradients do not underflow.
    """
    positive = grads.clamp_min(0)
    return (positive / (2 + positive * features.sum((2, 3), keepdim=True))).sum((2, 3))


def cam(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Class activation map sum_k W_ck A^k of a network that ends in global average pooling and one linear layer.

    (N, 1, H, W), signed, logits per position (their mean plus the bias is the logit before enlarging), bilinear.

    Raises:
        ExplainerError: the network ends otherwise.

    Source: Zhou et al. 2016, eq. 2.
    """
    return enlarged(coarse_cam(subject, images, targets), images)


def coarse_cam(subject: Subject, images: Tensor, targets: Tensor) -> Tensor:
    """CAM at the resolution of the pooled feature maps, (N, 1, h, w)."""
    module = network(subject)
    parts = []
    for x, t in chunks(images, targets):
        with torch.no_grad(), _Head() as head:
            logits = module(x.to(precision(module)))
        features, weight = head.checked(logits, subject.name)
        parts.append(torch.einsum("nk,nkhw->nhw", weight[t], features)[:, None].float())
    return torch.cat(parts)


class _Head(TorchFunctionMode):
    """Notes the feature maps that are pooled globally, and the last linear layer's input, weights and output."""

    def __init__(self) -> None:
        super().__init__()
        self._pooled: list[Tensor] = []
        self._linear: tuple[Tensor, Tensor, Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = operation(func)[0]
        x = args[0] if args else kwargs.get("input")
        if name in GLOBAL_MEANS and isinstance(x, Tensor) and x.dim() == 4 and result.numel() == x.shape[:2].numel():
            self._pooled.append(x)
        if name == "linear":
            self._linear = x, args[1] if len(args) > 1 else kwargs["weight"], result
        return result

    def checked(self, logits: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Feature maps (N, K, h, w) and weights (classes, K) of the head.

        Raises:
            ExplainerError: the logits are not a linear layer of spatial means of feature maps.
        """
        if self._linear is not None and self._pooled:
            (x, weight, result), features = self._linear, self._pooled[-1]
            means = features.mean((2, 3))
            scale = float(means.abs().max()) + 1e-12
            same = x.shape == means.shape and float((x - means).abs().max()) <= 1e-4 * scale
            if same and result.shape == logits.shape and torch.equal(result, logits):
                return features, weight
        raise ExplainerError(
            f"cam needs a network that ends in global average pooling and one linear layer, which {name} does not; "
            "use gradcam, its generalisation"
        )
