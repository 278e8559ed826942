"""What the zoo holds, readable without torch: names, summaries, weight files and their digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..naming import Spec, UsageError, near, parse_spec

FOLDER = Path(__file__).parent / "weights"
MANIFEST = FOLDER / "manifest.json"


@dataclass(frozen=True)
class Member:
    """One network of the zoo.

    Attributes:
        name: what users type.
        summary: one line.
        network: `module:class` under `models.networks`.
        norms: the values of the parameter `norm`, the default first.
        recipe: member whose weights it uses (itself unless it is another writing of the same network).
        mean, std: normalisation of images in [0, 1].
        reference: data set of the training images.
    """

    name: str
    summary: str
    network: str
    norms: tuple[str, ...]
    recipe: str
    mean: tuple[float, ...] = (0.2860,)
    std: tuple[float, ...] = (0.3530,)
    reference: str = "fashion-mnist-train"
    data: str = "fashion-mnist"
    parameters: dict[str, Any] = field(default_factory=dict)


MEMBERS = {
    member.name: member
    for member in (
        Member(
            "fmnist-vgg", "VGG with 10 conv + 3 fc after Nuzzo's Table 7.1, batch norm, nn.ReLU modules",
            "vgg:Vgg", ("batch", "none"), "fmnist-vgg",
        ),
        Member(
            "fmnist-vgg-functional", "the weights of fmnist-vgg in a network written with F.relu and in-place calls",
            "vgg:FunctionalVgg", ("batch", "none"), "fmnist-vgg",
        ),
    )
}  # fmt: skip


def member(text: str) -> tuple[Member, dict[str, Any]]:
    """The member a user names and its parameters, for example `fmnist-vgg[norm=none]`.

    Raises:
        UsageError: unknown name, parameter or value.

    Example:
        >>> member("fmnist-vgg[norm=none]")[1]
        {'norm': 'none'}
    """
    spec: Spec = parse_spec(text)
    if spec.name not in MEMBERS or spec.inner:
        raise UsageError(
            f"model {text!r} is not in the zoo; it holds {', '.join(MEMBERS)}{near(spec.name, MEMBERS)} "
            "Other models: torchvision:NAME, path/to/file.py:function, package.module:function"
        )
    found = MEMBERS[spec.name]
    params = {"norm": found.norms[0]}
    for key, value in spec.params:
        if key != "norm":
            raise UsageError(f"model {text!r}: parameter {key!r} is unknown; allowed is norm={'|'.join(found.norms)}")
        if value not in found.norms:
            raise UsageError(f"model {text!r}: norm is {value!r}; allowed are {', '.join(found.norms)}")
        params["norm"] = str(value)
    return found, params


def display(found: Member, params: dict[str, Any]) -> str:
    """The shortest text that names this member with these parameters."""
    return found.name if params["norm"] == found.norms[0] else f"{found.name}[norm={params['norm']}]"


def weights_name(found: Member, params: dict[str, Any]) -> str:
    """Key of the weights in the manifest, and stem of the file."""
    return f"{found.recipe}-{params['norm']}"


def manifest() -> dict[str, dict[str, Any]]:
    """Name of the weights -> file, sha256 of the file, digest of the weights, accuracy, recipe."""
    if not MANIFEST.is_file():
        return {}
    loaded: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text())
    return loaded


def checked_file(name: str) -> Path:
    """Path of a shipped weights file whose bytes agree with the manifest.

    Raises:
        UsageError: the file is missing or was changed.
    """
    entry = manifest().get(name)
    if entry is None:
        raise UsageError(
            f"no weights are shipped under {name!r}; shipped are {', '.join(manifest()) or 'none'}: run bench train"
        )
    path = FOLDER / entry["file"]
    if not path.is_file():
        raise UsageError(f"the weights file {path} is missing; install the package again or run bench train")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry["sha256"]:
        raise UsageError(
            f"the weights file {path} was changed (sha256 {found[:12]}, expected {entry['sha256'][:12]}); restore it"
        )
    return path
