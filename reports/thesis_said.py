"""What chapter 7 of the thesis says of randomisation: its groups of explainers, and statements with the values that agree."""

from __future__ import annotations

from dataclasses import dataclass

THESIS_PROTOCOL = "nuzzo2020"

STAYS_AT_ONE = 0.995
"""A mean similarity from here on reads 1.00; equality would let rounding errors decide."""

CLOSE = 0.9
"""What the thesis' "close to 1" is taken for."""

RUN = "bench run --suite randomization --protocol nuzzo2020 --profile standard --out runs/nuzzo2020"
"""The run that the page is made of; without --explainers it takes the groups."""

GROUPS = {
    "Group 1": ("saliency", "input-x-gradient", "deconvnet", "guided-backprop", "gradcam", "guided-gradcam"),
    "Group 2": ("deeplift[baseline=blur]", "deeplift", "deepshap", "smoothgrad[samples=5](deeplift[baseline=blur])"),
    "Group 3": (
        "integrated-gradients[baseline=blur,steps=10]",
        "integrated-gradients[steps=10]",
        "smoothgrad[samples=5](integrated-gradients[baseline=blur,steps=5])",
        "gradient-shap[samples=10]",
    ),
    "Group 4": ("lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "lrp-a4b3", "lrp-a5b4", "lrp-a6b5", "lrp-a9b8", "rap"),
}
"""The groups of chapter 7, with fewer samples and steps than the thesis took where they are dear."""


@dataclass(frozen=True)
class Statement:
    """One statement of the thesis and the range of similarities that agrees with it.

    Attributes:
        text: what it says.
        where: section or figure.
        explainer: whose similarity is read.
        low, high: a mean agrees with low <= mean < high.
        check: `cascading` or `independent`.
        layer: name of the layer whose stage is read.
    """

    text: str
    where: str
    explainer: str
    low: float = -1.0
    high: float = STAYS_AT_ONE
    check: str = "cascading"
    layer: str = "fc3"

    def holds(self, mean: float) -> bool:
        """Whether a mean similarity agrees."""
        return self.low <= mean < self.high


_ABOVE = 1.1
_BLURRED, _BLACK = GROUPS["Group 3"][:2]
_BLIND = ("lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "rap")
STATEMENTS = (
    Statement("guided-backprop stays at 1", "figure 7.9", "guided-backprop", STAYS_AT_ONE, _ABOVE),
    Statement(
        "and behaves almost the same down to conv6", "figure 7.8", "guided-backprop", CLOSE, _ABOVE, layer="conv6"
    ),
    Statement("guided-gradcam is near 0.9", "figure 7.9", "guided-gradcam", 0.8),
    *(Statement(f"{name} passes", "figure 7.9", name) for name in GROUPS["Group 1"][:3] + ("gradcam",)),
    *(
        Statement(f"{name} does not stay at 1", "figure 7.13", name, check="independent", layer="conv1")
        for name in GROUPS["Group 1"]
    ),
    *(Statement(f"{name} passes", "figures 7.19 to 7.23", name) for name in GROUPS["Group 2"]),
    *(Statement(f"{name} passes", "figures 7.29 to 7.32", name) for name in GROUPS["Group 3"]),
    Statement("about 0.9 with a blurred baseline", "section 7.2", _BLURRED, 0.85, 0.95),
    Statement("about 0.7 with a black baseline", "section 7.2", _BLACK, 0.65, 0.75),
    *(Statement(f"{name} fails: close to 1", "figure 7.37", name, CLOSE, _ABOVE) for name in _BLIND),
    *(
        Statement(
            f"{name} stays close to 1 with convolutions random", "figure 7.37", name, CLOSE, _ABOVE, layer="conv8"
        )
        for name in _BLIND
    ),
    *(Statement(f"{name} passes", "figure 7.37", name) for name in ("lrp-a4b3", "lrp-a5b4", "lrp-a6b5", "lrp-a9b8")),
)
"""In the order of the chapter; "with convolutions random" is read where the last three are."""
