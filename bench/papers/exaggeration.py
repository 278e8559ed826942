"""Progressive Exaggeration (Singla et al. 2020): against xGEM, its ablation, a confounded classifier, planted attributes."""

from __future__ import annotations

from models.planted import ATTRIBUTES
from reports.papers import Claim, Paper, Term

from ..sized import Size, Suite

NAME = "paper-exaggeration"
EXPLAINER = "progressive-exaggeration"
SMALL = f"{EXPLAINER}[width=8,steps=1000]"
"""What the ablation is about: a fit of a quarter of the size, of which one term at a time is taken away."""
PLANTED = {
    name: f"{EXPLAINER}[width=8,steps={800 if name == 'brightness' else 500}]" for name in ATTRIBUTES
}  # fmt: skip
"""The explainer of each planted attribute; the two classifiers of brightness are explained by fits of one size."""
CONFOUNDED = "fmnist-planted-confounded"

_PAIR = "fmnist-tshirt-shirt"
_SPREAD, _FAR = "xgem[ask=tenths]", "xgem[goal=0.95]"
_WITHOUT = {
    name: f"{EXPLAINER}[width=8,steps=1000,{name}=0]" for name in ("reconstruction", "adversarial", "kl")
}  # fmt: skip
_MADE, _NEAREST = ("counterfactual-identity", "counterfactual-pgd", "counterfactual-random-latent"), "counterfactual-nearest"
_MAPS = (EXPLAINER, "saliency", "integrated-gradients", "input-x-gradient")


def _part(
    name: str,
    checks: tuple[str, ...],
    explainers: tuple[str, ...],
    models: tuple[str, ...],
    sizes: str,
    label: str = "generative",
) -> Suite:
    """A part of the suite; `sizes` holds the images of the three profiles."""
    counts = [int(count) for count in sizes.split()]
    return Suite(
        f"{NAME}: {name}", "", checks, explainers, models=models, label=label,
        sizes={profile: Size(count, 1) for profile, count in zip(("quick", "standard", "full"), counts, strict=True)},
    )  # fmt: skip


def _set(explainer: str, measure: str, check: str = "spread") -> Term:
    return Term(_PAIR, explainer, check, measure)


def _series(measure: str, explainer: str = EXPLAINER) -> Term:
    return Term(_PAIR, explainer, "requests", measure)


def _group(explainer: str, measure: str) -> Term:
    return Term(_PAIR, explainer, "distribution", measure)


def _subject(attribute: str) -> str:
    return f"fmnist-planted[attribute={attribute}]"


def _against(name: str, statement: str, where: str, measured: str, measure: str, least: float) -> Claim:
    """Ours less xGEM's, image by image, where each image is asked for one probability of all tenths."""
    return Claim(
        name, statement, where, measured, _set(EXPLAINER, measure), _set(_SPREAD, measure), "difference", at_least=least
    )


_QUALITY = (
    Claim("fid-ratio", "Its pictures are much nearer to real ones than xGEM's (FID 36 to 58 against 106 to 326).", "table 1",
          "Frechet distance, its share of xGEM's, requests spread over all tenths", _set(EXPLAINER, "fid"),
          _set(_SPREAD, "fid"), "ratio", at_most=0.7),
    Claim("fid-difference", "Its pictures are nearer to real ones than xGEM's.", "table 1",
          "Frechet distance less xGEM's, image by image, spread requests", _set(EXPLAINER, "fid-part"),
          _set(_SPREAD, "fid-part"), "difference", at_most=0.0),
    Claim("kid-difference", "The same by another distance.", "table 1", "kernel distance less xGEM's, spread requests",
          _set(EXPLAINER, "kid-part"), _set(_SPREAD, "kid-part"), "difference", at_most=0.0),
    Claim("fid-extreme", "The same at the far end, where the classifier is sure of the other class.",
          "table 1, rows present and absent", "Frechet distance less xGEM's, far end", _set(EXPLAINER, "fid-part", "extreme"),
          _set(_FAR, "fid-part", "extreme"), "difference", at_most=0.0),
    *(
        Claim(f"{measure}-{group}", f"Its pictures {words} are nearer to real ones than xGEM's, {name}.",
              f"table 1, row {group}",
              f"{name} less xGEM's, 200 counterfactuals and 200 real images that the classifier is sure of",
              _group(EXPLAINER, of), _group(_FAR, of), "difference", at_most=0.0)
        for group, words in (("present", "with the second class"), ("absent", "without the second class"))
        for measure, name in (("fid", "Frechet distance in 20 dimensions"), ("kid", "kernel distance"))
        for of in (f"{measure}-{group}",)
    ),
    Claim("fid-plain", "A request costs no quality: as near as the plain reconstruction.", "control to table 1",
          "Frechet distance, spread requests less plain reconstruction", _set(EXPLAINER, "fid"),
          _set(EXPLAINER, "fid-reconstruction"), "difference", at_most=0.0),
)  # fmt: skip

