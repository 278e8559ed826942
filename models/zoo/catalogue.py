"""What the zoo holds, readable without torch: names, summaries, weight files and their digests."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..naming import Spec, UsageError, near, parse_spec

FOLDER = Path(__file__).parent / "weights"
MANIFEST = FOLDER / "manifest.json"
KINDS = {
    "classifier": "models.load",
    "generator": "models.load_generator",
    "embedding": "models.load_embedding",
}


@dataclass(frozen=True)
class Member:
    """One network of the zoo.

    Attributes:
        name: what users type.
        summary: one line.
        network: `module:class` below the package `models`.
        recipe: `module:function` below `models.zoo`; it trains the network (see `models.zoo.recipes.Trained`).
        kind: `classifier`, `generator` or `embedding`.
        parameters: parameter -> its allowed values, the default first; every combination has weights of its own.
        architecture: the parameters that the network's constructor takes; the others only choose weights.
        weights: member whose weights it uses (itself unless it is another writing of the same network).
        mean, std: normalisation of images in [0, 1].
        reference: data set of the training images; `{parameter}` stands for a parameter's value.
        data: data set of held-out images, likewise.
    """

    name: str
    summary: str
    network: str
    recipe: str
    kind: str = "classifier"
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    architecture: tuple[str, ...] = ()
    weights: str = ""
    mean: tuple[float, ...] = (0.2860,)
    std: tuple[float, ...] = (0.3530,)
    reference: str = "fashion-mnist-train"
    data: str = "fashion-mnist"


_NORM = MappingProxyType({"norm": ("batch", "none")})
_ATTRIBUTE = MappingProxyType({"attribute": ("all", "square", "stripe", "brightness", "border")})
_BRIGHTNESS = MappingProxyType({"attribute": ("brightness",)})

MEMBERS = {
    member.name: member
    for member in (
        Member(
            "fmnist-vgg", "VGG with 10 conv + 3 fc after Nuzzo's Table 7.1, batch norm, nn.ReLU modules",
            "networks.vgg:Vgg", "classifiers:vgg", parameters=_NORM, architecture=("norm",),
        ),
        Member(
            "fmnist-vgg-functional", "the weights of fmnist-vgg in a network written with F.relu and in-place calls",
            "networks.vgg:FunctionalVgg", "classifiers:vgg", parameters=_NORM, architecture=("norm",),
            weights="fmnist-vgg",
        ),
        Member(
            "fmnist-mosaic", "the layout of fmnist-vgg on 64x64 mosaics, one sigmoid output per class of item",
            "networks.vgg:MosaicVgg", "multilabel:mosaic", reference="fmnist-mosaic-train", data="fmnist-mosaic",
        ),
        Member(
            "fmnist-cue", "small VGG for planted 5x5 cues, one sigmoid output per cue, no batch norm",
            "networks.cells:CueVgg", "multilabel:cue", reference="fmnist-cue-train", data="fmnist-cue",
        ),
        Member(
            "fmnist-difull", "one trunk, read at each quarter of a 2x2 mosaic alone, and one head per quarter",
            "networks.cells:CellHeads", "multilabel:difull", reference="fmnist-difull-train", data="fmnist-difull",
        ),
        Member(
            "fmnist-lenet", "LeNet of the contrastive papers (16-32 5x5, 120-20); eight: accuracy on bags (class 8)",
            "networks.lenet:LeNet", "classifiers:lenet",
            parameters=MappingProxyType({"eight": ("trained", "0", "0.3", "0.6", "0.99")}),
        ),
        Member(
            "fmnist-lenet-biased", "fmnist-lenet trained with a gray square in the top left corner of every bag",
            "networks.lenet:LeNet", "classifiers:biased",
            data="fashion-mnist-square", reference="fashion-mnist-square-train",
        ),
        Member(
            "fmnist-tshirt-shirt", "T-shirt or shirt, calibrated: every tenth of the probability has images",
            "networks.pair:Pair", "pairs:tshirt_shirt",
            data="fashion-mnist-tshirt-shirt", reference="fashion-mnist-tshirt-shirt-train",
        ),
        Member(
            "fmnist-planted", "planted attributes, one sigmoid output each; attribute: two logits for one of them",
            "networks.pair:Planted", "planted:independent", parameters=_ATTRIBUTE, architecture=("attribute",),
            data="fmnist-planted-{attribute}", reference="fmnist-planted-{attribute}-train",
        ),
        Member(
            "fmnist-planted-confounded", "brightness, trained where a planted square is as strong as it is bright",
            "networks.pair:Planted", "planted:confounded", parameters=_BRIGHTNESS, architecture=("attribute",),
            data="fmnist-planted-{attribute}", reference="fmnist-planted-{attribute}-train",
        ),
        Member(
            "fmnist-oracle", "residual network with group norm, trained apart from all others; judges in metrics",
            "networks.oracle:Oracle", "classifiers:oracle",
        ),
        Member(
            "fmnist-siamese", "20 dimensions, images of one class near each other (contrastive loss)",
            "networks.lenet:Siamese", "siamese:siamese", kind="embedding",
        ),
        Member(
            "fashion-mnist-vae", "convolutional VAE 32-64-128, latent 32, KL weight 0.5, binary cross-entropy",
            "generators.networks:ConvVae", "autoencoders:vae", kind="generator",
        ),
        Member(
            "fashion-mnist-ae", "convolutional autoencoder of the same layout, codes standardised",
            "generators.networks:ConvAe", "autoencoders:ae", kind="generator",
        ),
        Member(
            "fashion-mnist-gan", "DCGAN 128-64-32 from 32 dimensions, no encoder: latent points are sought",
            "generators.networks:DcganGenerator", "gans:gan", kind="generator",
            parameters=MappingProxyType({"loss": ("nonsaturating", "wgan")}),
        ),
        Member(
            "fashion-mnist-vae-biased", "fashion-mnist-vae, trained on with a gray square on every bag",
            "generators.networks:ConvVae", "autoencoders:biased", kind="generator",
            data="fashion-mnist-square", reference="fashion-mnist-square-train",
        ),
        Member(
            "fashion-mnist-vae-half", "fashion-mnist-vae of T-shirts, trousers, pullovers, dresses, coats alone",
            "generators.networks:ConvVae", "autoencoders:half", kind="generator",
            data="fashion-mnist-first-half", reference="fashion-mnist-first-half-train",
        ),
        Member(
            "fashion-mnist-ae-biased", "fashion-mnist-ae, trained on with a gray square on every bag",
            "generators.networks:ConvAe", "autoencoders:biased", kind="generator",
            data="fashion-mnist-square", reference="fashion-mnist-square-train",
        ),
        Member(
            "fashion-mnist-gan-biased", "fashion-mnist-gan of images with a gray square on every bag",
            "generators.networks:DcganGenerator", "gans:biased", kind="generator",
            data="fashion-mnist-square", reference="fashion-mnist-square-train",
        ),
    )
}  # fmt: skip


def member(text: str, kind: str | None = None) -> tuple[Member, dict[str, str]]:
    """The member a user names and its parameters, for example `fmnist-vgg[norm=none]`.

    Args:
        text: name with parameters.
        kind: what it has to be: `classifier`, `generator` or `embedding`; None takes any.

    Raises:
        UsageError: unknown name, parameter or value, or a member of another kind.

    Example:
        >>> member("fmnist-vgg[norm=none]")[1]
        {'norm': 'none'}
    """
    spec: Spec = parse_spec(text)
    allowed = [each.name for each in MEMBERS.values() if kind in (None, each.kind)]
    if spec.name not in MEMBERS or spec.inner:
        others = "path/to/file.py:function, package.module:function"
        if kind in (None, "classifier"):
            others = f"torchvision:NAME, {others}"
        raise UsageError(
            f"{kind_word(kind)} {text!r} is not in the zoo; it holds {', '.join(allowed)}{near(spec.name, allowed)} "
            f"Other {kind_word(kind)}s: {others}"
        )
    found = MEMBERS[spec.name]
    if kind is not None and found.kind != kind:
        raise UsageError(
            f"{text!r} is {_article(found.kind)}, and {_article(kind)} is needed here; take one of "
            f"{', '.join(allowed)}, or load it with {KINDS[found.kind]}"
        )
    params = {key: values[0] for key, values in found.parameters.items()}
    for key, value in spec.params:
        if key not in found.parameters:
            known = "; ".join(f"{name}={'|'.join(values)}" for name, values in found.parameters.items())
            raise UsageError(f"model {text!r}: parameter {key!r} is unknown; allowed is {known or 'none'}")
        if str(value) not in found.parameters[key]:
            raise UsageError(f"model {text!r}: {key} is {value!r}; allowed are {', '.join(found.parameters[key])}")
        params[key] = str(value)
    return found, params


def kind_word(kind: str | None) -> str:
    """What messages call a member of this kind."""
    return "model" if kind in (None, "classifier") else kind


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def versions(found: Member) -> Iterator[dict[str, str]]:
    """Every combination of the parameters of a member, the default first."""
    for values in itertools.product(*found.parameters.values()):
        yield dict(zip(found.parameters, values, strict=True))


def display(found: Member, params: Mapping[str, str]) -> str:
    """The shortest text that names this member with these parameters.

    Example:
        >>> display(*member("fmnist-vgg[norm=batch]")), display(*member("fmnist-vgg[norm=none]"))
        ('fmnist-vgg', 'fmnist-vgg[norm=none]')
    """
    given = ",".join(f"{key}={value}" for key, value in sorted(params.items()) if value != found.parameters[key][0])
    return f"{found.name}[{given}]" if given else found.name


def weights_name(found: Member, params: Mapping[str, str]) -> str:
    """Key of the weights in the manifest, and stem of the file."""
    return "-".join([found.weights or found.name, *params.values()])


def manifest() -> dict[str, dict[str, Any]]:
    """Name of the weights -> file, sha256 of the file, digest of the weights, figures reached, recipe."""
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
