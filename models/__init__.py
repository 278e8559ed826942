"""Subjects: models under test, their images, stages and randomised copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .data import DataCard, ImageSet, datasets, load_data
from .naming import Spec, UsageError, near, parse_spec, split_list
from .seeds import derive

if TYPE_CHECKING:
    from .base import Subject
    from .embeddings import Embedding
    from .generators import Generator
    from .stages import Stage

__all__ = [
    "DataCard", "Embedding", "Generator", "ImageSet", "ModelCard", "Spec", "Stage", "Subject", "UsageError",
    "datasets", "derive", "load", "load_data", "load_embedding", "load_generator", "names", "near", "parse_spec",
    "split_list",
]  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """What `bench list models` shows of one model."""

    name: str
    summary: str
    origin: str
    digest: str
    accuracy: float | None
    kind: str = "classifier"


def names(kind: str | None = "classifier") -> list[ModelCard]:
    """The models of the zoo that have weights, readable without torch.

    Args:
        kind: `classifier` (for `load`), `generator` (for `load_generator`), `embedding` (for `load_embedding`), or
            None for all three.

    Example:
        >>> [card.name for card in names()][:2]
        ['fmnist-vgg', 'fmnist-vgg[norm=none]']
    """
    from .zoo import catalogue

    cards, shipped = [], catalogue.manifest()
    for member in catalogue.MEMBERS.values():
        for params in catalogue.versions(member):
            entry = shipped.get(catalogue.weights_name(member, params))
            if entry and kind in (None, member.kind):
                name = catalogue.display(member, params)
                cards.append(
                    ModelCard(name, member.summary, "zoo", entry["digest"], entry.get("accuracy"), member.kind)
                )
    return cards


def load(name: str, *, data: str | ImageSet | None = None) -> Subject:
    """A model under test by name.

    Args:
        name: a zoo name (`fmnist-vgg[norm=none]`), `torchvision:resnet18?weights=DEFAULT`, `path/to/file.py:function`,
            `text:reviews` (sentences) or `package.module:function`; the function returns an `nn.Module` or a `models.Subject`.
        data: images to explain: a data set name, a folder, an `.npz`, or an ImageSet; None takes the model's own.

    Raises:
        UsageError: unknown name, or a model that cannot be questioned; the message says how to mend it.

    Example:
        >>> load("fmnist-vgg").name
        'fmnist-vgg'
    """
    images = load_data(data) if isinstance(data, str) else data
    if name.startswith("text:"):
        from .text.shipped import subject

        return subject(name, images)
    if name.startswith("torchvision:"):
        from .adapters import from_torchvision

        return from_torchvision(name, images)
    if name.endswith(".py"):
        raise UsageError(f"model {name!r}: which function of the file makes it? Write {name}:function")
    if ":" in name:
        from .adapters import from_function

        return from_function(name, images)
    from .zoo.build import build

    return build(name, images)


def load_generator(name: str) -> Generator:
    """A generative model by name: encoder (where it has one) and decoder, frozen.

    Args:
        name: a zoo name (`fashion-mnist-vae`), `path/to/file.py:function` or `package.module:function`; what such a
            function has to return is said in `models.generators`.

    Raises:
        UsageError: unknown name, or a generator that fails its conformance checks; the message says how to mend it.

    Example:
        >>> from models.zoo import catalogue
        >>> [name for name, found in catalogue.MEMBERS.items() if found.kind == "generator"][0]
        'fashion-mnist-vae'
    """
    from .generators import load

    return load(name)


def load_embedding(name: str) -> Embedding:
    """A map from images to vectors by name: `fmnist-siamese`, or the penultimate features of a zoo classifier.

    Args:
        name: `fmnist-siamese` (20 dimensions), `fmnist-oracle` (64), `fmnist-lenet` (20), ...

    Raises:
        UsageError: unknown name, or a classifier without a feature layer.
    """
    from .embeddings import load

    return load(name)


def __getattr__(name: str) -> Any:
    if name == "Generator":
        from .generators import Generator

        return Generator
    if name == "Embedding":
        from .embeddings import Embedding

        return Embedding
    if name == "Subject":
        from .base import Subject

        return Subject
    if name == "Stage":
        from .stages import Stage

        return Stage
    raise AttributeError(f"module 'models' has no attribute {name!r}")