_CONSISTENT = (
    Claim("self-consistency", "Asked for its own probability it gives the image back.", "equation 5",
          "mean absolute difference to the image", Term(_PAIR, EXPLAINER, "cycles", "self-error"), at_most=0.05),
    Claim("cycle", "From the far end it leads back to the image.", "equation 6",
          "mean absolute difference to the image after the way there and back",
          Term(_PAIR, EXPLAINER, "cycles", "cycle-error"), at_most=0.06),
)  # fmt: skip

_COMPATIBLE = (
    Claim("agreement", "The classifier's answers rise with what was requested.", "4.1, figure 3",
          "Spearman correlation along an image's series", _series("agreement"), at_least=0.9),
    Claim("error", "They follow it closely.", "4.1, figure 3", "|requested - achieved| probability", _series("error"),
          at_most=0.15),
    Claim("span", "They cover the whole range.", "4.1, figure 3", "largest less smallest probability of a series",
          _series("span"), at_least=0.7),
    Claim("agreement-independent", "The change is one of meaning: another network follows as well.", "control to figure 3",
          "Spearman correlation, probability of an independent network", _series("agreement-independent"), at_least=0.8),
)  # fmt: skip

_IDENTITY = (
    Claim("closeness", "The counterfactual stays nearest to its own image (LSC .82 to .88 on faces).", "table 2",
          "share of images that find their own among 200, spread requests", _set(EXPLAINER, "closeness"), at_least=0.45),
    _against("closeness-xgem", "It stays nearer than xGEM does (LSC 28 against 2 on X-rays; 88 and 88 on faces).", "table 2",
             "share of images that find their own, less xGEM's, in one embedding for both", "closeness", 0.15),
    Claim("verification", "It shows the same object (FVA .72 to .85).", "table 2",
          "share verified as the same object, spread requests", _set(EXPLAINER, "verification"), at_least=0.6),
    _against("verification-xgem", "More often than xGEM's does (FVA 0).", "table 2", "share verified, less xGEM's",
             "verification", 0.15),
)  # fmt: skip

_SALIENCY = (
    Claim("saliency-random", "Its saliency is better than random.", "4.3, figure 4c",
          "area between the curves less that of random maps, pixels replaced by noise",
          Term(_PAIR, EXPLAINER, "perturbation-uniform"), at_least=0.0),
    Claim("heart", "Heart size and fluid follow the request on chest X-rays.", "4.2, figures 4a and 4b",
          untestable="needs the chest X-rays of MIMIC-CXR and segmentations of hearts"),
)  # fmt: skip

_CONFOUNDER = (
    Claim("confounding", "Explanations of a biased classifier change the confounder (.12 and .35 against .07 and .08).",
          "4.4, table 3", "share whose square changes where brightness was asked about, biased less unbiased classifier",
          Term(CONFOUNDED, PLANTED["brightness"], "attributes", "confounding"),
          Term(_subject("brightness"), PLANTED["brightness"], "attributes", "confounding"), "difference", at_least=0.15),
    Claim("confounding-unbiased", "Those of an unbiased one do not.", "4.4, table 3",
          "share whose square changes, unbiased classifier",
          Term(_subject("brightness"), PLANTED["brightness"], "attributes", "confounding"), at_most=0.15),
)  # fmt: skip

