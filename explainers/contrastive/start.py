"""Where a search begins: the classes contrasted, the latent point of the image, what the generator cannot draw of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor

import models
from models.base import Subject
from models.generators import Generator
from models.naming import UsageError
from models.seeds import generator as draw
from models.zoo.catalogue import MEMBERS, Member

from ..base import ExplainerError
from ..controls import image_key
from ..passes import network, precision, rows_for
from .classes import probes_of
from .inversion import inverted
from .steady import steady

KINDS = ("vae", "ae", "gan", "wgan")
BEGINNINGS = ("mean", "sample")
SPREAD_IMAGES = 64


@dataclass(frozen=True)
class Question:
    """What a method asks for before it searches.

    Attributes:
        generator: `vae`, `ae`, `gan`, `wgan` (the generator of the subject's data), a member of the zoo, or `file.py:function`.
        probe: see classes.probes_of.
        begin: `mean` or `sample`: the encoder's mean, or a draw from its distribution.
        seed: of everything that is drawn.
    """

    generator: str
    probe: str
    begin: str
    seed: int


@dataclass(frozen=True, eq=False)
class Start:
    """Attributes: probe (N,); z (N, ...); reconstruction (N, C, H, W) in [0, 1], which is the generator's image of z."""

    probe: Tensor
    z: Tensor
    reconstruction: Tensor


@dataclass(frozen=True, eq=False)
class Anchor:
    """The starts and the spread of logits of a trained network, kept for the questions to networks with other weights.

    Attributes:
        trained: that network.
        draw: None for the beginnings that the trained network's searches have, else the seed of others: another draw from the
            encoder's distribution, another inversion; the classes stay.
        held: starts by question and images.
    """

    trained: Subject
    draw: int | None = None
    held: dict[tuple[object, ...], Start] = field(default_factory=dict)

    def start(self, question: Question, made: Generator, images: Tensor, targets: Tensor) -> Start:
        """The start found on the trained network, once per question and images."""
        key = (question, tuple(map(image_key, images)), tuple(targets.tolist()), str(images.device))
        if key not in self.held:
            found = _found(self.trained, question, made, images, targets)
            if self.draw is not None:
                begin = question.begin if made.posterior is None else "sample"
                again = _found(self.trained, replace(question, begin=begin, seed=self.draw), made, images, targets)
                found = replace(again, probe=found.probe)
            self.held[key] = found
        return self.held[key]

    def scale(self, subject: Subject) -> float:
        """The factor that brings a network's logits to the spread of the trained one's; 1 for the trained one itself.

        A network with random layers gives almost the same logits for all classes; every latent point is then near its
        decision boundary, and the map would be trivial for a reason that has nothing to do with the explainer.
        """
        before, now = spread(self.trained), spread(subject)
        return 1.0 if before == now else before / now if now else float("nan")


def started(
    subject: Subject, question: Question, images: Tensor, targets: Tensor, anchor: Anchor | None
) -> tuple[Generator, Start, float]:
    """The generator, the start and the factor on logits.

    Raises:
        ExplainerError: there is no generator for these images, or what it gives is not an image.
    """
    made = generator_for(subject, question.generator, images)
    if anchor is None:
        return made, _found(subject, question, made, images, targets), 1.0
    return made, anchor.start(question, made, images, targets), anchor.scale(subject)


def generator_for(subject: Subject, text: str, images: Tensor) -> Generator:
    """The generator of a subject's data, or the one that is named, on the device of the images.

    Raises:
        ExplainerError: unknown, or one for images of another size.
    """
    try:
        found = _loaded(belonging(subject, text) if text in KINDS else text, str(images.device))
    except UsageError as error:
        raise ExplainerError(
            f"generator={text} cannot be had: {error}; your own is generator=path/to/file.py:function"
        ) from error
    if tuple(images.shape[1:]) != found.shape:
        raise ExplainerError(
            f"generator {found.name!r} draws images of {found.shape} and the images are {tuple(images.shape[1:])} "
            "(channels, height, width); give a generator of this size as generator=path/to/file.py:function"
        )
    return found


def belonging(subject: Subject, kind: str) -> str:
    """The generator of the zoo for a subject's data: a generator knows data, not classifiers.

    A variant of a data set, such as two of its classes, takes the generator of the set it is named after.

    Args:
        kind: one of KINDS.

    Raises:
        ExplainerError: there is none.
    """
    data = subject.reference.name.removesuffix("/train").removesuffix("-train")
    found = {
        each.reference.removesuffix("-train"): _kinds(each)[kind]
        for each in MEMBERS.values()
        if each.kind == "generator" and kind in _kinds(each)
    }
    stems = [stem for stem in found if data == stem or data.startswith(stem + "-")]
    if not stems:
        raise ExplainerError(
            f"the zoo has no {kind} generator for {subject.reference.name}; it has some for {', '.join(found)}: give your "
            "own as generator=path/to/file.py:function"
        )
    return found[max(stems, key=len)]


def _kinds(each: Member) -> dict[str, str]:
    """What a generator of the zoo can be asked for as, and its name; `wgan` is a version of the GAN."""
    found = {kind: each.name for kind in KINDS if kind in each.name.split("-")}
    if "wgan" in each.parameters.get("loss", ()):
        found["wgan"] = f"{each.name}[loss=wgan]"
    return found


def checked_image(made: Generator, drawn: Tensor) -> Tensor:
    """What a generator drew.

    Raises:
        ExplainerError: NaN, or values outside [0, 1].
    """
    low, high = float(drawn.amin()), float(drawn.amax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        what = "NaN" if low != low or high != high else f"values in [{low:.4g}, {high:.4g}]"
        raise ExplainerError(f"generator {made.name!r} drew {what}; images in [0, 1] are needed")
    return drawn


def spread(subject: Subject) -> float:
    """Standard deviation of the logits about each image's mean, over a few reference images."""

    def measured() -> float:
        images = subject.reference.load(range(min(SPREAD_IMAGES, len(subject.reference))))
        logits = subject.predict_logits(images).double()
        return float((logits - logits.mean(1, keepdim=True)).square().mean().sqrt())

    return subject.kept("spread of logits", measured)


def scaled_logits(subject: Subject, scale: float) -> Callable[[Tensor], Tensor]:
    """Differentiable logits of images in [0, 1], times a factor, float32."""
    module = network(subject)
    kind = precision(module)

    def logits(images: Tensor) -> Tensor:
        found: Tensor = module(images.to(kind)).float()
        return found if scale == 1.0 else found * scale

    return steady(logits)


def _found(subject: Subject, question: Question, made: Generator, images: Tensor, targets: Tensor) -> Start:
    logits = scaled_logits(subject, 1.0)
    rows = rows_for(images)
    with torch.no_grad():
        plain = torch.cat([logits(part) for part in images.split(rows)])
        probe = probes_of(subject, images, plain, targets, question.probe, question.seed)
    if made.encode is None:
        z = inverted(made, logits, images, targets, question.seed)
    else:
        with torch.no_grad():
            z = torch.cat([_encoded(made, question, part) for part in images.split(rows)])
    with torch.no_grad():
        drawn = torch.cat([made.decode(part) for part in z.split(rows)])
    if not bool(torch.isfinite(z).all()):
        raise ExplainerError(f"generator {made.name!r}: encode gave NaN or infinity")
    return Start(probe, z, checked_image(made, drawn))


def _encoded(made: Generator, question: Question, images: Tensor) -> Tensor:
    if question.begin not in BEGINNINGS:
        raise UsageError(f"begin is {question.begin!r}; allowed are {', '.join(BEGINNINGS)}")
    if question.begin == "mean":
        codes: Tensor = made.encode(images)  # type: ignore[misc]
        return codes
    if made.posterior is None:
        raise UsageError(f"begin=sample needs an encoder with a distribution, which {made.name!r} does not have")
    mean, deviation = made.posterior(images)
    noise = [
        torch.randn(mean.shape[1:], generator=draw(question.seed, "begin", made.name, image_key(image)))
        for image in images
    ]
    return mean + deviation * torch.stack(noise).to(mean)


@lru_cache(maxsize=8)
def _loaded(name: str, device: str) -> Generator:
    found = models.load_generator(name)
    if device != "cpu":
        found = _moved(found, device)
    return replace(found, decode=steady(found.decode), encode=None if found.encode is None else steady(found.encode))


def _moved(found: Generator, device: str) -> Generator:
    """The generator on another device; one that is no module keeps its own and gets what it draws carried over."""
    import copy

    if found.module is None:
        encode, decode = found.encode, found.decode
        return replace(
            found, decode=lambda z: decode(z.cpu()).to(device),
            encode=None if encode is None else lambda images: encode(images.cpu()).to(device), posterior=None,
        )  # fmt: skip
    module = copy.deepcopy(found.module).to(device)
    return replace(
        found, module=module, decode=module.decode, encode=None if found.encode is None else module.encode,
        posterior=None if found.posterior is None else module.posterior,
    )  # fmt: skip
