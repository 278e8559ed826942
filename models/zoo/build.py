"""Networks and subjects of the zoo, with the shipped weights."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from safetensors.torch import load_file
from torch import nn

from ..adapters import checked
from ..base import Subject
from ..data import ImageSet, load_data
from ..seeds import seeded
from .catalogue import Member, checked_file, display, member, weights_name


def empty_network(found: Member, params: Mapping[str, str]) -> nn.Module:
    """The untrained network of a member, drawn from torch's global generator (fork it around this call)."""
    module, _, name = found.network.partition(":")
    arguments = {key: params[key] for key in found.architecture}
    network: nn.Module = getattr(importlib.import_module(f"models.{module}"), name)(**arguments)
    return network


def trained_network(found: Member, params: Mapping[str, str]) -> nn.Module:
    """The network of a member with its shipped weights, in eval mode and float32.

    Raises:
        UsageError: missing or changed weights.
    """
    with seeded(0):  # the shipped weights replace what is drawn here
        network = empty_network(found, params)
    network.load_state_dict(load_file(checked_file(weights_name(found, params))))
    return network.eval()


def build(text: str, data: ImageSet | None = None) -> Subject:
    """The subject of a zoo classifier with its shipped weights.

    Args:
        text: name with parameters, for example `fmnist-vgg[norm=none]`.
        data: other images to explain.

    Raises:
        UsageError: unknown member, a member that is no classifier, missing or changed weights.
    """
    found, params = member(text, "classifier")
    subject = Subject(
        name=display(found, params),
        model=trained_network(found, params),
        data=data if data is not None else load_data(found.data.format(**params)),
        reference=load_data(found.reference.format(**params)),
        mean=found.mean,
        std=found.std,
        spec={"kind": "zoo", "name": display(found, params)},
    )
    return subject if data is None else checked(subject)
