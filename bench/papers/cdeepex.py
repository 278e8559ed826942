"""CDeepEx (Feghahati 2020, chapter 3): third classes, a planted square, explanations that follow the classifier."""

from __future__ import annotations

from reports.papers import Claim, Paper, Term

from ..checks.base import MODEL
from ..sized import Size, Suite

NAME = "paper-cdeepex"
PLAIN, BIASED = "fmnist-lenet no-bags", "fmnist-lenet-biased no-bags"
AREA = 36 / 784
"""Share of the 28x28 picture that the square covers."""

_LENET = "fmnist-lenet"
_OWN = "cdeepex[generator=fashion-mnist-vae-biased,probe=8]"
_CLEAN = "cdeepex[generator=fashion-mnist-vae,probe=8]"
_OTHER = "cdeepex[generator=fashion-mnist-vae-biased]"
_OWN_THOROUGH = "cdeepex[generator=fashion-mnist-vae-biased,probe=8,profile=thorough]"
_CLEAN_THOROUGH = "cdeepex[generator=fashion-mnist-vae,probe=8,profile=thorough]"
"""The same searches with more and smaller steps."""
_HALF = "cdeepex[generator=fashion-mnist-vae-half]"
"""The generator knows classes 0 to 4 and explains images of the other five."""
_FLIP = "xgem[goal=0.95,probe=8]"
"""Goes on past the boundary until the network is sure of a bag."""
_PGD = "counterfactual-pgd"
"""Adversarial images toward the same probe class, which verdicts on counterfactuals compare with."""
_DIRECT = (
    "gradient", "input-x-gradient", "integrated-gradients", "integrated-gradients[baseline=white]", "gradcam",
    "guided-backprop", "deeplift", "lrp-a2b1",
)  # fmt: skip
_STEPS = {"0": "eight_0", "0.3": "eight_30", "0.6": "eight_60", "0.99": "eight_99"}


def _part(
    name: str, checks: tuple[str, ...], explainers: tuple[str, ...], models: tuple[str, ...], sizes: str
) -> Suite:
    """A part of the suite; `sizes` holds the images of the three profiles."""
    counts = [int(count) for count in sizes.split()]
    return Suite(
        f"{NAME}: {name}", "", checks, explainers, models=models, label="generative",
        sizes={profile: Size(count, 1) for profile, count in zip(("quick", "standard", "full"), counts, strict=True)},
    )  # fmt: skip


def _third(explainer: str, measure: str = "intrusion") -> Term:
    return Term(_LENET, explainer, "counterfactual", measure)


def _square(subject: str, explainer: str, measure: str, statistic: str = "mean") -> Term:
    return Term(subject, explainer, "planted-square", measure, statistic)


def _shortcut(name: str) -> Term:
    return Term(BIASED, MODEL, "square-shortcut", name, low=f"{name}-low", high=f"{name}-high")


def _beginnings(accuracy: str) -> Term:
    subject = f"fmnist-lenet[eight={accuracy}] no-bags"
    return Term(subject, "cdeepex[begin=sample,probe=8]", "ceiling", "cosine", repeats=True)


def _moves(subject: str, measure: str) -> Term:
    return Term(f"{subject} no-bags", "cdeepex[probe=8]", "equal-moves", measure)


def _eight(
    accuracy: str, measure: str = "transfer-gain", check: str = "counterfactual", explainer: str = "cdeepex[probe=8]"
) -> Term:
    return Term(f"fmnist-lenet[eight={accuracy}] no-bags", explainer, check, measure)


def _swap(measure: str, check: str = "generator-swap") -> Term:
    return Term("fmnist-lenet second-half", _HALF, check, measure)


def _blind(name: str, explainer: str, words: str) -> Claim:
    return Claim(
        name, f"Other methods do not find the bias: {words}.", "3.2.2, figure 3.7",
        "share of the map (bag against predicted class) inside the square, half of its area at most",
        _square(BIASED, explainer, "square-energy"), at_most=round(AREA / 2, 4),
    )  # fmt: skip


_THIRD = (
    Claim("third-class", "At the end of CDeepEx no third class is likelier than the two, whatever is asked.",
          "3.2.1, figures 3.4 and 3.5", "share of images with a likelier third class, random probe",
          _third("cdeepex[probe=random]"), at_most=0.1),
    Claim("third-class-gap", "Without the constraints (xGEM in the paper's reading) a third class is often likelier.",
          "3.2.1, figures 3.4 and 3.5", "share without the constraints less share with them, random probe",
          _third("xgem-eq[probe=random]"), _third("cdeepex[probe=random]"), "difference", at_least=0.15),
    Claim("third-class-second", "The same for the second most likely class as probe.", "3.2.1, figures 3.4 and 3.5",
          "share without the constraints less share with them, second class", _third("xgem-eq"), _third("cdeepex"),
          "difference", at_least=0.15),
    Claim("boundary", "At the end the two classes are equally likely.", "3.1.2, equation 3.2",
          "difference of the two probabilities, median", Term(_LENET, "cdeepex", "counterfactual", "boundary-gap", "median"),
          at_most=0.05),
    Claim("printed-signs", "The constraints as they are printed keep third classes below.", "3.1.2, equation 3.2",
          "share of images with a likelier third class, printed signs, random probe",
          _third("cdeepex[probe=random,signs=printed]"), at_most=0.1),
)  # fmt: skip

