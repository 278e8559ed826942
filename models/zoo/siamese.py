"""Recipe of the Siamese embedding: images of one class near each other, of two classes apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..data import ImageSet, fashion_mnist
from ..seeds import derive, generator, seeded
from .build import empty_network
from .catalogue import Member
from .classifiers import normaliser, tensors
from .recipes import Trained

MARGIN, EPOCHS, BATCH, RATE, SEED = 4.0, 2, 128, 2e-3, 0


def contrastive(first: Tensor, second: Tensor, alike: Tensor, margin: float) -> Tensor:
    """Contrastive loss of pairs, (N,), lower is better.

    Args:
        first, second: embeddings (N, D).
        alike: (N,) bool, True for pairs of one class.
        margin: squared distance from which pairs of two classes cost nothing.

    Source: Utkin et al. 2021, section V: d^2 for similar pairs and max(0, margin - d^2) for others, with the squared
    distance inside the hinge.

    Example:
        >>> a, b = torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
        >>> contrastive(a, b, torch.tensor([True, False]), 4.0)
        tensor([1., 3.])
    """
    squared = (first - second).square().sum(1)
    return torch.where(alike, squared, (margin - squared).clamp_min(0))


def siamese(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Contrastive loss over all pairs of a batch; pairs of one class and of two classes weigh the same.

    Figures, on 10,000 random pairs of test images, half of one class: `auc`, how often a pair of one class is nearer
    than a pair of two classes; `pair-accuracy` at half of the margin.
    """
    passes = EPOCHS if epochs is None else epochs
    with seeded(derive(SEED, "initial", found.name)):
        network = empty_network(found, params).train()
    images, labels = tensors(data)
    draw = generator(SEED, "training")
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=passes * (len(images) // BATCH))
    upper = torch.triu_indices(BATCH, BATCH, 1)
    with seeded(derive(SEED, "dropout")):
        for epoch in range(passes):
            total = 0.0
            order = torch.randperm(len(images), generator=draw)
            for start in range(0, len(order) - BATCH + 1, BATCH):
                chosen = order[start : start + BATCH]
                with torch.autocast("cpu", torch.bfloat16):
                    codes = network(normaliser(found)(images[chosen].float() / 255))
                alike = labels[chosen][upper[0]] == labels[chosen][upper[1]]
                each = contrastive(codes.float()[upper[0]], codes.float()[upper[1]], alike, MARGIN)
                loss = (each[alike].mean() + each[~alike].mean()) / 2
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                pace.step()
                total += float(loss.detach())
            log(f"epoch {epoch + 1} of {passes}: loss {total / (len(images) // BATCH):.3f}")
    settings = {
        "epochs": passes, "batch": BATCH, "rate": RATE, "margin": MARGIN, "optimiser": "adamw", "seed": SEED,
    }  # fmt: skip
    return Trained(network.eval(), _reached(network, found), settings)


def _reached(network: nn.Module, found: Member) -> dict[str, float]:
    images, labels = tensors(fashion_mnist("test"))
    with torch.inference_mode():
        codes = torch.cat([network(normaliser(found)(part.float() / 255)) for part in images.split(500)])
    draw = generator(0, "pairs")
    first, second = torch.randint(len(images), (2, 200_000), generator=draw)
    alike = labels[first] == labels[second]
    squared = (codes[first] - codes[second]).square().sum(1)
    near, far = squared[alike][:5000], squared[~alike][:5000]
    nearer = torch.searchsorted(far.sort().values, near)
    return {
        "auc": 1 - float(nearer.double().mean()) / len(far),
        "pair-accuracy": float(((near < MARGIN / 2).float().mean() + (far >= MARGIN / 2).float().mean()) / 2),
    }
