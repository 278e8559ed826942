"""What the conformance rules probe an explainer with: tiny seeded networks, a few images, and one guarded way to call it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from models.base import Subject
from models.data import ImageSet
from models.seeds import derive, generator

from .base import Explainer, ExplainerError, Explanation, Partial
from .engine import UnsupportedOperation

SIDE, CHANNELS, CLASSES, COUNT = 16, 3, 4, 4
REFUSALS = (UnsupportedOperation, ExplainerError)
"""How an explainer may say that it does not explain something."""


class Sorted(nn.Module):
    """Sorts the channels at every pixel: an operation for which no method of relevance or rectified gradients has a rule."""

    def forward(self, x: Tensor) -> Tensor:
        """Channels in rising order, (N, C, H, W)."""
        return torch.sort(x, dim=1)[0]


def chain() -> nn.Sequential:
    """Convolutions, batch norm, ReLUs, maximum pooling, two linear layers."""
    tail = [nn.Flatten(), nn.Linear(8 * (SIDE // 4) ** 2, 16), nn.ReLU(), nn.Linear(16, CLASSES)]
    return nn.Sequential(*_features(nn.ReLU()), nn.MaxPool2d(2), *tail)


def pooled() -> nn.Sequential:
    """Convolutions, batch norm, ReLUs, then global average pooling and one linear layer."""
    return nn.Sequential(*_features(nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def unruled() -> nn.Sequential:
    """A network with an operation that few methods know."""
    return nn.Sequential(*_features(Sorted()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def dense() -> nn.Sequential:
    """A network without a convolution."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(CHANNELS * SIDE * SIDE, 12),
        nn.ReLU(),
        nn.Linear(12, 8),
        nn.GELU(),
        nn.Linear(8, CLASSES),
    )


SUPPORTED: dict[str, Callable[[], nn.Module]] = {"chain": chain, "pooled": pooled}
STRANGE: dict[str, Callable[[], nn.Module]] = {"unruled": unruled, "dense": dense}
OUTSIDE = {"relu": "unruled", "relevance": "unruled", "chain": "unruled", "convolution": "dense"}
"""For each `requires` of a card a network that does not meet it, so that a map of it cannot be right."""


def subject(name: str) -> Subject:
    """A tiny network with seeded weights on 3x16x16 images, planted evidence included.

    Args:
        name: one of SUPPORTED or STRANGE.

    Example:
        >>> found = subject("chain")
        >>> found.sample(2, seed=0)[0].shape, found.num_classes
        (torch.Size([2, 3, 16, 16]), 4)
    """
    with preserved():
        model = {**SUPPORTED, **STRANGE}[name]().eval()
    draw = generator(0, "conformance", name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan) ** 0.5, generator=draw)
                module.bias.normal_(0, 0.05, generator=draw)  # type: ignore[union-attr]
            elif isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=draw)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5, generator=draw)  # type: ignore[union-attr]
    data = _images("conformance/test", 8)
    reference = _images("conformance/train", 48)
    return Subject(f"conformance-{name}", model, data, reference, evidence=planted)


def planted(images: Tensor, targets: Tensor) -> Tensor:
    """Evidence of each class: a square at a place of its own, (N, 1, H, W) in {0, 1}."""
    masks = torch.zeros_like(images[:, :1])
    for mask, target in zip(masks, targets.tolist(), strict=True):
        mask[:, 3 * target : 3 * target + 5, 3 * target : 3 * target + 5] = 1
    return masks


def degenerate(images: Tensor) -> dict[str, Tensor]:
    """Images that defeat careless divisions, each (1, C, H, W): black, white, one grey value, one lit pixel.

    Args:
        images: (N, C, H, W), whose shape and type they take.
    """
    plain = torch.zeros_like(images[:1])
    pixel = plain.clone()
    pixel[:, :, images.shape[2] // 2, images.shape[3] // 3] = 1
    return {"all black": plain, "all white": plain + 1, "of one value": plain + 0.5, "of one lit pixel": pixel}


def random_states() -> dict[str, bytes]:
    """The state of every global source of randomness of this process, comparable."""
    kind, keys, *rest = np.random.get_state()
    found = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr((kind, keys.tobytes(), rest)).encode(),  # type: ignore[union-attr]
        "python": repr(random.getstate()).encode(),
    }
    if torch.cuda.is_initialized():
        found["cuda"] = b"".join(state.numpy().tobytes() for state in torch.cuda.get_rng_state_all())
    return found