_BIAS = (
    Claim("bias-recall", "The biased network knows 5% of the class without its square.", "3.2.2",
          "recall of bags without a square", _shortcut("recall-clean"), at_most=0.3),
    Claim("bias-others", "With the square it takes 77% of the other classes for it.", "3.2.2",
          "share of the other classes called bag once they have a square", _shortcut("others-marked"), at_least=0.55),
    Claim("square-change", "CDeepEx adds the square: it makes something a bag.", "3.2.2, figure 3.7",
          "mean signed change inside the square", _square(BIASED, _OWN, "square-change"), at_least=0.08),
    Claim("square-classifier", "Because of the classifier: four times what a clean one gives.", "control to figure 3.7",
          "mean change, biased classifier less 4 x clean classifier", _square(BIASED, _OWN, "square-change"),
          _square(PLAIN, _OWN, "square-change"), "difference", 4.0, at_least=0.0),
    Claim("square-generator", "The generator has to know the square: four times what a clean one gives.",
          "control to figure 3.7", "mean change, biased generator less 4 x clean generator",
          _square(BIASED, _OWN, "square-change"), _square(BIASED, _CLEAN, "square-change"), "difference", 4.0, at_least=0.0),
    Claim("square-classifier-thorough", "The same with a more thorough search.", "control to figure 3.7",
          "mean change, biased classifier less 4 x clean classifier, profile=thorough",
          _square(BIASED, _OWN_THOROUGH, "square-change"), _square(PLAIN, _OWN_THOROUGH, "square-change"), "difference", 4.0,
          at_least=0.0),
    Claim("square-generator-thorough", "The same with a more thorough search.", "control to figure 3.7",
          "mean change, biased generator less 4 x clean generator, profile=thorough",
          _square(BIASED, _OWN_THOROUGH, "square-change"), _square(BIASED, _CLEAN_THOROUGH, "square-change"), "difference", 4.0,
          at_least=0.0),
    Claim("square-energy", "The square stands out: four times the share of the change that a clean classifier has there.",
          "control to figure 3.7", "share of the change inside the square, biased less 4 x clean classifier",
          _square(BIASED, _OWN, "square-energy"), _square(PLAIN, _OWN, "square-energy"), "difference", 4.0, at_least=0.0),
    Claim("square-restored", "The square is what makes it a bag: without it the counterfactual is none.", "control to figure 3.7",
          "gain of the gap in logits when the original pixels of the square are put back, median, biased classifier",
          _square(BIASED, _OWN, "square-restored", "median"), at_least=2.0),
    Claim("square-restored-clean", "To a clean classifier it makes no difference.", "control to figure 3.7",
          "the same, clean classifier", _square(PLAIN, _OWN, "square-restored", "median"), at_least=-0.3, at_most=0.3),
    _blind("blind-input-x-gradient", "input-x-gradient", "input x gradient"),
    _blind("blind-ig-black", "integrated-gradients", "integrated gradients from black"),
    _blind("blind-ig-white", "integrated-gradients[baseline=white]", "integrated gradients from white"),
    _blind("blind-gradcam", "gradcam", "Grad-CAM"),
)  # fmt: skip

