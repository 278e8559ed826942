"""Nuzzo 2020: randomisation of four groups of explainers, in a cascade and layer by layer, and maps of two classes."""

from __future__ import annotations

from reports.papers import Claim, Paper, Term

from ..sized import Size, Suite

NAME = "paper-nuzzo"
AT_ONE = 0.995
"""A mean SSIM from here on reads 1.00, which is the thesis' rule for a failure."""
CLOSE = 0.9
"""What "close to 1" is taken for."""

_MODEL, _MOSAIC = "fmnist-vgg", "fmnist-mosaic"
GROUPS = (
    ("saliency", "input-x-gradient", "deconvnet", "guided-backprop", "gradcam", "guided-gradcam"),
    ("deeplift", "deeplift[baseline=blur]", "deepshap", "smoothgrad[samples=5](deeplift[baseline=blur])"),
    ("integrated-gradients[steps=10]", "integrated-gradients[baseline=blur,steps=10]",
     "smoothgrad[samples=5](integrated-gradients[baseline=blur,steps=5])", "gradient-shap[samples=10]"),
    ("lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "lrp-a4b3", "lrp-a5b4", "lrp-a9b8", "rap"),
)  # fmt: skip
"""The thesis' groups: gradients and CAM, DeepLIFT, integrated gradients, LRP and RAP; fewer steps where they are dear."""
_LAYERS = 13


def _ssim(explainer: str, check: str = "cascading", stage: int = 1) -> Term:
    return Term(_MODEL, explainer, check, "ssim", stage=stage)


def _same(name: str, explainer: str, statement: str, where: str, at_least: float = AT_ONE) -> Claim:
    measured = f"SSIM of {explainer} with the output layer random"
    return Claim(name, statement, where, measured, _ssim(explainer), at_least=at_least)


def _changes(explainer: str, where: str) -> Claim:
    return Claim(
        f"passes-{explainer}", f"{explainer} passes: its SSIM does not stay at 1.", where,
        f"SSIM of {explainer} with the output layer random", _ssim(explainer), at_most=AT_ONE,
    )  # fmt: skip


def _classes(
    explainer: str, statement: str, where: str, *, at_least: float | None = None, at_most: float | None = None
) -> Claim:
    return Claim(
        f"classes-{explainer}", statement, where, f"SSIM of the maps of two classes of one mosaic, {explainer}",
        Term(_MOSAIC, explainer, "class-similarity", "ssim"), at_least=at_least, at_most=at_most,
    )  # fmt: skip


_CASCADE = (
    _same("guided-backprop", "guided-backprop", "Guided backpropagation gives the same map.", "7.2.2, figure 7.9"),
    Claim("guided-gradcam", "Guided Grad-CAM changes a little, to an SSIM near 0.9.", "7.2.2, figure 7.9",
          "SSIM of guided-gradcam with the output layer random", _ssim("guided-gradcam"), at_least=0.8, at_most=AT_ONE),
    *(_changes(name, "7.2.2, figure 7.9") for name in ("saliency", "input-x-gradient", "deconvnet", "gradcam")),
    *(_changes(name, "7.2.2, figures 7.19 to 7.23") for name in GROUPS[1]),
    *(_changes(name, "7.2.2, figures 7.29 to 7.32") for name in GROUPS[2]),
    Claim("ig-baseline", "With a blurred baseline integrated gradients stay nearer to the trained map (0.9) than with a black "
          "one (0.7).", "7.2.2, figure 7.32", "SSIM with a blurred less SSIM with a black baseline",
          _ssim("integrated-gradients[baseline=blur,steps=10]"), _ssim("integrated-gradients[steps=10]"), "difference",
          at_least=0.1),
    _same("lrp-a1b0", "lrp-a1b0", "LRP with alpha 1 fails.", "7.2.2, figure 7.37", CLOSE),
    _same("lrp-a2b1", "lrp-a2b1", "LRP with alpha 2 fails.", "7.2.2, figure 7.37", CLOSE),
    _same("lrp-a3b2", "lrp-a3b2", "LRP with alpha 3 fails.", "7.2.2, figure 7.37", CLOSE),
    _same("rap", "rap", "RAP fails.", "7.2.2, figure 7.37", CLOSE),
    *(_changes(name, "7.2.2, figure 7.37") for name in ("lrp-a4b3", "lrp-a5b4", "lrp-a9b8")),
    Claim("lrp-beta", "LRP depends on the network the more negative relevance weighs.", "7.2.2, figure 7.37",
          "SSIM with alpha 2 less SSIM with alpha 9", _ssim("lrp-a2b1"), _ssim("lrp-a9b8"), "difference", at_least=0.2),
)  # fmt: skip

_INDEPENDENT = (
    *(Claim(f"first-layer-{name}", f"No method of the first group keeps its map when only the first layer is random: {name}.",
            "7.2.2, figure 7.13", f"SSIM of {name} with the first layer random", _ssim(name, "independent", _LAYERS),
            at_most=AT_ONE)
      for name in GROUPS[0]),
    Claim("independent-like-cascade", "Cascading and independent randomisation correspond: Guided backpropagation keeps its map "
          "when one late layer is random.", "7.2.2, figures 7.9 and 7.13",
          "SSIM of guided-backprop with only the last fully connected layer but one random",
          _ssim("guided-backprop", "independent", 2), at_least=AT_ONE),
)  # fmt: skip

_CLASS = (
    _classes("saliency", "Saliency differs between two classes, SSIM near 0.5.", "7.3, figure 7.43", at_most=0.7),
    _classes("input-x-gradient", "Input x gradient differs between two classes, SSIM near 0.5.", "7.3, figure 7.43", at_most=0.7),
    _classes("guided-backprop", "Guided backpropagation gives nearly the same map for both classes.", "7.3, figure 7.43",
             at_least=CLOSE),
    _classes("deconvnet", "DeconvNet gives nearly the same map for both classes.", "7.3, figure 7.43", at_least=CLOSE),
    _classes("gradcam", "Grad-CAM tells the classes apart.", "7.3, figure 7.43", at_most=0.7),
    _classes("lrp-a1b0", "LRP with alpha 1 gives the same map for both classes.", "7.3, figure 7.58", at_least=CLOSE),
    _classes("lrp-a2b1", "LRP with alpha 2 gives the same map for both classes.", "7.3, figure 7.58", at_least=CLOSE),
    _classes("rap", "RAP gives the same map for both classes.", "7.3, figure 7.58", at_least=CLOSE),
    Claim("tiny-imagenet", "All of it on photographs of Tiny ImageNet.", "7.1",
          untestable="the photographs and the thesis' network are not at hand; other data, the thesis' layers"),
)  # fmt: skip

_QUICK = {"quick": Size(8, 5), "standard": Size(16, 5), "full": Size(64, 10)}

SUITE = Suite(
    NAME,
    "the experiments of Nuzzo 2020: four groups of explainers, layers random in a cascade and one at a time, two classes",
    parts=(
        Suite(f"{NAME}: randomisation", "", ("cascading", "independent", "ceiling", "floor", "health-cascading"),
              tuple(name for group in GROUPS for name in group),
              references=("input", "edge-detector", "constant", "random", "random-by-model"), sizes=_QUICK, models=(_MODEL,),
              label="randomization"),
        Suite(f"{NAME}: two classes", "", ("class-similarity", "class-ceiling", "class-floor"),
              (*GROUPS[0], "deeplift", "integrated-gradients[steps=10]", "lrp-a1b0", "lrp-a2b1", "lrp-a5b4", "rap"),
              models=(_MOSAIC,), label="class-discrimination",
              sizes={"quick": Size(64, 1), "standard": Size(128, 1), "full": Size(512, 1)}),
    ),
    paper=Paper(NAME, "Nuzzo 2020, Sanity Checks for Explanations of Deep Neural Networks Predictions",
                (*_CASCADE, *_INDEPENDENT, *_CLASS)),
    protocol="nuzzo2020",
)  # fmt: skip