_DISCRIMINATION = tuple(
    claim
    for name in ATTRIBUTES
    for claim in (
        Claim(f"flip-{name}", "The attribute that was asked about changes.", "4.5, figure 7, diagonal",
              f"share of counterfactuals whose {name} changes", Term(_subject(name), PLANTED[name], "attributes", "flip-asked"),
              at_least=0.7),
        Claim(f"beside-{name}", "Other attributes stay.", "4.5, figure 7, beside the diagonal",
              f"share of the other three attributes that change where {name} was asked about",
              Term(_subject(name), PLANTED[name], "attributes", "flips-beside"), at_most=0.25),
    )
)  # fmt: skip

_ABLATION = (
    Claim("without-reconstruction", "Without reconstruction identity is lost (LSC 81.6 to 16.6).", "A.4, table 6",
          "closeness, its share of the whole method's", _set(_WITHOUT["reconstruction"], "closeness"), _set(SMALL, "closeness"),
          "ratio", at_most=0.5),
    Claim("without-adversarial", "Without the adversarial term pictures are worse (FID 53.4 to 67.2).", "A.4, table 6",
          "Frechet distance less the whole method's", _set(_WITHOUT["adversarial"], "fid-part"), _set(SMALL, "fid-part"),
          "difference", at_least=0.0),
    Claim("without-adversarial-kid", "The same by another distance.", "A.4, table 6", "kernel distance less the whole method's",
          _set(_WITHOUT["adversarial"], "kid-part"), _set(SMALL, "kid-part"), "difference", at_least=0.0),
    Claim("without-adversarial-closeness", "Without the adversarial term identity is kept better (LSC 81.6 to 96.1).",
          "A.4, table 6", "closeness less the whole method's", _set(_WITHOUT["adversarial"], "closeness"),
          _set(SMALL, "closeness"), "difference", at_least=0.0),
    Claim("without-kl", "Without the term of agreement the classifier follows less.", "A.4, figure 12",
          "Spearman correlation less the whole method's", _series("agreement", _WITHOUT["kl"]), _series("agreement", SMALL),
          "difference", at_most=0.0),
    Claim("without-kl-error", "The same by the error.", "A.4, figure 12", "|requested - achieved| less the whole method's",
          _series("error", _WITHOUT["kl"]), _series("error", SMALL), "difference", at_least=0.0),
    Claim("people", "People see what changes, which is more, and the bias.", "4.6, table 4",
          untestable="needs participants; bench study builds and analyses such a study"),
)  # fmt: skip

SUITE = Suite(
    NAME,
    "the experiments of Progressive Exaggeration: against xGEM, bias, ablation, attributes, saliency",
    parts=(
        _part("spread requests", ("spread",), (EXPLAINER, _SPREAD), (_PAIR,), "980 980 980"),
        _part("far end, groups", ("extreme", "distribution"), (EXPLAINER, _FAR, *_MADE), (_PAIR,), "980 980 980"),
        # The real images that it shows are not among those it is measured against, so that fewer are left.
        _part("far end, nearest real images", ("extreme", "distribution"), (_NEAREST,), (_PAIR,), "640 640 640"),
        _part("series", ("requests", "counterfactual", "cycles"), (EXPLAINER, _SPREAD, *_MADE, _NEAREST), (_PAIR,),
              "128 256 980"),
        _part("ablation, sets", ("spread",), (SMALL, *_WITHOUT.values()), (_PAIR,), "640 980 980"),
        _part("ablation, series", ("requests",), (SMALL, *_WITHOUT.values()), (_PAIR,), "128 256 980"),
        _part("brightness", ("attributes", "requests"), (PLANTED["brightness"],), (_subject("brightness"), CONFOUNDED),
              "256 1024 4000"),
        _part("other attributes", ("attributes", "requests"), (PLANTED["square"],),
              tuple(_subject(name) for name in ATTRIBUTES if name != "brightness"), "256 1024 4000"),
        _part("saliency", ("perturbation-uniform",), (*_MAPS, "random"), (_PAIR,), "64 256 980", "pixel-perturbation"),
    ),
    paper=Paper(
        NAME, "Singla et al. 2020, Explanation by Progressive Exaggeration",
        (*_QUALITY, *_COMPATIBLE, *_CONSISTENT, *_IDENTITY, *_SALIENCY, *_CONFOUNDER, *_DISCRIMINATION, *_ABLATION),
    ),
)  # fmt: skip
