"""The cards of the built-in explainers and the short names of specifications; free of torch.

To add an explainer: write its function in the module of its family, and its card in the module here of the same name.
"""

from __future__ import annotations

from models.naming import Spec

from ..info import Info
from . import (
    ae_vae,
    backprop,
    cams,
    cams_plus,
    combinators,
    contrast,
    contrastive,
    controls,
    dasp,
    deeplift,
    exaggeration,
    expected,
    gradients,
    pda,
    perturbation,
    rectgrad,
    relevance,
    surrogates,
    text,
)

_FAMILIES = (
    gradients,
    expected,
    backprop,
    rectgrad,
    cams,
    cams_plus,
    relevance,
    deeplift,
    combinators,
    contrast,
    contrastive,
    perturbation,
    pda,
    surrogates,
    dasp,
    exaggeration,
    ae_vae,
    controls,
)

CARDS: dict[str, Info] = {info.name: info for family in _FAMILIES for info in family.CARDS}

WORD_CARDS: dict[str, Info] = {info.name: info for info in text.CARDS}
"""Explainers of sentences, which are asked for by name only."""

ALIASES: dict[str, Spec] = {
    "lrp-epsilon": Spec("lrp", (("rule", "epsilon"),)),
    **{
        f"lrp-a{alpha}b{alpha - 1}": Spec("lrp", (("alpha", float(alpha)), ("beta", float(alpha - 1))))
        for alpha in range(1, 10)
    },
}
