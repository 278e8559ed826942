"""Subjects: models under test, their images, stages and randomised copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .data import DataCard, ImageSet, datasets, load_data
from .naming import Spec, UsageError, near, parse_spec, split_list
from .seeds import derive

if TYPE_CHECKING:
    from .base import Subject
    from .stages import Stage

__all__ = [
    "DataCard", "ImageSet", "ModelCard", "Spec", "Stage", "Subject", "UsageError", "datasets", "derive", "load",
    "load_data", "names", "near", "parse_spec", "split_list",
]  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """What `bench list models` shows of one model."""

    name: str
    summary: str
    origin: str
    digest: str
    accuracy: float | None


def names() -> list[ModelCard]:
    """The models of the zoo, readable without torch.

    Example:
        >>> [card.name for card in names()][:2]
        ['fmnist-vgg', 'fmnist-vgg[norm=none]']
    """
    from .zoo import catalogue

    cards = []
    for member in catalogue.MEMBERS.values():
        for norm in member.norms:
            params = {"norm": norm}
            entry = catalogue.manifest().get(catalogue.weights_name(member, params))
            if entry:
                cards.append(
                    ModelCard(
                        catalogue.display(member, params), member.summary, "zoo", entry["digest"], entry["accuracy"]
                    )
                )
    return cards


def load(name: str, *, data: str | ImageSet | None = None) -> Subject:
    """A model under test by name.

    Args:
        name: a zoo name (`fmnist-vgg[norm=none]`), `torchvision:resnet18?weights=DEFAULT`, `path/to/file.py:function`
            or `package.module:function`; the function returns an `nn.Module` or a `models.Subject`.
        data: images to explain: a data set name, a folder, an `.npz`, or an ImageSet; None takes the model's own.

    Raises:
        UsageError: unknown name, or a model that cannot be questioned; the message says how to mend it.

    Example:
        >>> load("fmnist-vgg").name
        'fmnist-vgg'
    """
    images = load_data(data) if isinstance(data, str) else data
    if name.startswith("torchvision:"):
        from .adapters import from_torchvision

        return from_torchvision(name, images)
    if ":" in name:
        from .adapters import from_function

        return from_function(name, images)
    from .zoo.build import build

    return build(name, images)


def __getattr__(name: str) -> Any:
    if name == "Subject":
        from .base import Subject

        return Subject
    if name == "Stage":
        from .stages import Stage

        return Stage
    raise AttributeError(f"module 'models' has no attribute {name!r}")
