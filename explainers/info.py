"""What an explainer declares about itself; readable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GROUPS = (
    "gradient", "modified-backprop", "cam", "relevance", "perturbation", "surrogate", "combinator", "contrastive",
    "reference", "plugin",
)  # fmt: skip


@dataclass(frozen=True)
class Info:
    """The card of an explainer.

    Attributes:
        name: what users type.
        summary: one paragraph: what it computes.
        source: paper, section.
        equation: the formula in plain text.
        assumes: what must hold of the network or the image.
        verdict: what the literature says about its randomisation test.
        implementation: `module:function`, loaded when first used.
        group: family, one of GROUPS.
        signed: values below zero mean something; else every value is >= 0.
        stochastic: depends on the seed.
        class_sensitive: can depend on the explained class.
        channels: how a score reduces colour channels: `sum` or `max-abs`.
        requires: what of the network it works on: `any`, `relu` (rules at ReLUs), `relevance` (a rule for every
            operation), `convolution` (a convolutional layer with two spatial axes), `chain` (layers one after the
            other), `evidence` (planted data), `words` (sentences).
        combinator: takes another explainer in parentheses; `inner` is the default one.
        params: parameters and their defaults.
        cost: forward-backward passes per image at the defaults.
        grows: name of the parameter that the cost is proportional to, empty for none.
        runs: of a combinator, maps of the inner explainer per image.
        rows: images held in memory at once per explained image, before they are taken in portions.
        memory: of one such image, in forward-backward passes of one image in float32.
        amortised: fitted beforehand to one classifier, so that randomising that classifier afterwards says little.
        anchors: searches from a point that depends on the network; `Explainer.anchored` keeps it.
        stochastic_with: settings `key=value` with which an explainer depends on the seed that otherwise does not.
        later: parameters that came after results were stored; at their defaults they are left out of keys.
        version: raised when its numbers change.
        origin: where it came from: `built-in`, a file, a package.
    """

    name: str
    summary: str
    source: str = ""
    equation: str = ""
    assumes: str = ""
    verdict: str = ""
    implementation: str = ""
    group: str = "plugin"
    signed: bool = True
    stochastic: bool = False
    class_sensitive: bool = True
    channels: str = "sum"
    requires: str = "any"
    combinator: bool = False
    inner: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    cost: float = 1.0
    grows: str = ""
    runs: float = 0.0
    rows: int = 1
    memory: float = 1.0
    amortised: bool = False
    anchors: bool = False
    stochastic_with: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    version: int = 1
    origin: str = "built-in"