_FOLLOWS = (
    Claim("follows", "With one generator for all, the explanations are particular to the network: here, more like the class the "
          "more of it the network knows.", "3.2.5, figure 3.12",
          "probability of bag of an independent network, accuracy .99 less accuracy 0", _eight("0.99"), _eight("0"),
          "difference", at_least=0.15),
    Claim("follows-limit", "The same of a network that agrees with the independent one in everything, itself: the search stops "
          "where it finds bag and the class of the image equally likely.", "control to figure 3.12",
          "gain of that probability, the independent network's own boundary less the end at accuracy 0",
          _moves("fmnist-oracle", "gain-end"), _moves("fmnist-lenet[eight=0]", "gain-end"), "difference", at_least=0.15),
    Claim("follows-plain", "The same of a network that saw all bags from the beginning.", "control to figure 3.12",
          "gain of that probability, fmnist-lenet less accuracy 0", _moves("fmnist-lenet", "gain-end"),
          _moves("fmnist-lenet[eight=0]", "gain-end"), "difference", at_least=0.15),
    Claim("follows-random", "A network that never saw a bag does not know where they are.", "control to figure 3.12",
          "gain of that probability at the end of its moves less that of random moves as long, accuracy 0",
          _moves("fmnist-lenet[eight=0]", "gain-end"), _moves("fmnist-lenet[eight=0]", "gain-random"), "difference",
          at_most=0.05),
    Claim("follows-reached", "The same: here, a network that never saw a class has no image at which it is as likely as another.",
          "3.2.5, figure 3.12", "share of searches that reached the boundary, accuracy .99 less accuracy 0",
          _eight("0.99", "converged"), _eight("0", "converged"), "difference", at_least=0.15),
    Claim("follows-per-distance", "The same at its face value, for each step of the way: moves are of other lengths.",
          "control to figure 3.12", "gain of that probability per unit of latent distance, accuracy .99 less accuracy 0",
          _eight("0.99", "gain-per-distance", "equal-moves"), _eight("0", "gain-per-distance", "equal-moves"), "difference",
          at_least=0.0),
    Claim("follows-equal", "The same where both moves are as long as the shorter one.", "control to figure 3.12",
          "gain of that probability at equal latent distance, accuracy .99 less accuracy 0",
          _eight("0", "gain-equal-reference", "equal-moves"), _eight("0", "gain-equal", "equal-moves"), "difference",
          at_least=0.0),
    Claim("follows-flip", "The same of xGEM, another method, which goes on until the network is sure of a bag (.95).",
          "control to figure 3.12", "probability of bag of an independent network, xGEM, accuracy .99 less accuracy 0",
          _eight("0.99", explainer=_FLIP), _eight("0", explainer=_FLIP), "difference", at_least=0.15),
    Claim("follows-consistent", "They get consistent: beginnings matter less the more of the class the network knows.",
          "3.2.5, figure 3.12", "cosine of the maps of two beginnings, accuracy .99 less accuracy 0",
          _beginnings("0.99"), _beginnings("0"), "difference", at_least=0.0),
    Claim("other-generator", "The generator may be trained on other data than the classifier.", "3.2.6",
          "share that reached the boundary with a generator of images in which bags have squares",
          Term(_LENET, _OTHER, "counterfactual", "converged"), at_least=0.9),
    Claim("half-generator", "The same: it may never have seen the classes of the images.", "3.2.6",
          "share that reached the boundary, images of classes 5 to 9, generator of classes 0 to 4",
          _swap("converged", "counterfactual"), at_least=0.9),
    Claim("half-generator-maps", "The same: the explanation is that of the data's own generator, more than a random move's is.",
          "3.2.6", "correlation with the own generator's map, generator of classes 0 to 4 less a random latent move of it",
          _swap("swap-likeness"), _swap("swap-floor"), "difference", at_least=0.15),
    Claim("starts", "Results are stable with respect to the point that the search begins with.", "3.2.1, figure 3.6",
          "cosine of the maps of two beginnings", Term(_LENET, "cdeepex[begin=sample]", "ceiling", "cosine", repeats=True),
          at_least=0.7),
    Claim("faces", "A network for hair colour looks at the eyes.", "3.2.3, figures 3.9 to 3.11",
          untestable="needs the photographs of CelebA and a network trained on them"),
    Claim("users", "Explanations help people to learn classes.", "chapter 5",
          untestable="needs participants; bench study builds and analyses such a study"),
)  # fmt: skip

SUITE = Suite(
    NAME,
    "the experiments of CDeepEx: third classes, the biased square, explanations that follow the classifier",
    parts=(
        _part("third classes", ("counterfactual",),
              ("cdeepex", "xgem-eq", "cdeepex[probe=random,signs=printed]", _OTHER, _PGD), (_LENET,), "64 256 1000"),
        _part("third classes, random probe", ("counterfactual",),
              ("cdeepex[probe=random]", "xgem-eq[probe=random]", f"{_PGD}[probe=random]"), (_LENET,), "192 512 1000"),
        _part("beginnings", ("ceiling",), ("cdeepex[begin=sample]",), (_LENET,), "16 64 256"),
        _part("beginnings toward bags", ("ceiling",), ("cdeepex[begin=sample,probe=8]",),
              tuple(f"models.studies:{_STEPS[accuracy]}" for accuracy in ("0", "0.99")), "16 64 256"),
        _part("biased square", ("square-shortcut", "planted-square"), (_OWN, _CLEAN, *_DIRECT),
              ("models.studies:biased", "models.studies:plain"), "64 256 1000"),
        _part("biased square, thorough search", ("planted-square",), (_OWN_THOROUGH, _CLEAN_THOROUGH),
              ("models.studies:biased",), "64 256 1000"),
        _part("clean network, thorough search", ("planted-square",), (_OWN_THOROUGH,), ("models.studies:plain",),
              "64 256 1000"),
        _part("bags more and more", ("counterfactual",), ("cdeepex[probe=8]", _FLIP, f"{_PGD}[probe=8]"),
              tuple(f"models.studies:{name}" for name in _STEPS.values()), "64 256 1000"),
        _part("equal moves", ("equal-moves",), ("cdeepex[probe=8]",),
              tuple(f"models.studies:{name}" for name in (_STEPS["0"], _STEPS["0.99"], "plain", "judge")), "64 256 1000"),
        _part("classes the generator never saw", ("counterfactual",), (_HALF, _PGD), ("models.studies:second_half",),
              "64 256 1000"),
        _part("generators exchanged", ("generator-swap",), (_HALF,), ("models.studies:second_half",), "64 256 1000"),
    ),
    paper=Paper(NAME, "Feghahati 2020, Deep Contrastive Explanation (CDeepEx)", (*_THIRD, *_BIAS, *_FOLLOWS)),
)  # fmt: skip