@contextmanager
def preserved(seed: int | None = None) -> Iterator[None]:
    """Put back global randomness, gradient mode and default type afterwards.

    Args:
        seed: what the global generators are set to inside; None leaves them.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy, kind = random.getstate(), np.random.get_state(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(torch.is_grad_enabled()):
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(derive(seed, "numpy") % 2**32)
            random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_default_dtype(kind)


@dataclass(frozen=True, eq=False)
class Case:
    """An explainer, a subject that it explains, a few images and the classes explained.

    Every call works on copies of subject, images and targets, so that a fault found by one rule does not spoil the others.
    """

    explainer: Explainer
    subject: Subject
    images: Tensor
    targets: Tensor

    def part(
        self,
        images: Tensor | None = None,
        targets: Tensor | None = None,
        *,
        seed: int = 0,
        subject: Subject | None = None,
        world: int = 1,
    ) -> Partial:
        """What the explainer's function returns, as a Partial, unchecked.

        Args:
            images, targets, subject: None takes the case's own.
            seed: given to the function.
            world: seed of the global generators during the call.
        """
        x = (self.images if images is None else images).detach().clone()
        t = (self.targets if targets is None else targets).clone()
        with preserved(world):
            return as_partial(self.explainer.raw((subject or self.subject).private_copy(), x, t, seed))

    def map(self, images: Tensor | None = None, targets: Tensor | None = None, **options: int) -> Tensor:
        """The same, its attribution only, float32."""
        return self.part(images, targets, **options).attribution.detach().float()  # type: ignore[arg-type]

    @cached_property
    def base(self) -> Tensor:
        """The maps of the images at seed 0."""
        return self.map()

    def other_classes(self, step: int = 1) -> Tensor:
        """For each image another class than the explained one."""
        return (self.targets + step) % self.subject.num_classes


def as_partial(made: Tensor | Partial | Explanation) -> Partial:
    """Whatever an explainer's function may return, as a Partial.

    Raises:
        TypeError: something else.
    """
    if isinstance(made, Tensor | Partial | Explanation):
        return Partial.of(made)
    raise TypeError(
        f"it returned {type(made).__name__}; return a tensor (N, 1 or C, H, W) or an explainers.Explanation"
    )


def _features(middle: nn.Module) -> list[nn.Module]:
    first, second = nn.Conv2d(CHANNELS, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
    return [first, nn.BatchNorm2d(6), middle, nn.MaxPool2d(2), second, nn.ReLU()]


def _images(name: str, count: int) -> ImageSet:
    """Coloured blobs on a dark, slightly noisy ground, one place per class, float32 in [0, 1]."""
    draw = generator(0, name)
    labels = np.arange(count) % CLASSES
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.empty(count, CHANNELS, SIDE, SIDE).uniform_(0, 0.15, generator=draw)
    for index, label in enumerate(labels.tolist()):
        jitter = torch.empty(2).normal_(generator=draw)
        centre = torch.tensor([4.0 + 8 * (label // 2), 4.0 + 8 * (label % 2)]) + jitter
        colour = torch.empty(CHANNELS, 1, 1).uniform_(0.3, 0.85, generator=draw)
        pixels[index] += colour * torch.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 12)
    held = pixels.clamp(0, 1).numpy()
    ids = [f"{name}/{index:02d}" for index in range(count)]
    names = tuple(f"blob-{index}" for index in range(CLASSES))
    return ImageSet(
        name, labels.astype(np.int64), ids, names, (CHANNELS, SIDE, SIDE), lambda chosen: held[list(chosen)]
    )
