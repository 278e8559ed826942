"""The Subject: a model under test with its preprocessing, images, class names and ordered stages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .architecture import architecture_digest
from .copying import private
from .data import ImageSet
from .naming import UsageError
from .seeds import generator
from .stages import Stage, trace_stages
from .transfer import chunks

T = TypeVar("T")

Stamp = tuple[tuple[int, int], ...]
"""Memory and version of every tensor of a network."""
LIBRARY = ("zoo", "torchvision")
"""Kinds of subjects whose name tells their architecture."""


class Pipeline(nn.Module):
    """Normalisation and model as one module that takes images in [0, 1].

    Attributions are taken through this module, so they live in the space of the image.
    """

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float], output: str = "logits") -> None:
        super().__init__()
        self.model = model
        self.output = output
        self.identity = all(value == 0 for value in mean) and all(value == 1 for value in std)
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1))

    def normalised(self, images: Tensor) -> Tensor:
        """What the model takes, from images (N, C, H, W) in [0, 1]."""
        return images if self.identity else (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in [0, 1]; log-probabilities where the model gives probabilities."""
        y: Tensor = self.model(self.normalised(images))
        return torch.log(y.clamp_min(1e-30)) if self.output == "probability" else y


@dataclass(frozen=True)
class Origin:
    """What a copy of a subject has in common with it.

    Attributes:
        trained: the subject that was copied.
        changed: paths of the layers whose parameters, or whose batch norm, are no longer those of `trained`.
        draws: for some of the changed layers what determines, with `trained`, their weights and those of their batch norm:
            copies with the same draw of a layer have the same layer.
        stamps: memory and version of every tensor of the copy and of `trained` when that was so.
    """

    trained: Subject
    changed: frozenset[str]
    draws: Mapping[str, Hashable]
    stamps: tuple[Stamp, Stamp]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under test and everything needed to question it.

    Attributes:
        name: what reports call it.
        model: the network as the user wrote it, in eval mode; takes normalised images.
        data: the images to explain.
        reference: training images (or other fixed images) on which batch-norm statistics are re-estimated.
        mean, std: per channel normalisation of images in [0, 1].
        output: `logits` or `probability`.
        dtype: floating type in which explainers run.
        evidence: on planted data (images, targets) -> masks (N, 1, H, W) of the evidence, else None.
        spec: JSON-able description of where it comes from.
        wiring: what was found out about the architecture, shared by all subjects of the same one.
        origin: for a copy, what it has in common with the subject it was made from; see `common`.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-vgg")
        >>> images, labels = subject.sample(4, seed=0)
        >>> subject.logits(images).shape, subject.stages[0].name
        (torch.Size([4, 10]), 'fc3')
    """

    name: str
    model: nn.Module
    data: ImageSet
    reference: ImageSet
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    output: str = "logits"
    dtype: torch.dtype = torch.float32
    evidence: Callable[[Tensor, Tensor], Tensor] | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    wiring: dict[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = field(default=None, repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class of the data; classes of the model beyond them are numbered."""
        known = self.data.class_names
        return known + tuple(str(index) for index in range(len(known), self.num_classes))

    @cached_property
    def module(self) -> Pipeline:
        """Normalisation and model as one module on images in [0, 1]."""
        return Pipeline(self.model, self.mean, self.std, self.output).to(next(self.model.parameters()).device)

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        if "classes" not in self.wiring:
            self.wiring["classes"] = int(self.predict_logits(self.data.load([0])).shape[1])
        return int(self.wiring["classes"])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Conv/Linear layers with the batch norm that directly follows, output layer first, as executed."""
        if "stages" not in self.wiring:
            self.wiring["stages"] = trace_stages(self.model, self.module, self.data.load([0]).to(self.device))
        found: tuple[Stage, ...] = self.wiring["stages"]
        return found

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    def logits(self, images: Tensor) -> Tensor:
        """Differentiable logits (N, K) of images (N, C, H, W) in [0, 1]."""
        result: Tensor = self.module(images)
        return result

    def predict_logits(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Logits (N, K) without a graph, in batches."""
        with torch.no_grad():
            parts = [self.module(chunk) for chunk in chunks(images, batch_size, self.device)]
        return torch.cat(parts)

    def predict(self, images: Tensor) -> Tensor:
        """The most likely class of each image, (N,) int64."""
        return self.predict_logits(images).argmax(1)

    def select(self, count: int, seed: int = 0) -> list[int]:
        """Indices of `count` images, drawn without replacement; a smaller count is a prefix of a larger one."""
        if not 1 <= count <= len(self.data):
            raise UsageError(
                f"{count} images asked for; {self.data.name} has {len(self.data):,}: choose 1 to {len(self.data):,}"
            )
        order = torch.randperm(len(self.data), generator=generator(seed, "images", self.data.name))
        return [int(index) for index in order[:count]]

    def sample(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """`count` images (n, C, H, W) float32 in [0, 1] and their labels (n,) int64."""
        chosen = self.select(count, seed)
        return self.data.load(chosen), torch.from_numpy(self.data.labels[chosen])

    def with_model(self, model: nn.Module) -> Subject:
        """The same subject around another network of the same interface."""
        return replace(self, model=model, wiring={}, origin=None)

    def with_weights(self, model: nn.Module) -> Subject:
        """The same subject around the same architecture with other weights: what is known of its wiring stays known."""
        return replace(self, model=model, origin=None)

    def private_copy(self) -> Subject:
        """The same subject around a deep copy of the network, free to be changed."""
        shared = self.common()
        if shared is None:
            return self.derived(private(self.model), self, frozenset())
        return self.derived(private(self.model), shared.trained, shared.changed, shared.draws)

    def derived(
        self,
        model: nn.Module,
        trained: Subject,
        changed: frozenset[str],
        draws: Mapping[str, Hashable] | None = None,
        since: Stamp | None = None,
    ) -> Subject:
        """The same subject around another network, of which it is known what it has in common with a trained one.

        Args:
            model, trained, changed, draws: see `Origin`.
            since: `stamp(trained.model)` when it was copied; None for now.
        """
        stamps = (stamp(model), since or stamp(trained.model))
        return replace(self, model=model, origin=Origin(trained, changed, draws or {}, stamps))

    def common(self) -> Origin | None:
        """What this copy has in common with the subject it was made from; None for no copy, or if one was changed since."""
        if self.origin is None:
            return None
        now = (stamp(self.model), stamp(self.origin.trained.model))
        return self.origin if now == self.origin.stamps else None

    def kept(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once for these weights and again after they were changed in place."""
        now = stamp(self.model)
        held: dict[str, tuple[Any, Any]] = self.__dict__.setdefault("_kept", {})
        if name not in held or held[name][0] != now:
            held[name] = (now, compute())
        value: T = held[name][1]
        return value

    @cached_property
    def weights_digest(self) -> str:
        """sha256 over the names and bytes of parameters and buffers."""
        return state_digest(self.model)

    def identity(self) -> dict[str, Any]:
        """What makes this subject this subject, JSON-able, for keys of cells; never where its files lie."""
        found = {
            "name": self.name, "weights": self.weights_digest, "data": self.data.name,
            "reference": self.reference.name, "mean": list(self.mean), "std": list(self.std), "output": self.output,
        }  # fmt: skip
        # The networks of libraries are known by their names; a user's may change under the same name and weights.
        return found if self.spec.get("kind") in LIBRARY else found | {"architecture": architecture_digest(self.model)}

    def checksum(self) -> str:
        """sha256 over parameters, buffers, training flags, requires_grad flags and hook counts."""
        total = hashlib.sha256(state_digest(self.model).encode())
        for name, parameter in self.model.named_parameters():
            total.update(f"{name}{parameter.requires_grad}{parameter.grad is not None}".encode())
        for name, module in self.model.named_modules():
            hooks = (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            )
            total.update(f"{name}{module.training}{[len(hook) for hook in hooks]}".encode())
        return total.hexdigest()


def stamp(model: nn.Module) -> Stamp:
    """Memory and version of every tensor of a network: something else after any change, in place or not."""
    found: list[tuple[int, int]] = []
    stack = [model]
    while stack:
        module = stack.pop()
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                found.append((tensor.data_ptr(), tensor._version))
        stack.extend(part for part in module._modules.values() if part is not None)
    return tuple(found)


def state_digest(model: nn.Module) -> str:
    """sha256 over the names, types, shapes and bytes of a module's parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
