"""Cards of DeepLIFT and DeepSHAP."""

from __future__ import annotations

from ..info import Info

_RULES = (
    "Linear operations keep their derivative, element-wise ones take Delta y / Delta x, maximum pooling is split by the "
    "cross-maximum (what the output rises goes to the winner of the image, what it falls to the winner of the baseline), "
    "products of two functions of the image are split symmetrically, layer and group norms are taken apart into these; "
    "softmax, attention and other mixing of the image with itself is refused. "
)
_GATE = "The map sums to f(x) - f(x0); one that misses by more than 1% is a failure; double precision where single misses 1e-4."

CARDS: tuple[Info, ...] = (
    Info(
        "deeplift", "Contributions of the pixels' changes from a baseline to the change of the explained logit, handed "
        "back through multipliers. " + _RULES + "With reveal-cancel the positive and the negative terms of a sum act on "
        "the activation that reads it separately, each averaged over acting first and second. " + _GATE,
        "Shrikumar et al. 2017, sections 3.2 to 3.5; Nuzzo 2020, eq. 4.21 to 4.30",
        "R = m (x - x0), m_{x,y} = (y - y0) / (x - x0) at every activation, chained", "a baseline that stands for absence",
        "passes with black and blurred baselines (Nuzzo 2020; Sixt 2020)", "deeplift:deeplift", "relevance",
        requires="relevance", params={"rule": "rescale", "baseline": "black"}, cost=4, rows=2, memory=2,
    ),
    Info(
        "deepshap", "Mean of DeepLIFT over a few reference images as baselines. " + _RULES + _GATE.replace(
            "f(x0)", "mean f(x0)"), "Lundberg and Lee 2017, section 4.2",
        "R = mean_r m(x, x_r) (x - x_r)", "reference images that stand for absence", "passes (Nuzzo 2020, figures 7.19 to 7.23)",
        "deeplift:deepshap", "relevance",
        stochastic=True, requires="relevance", params={"rule": "rescale", "references": 4}, cost=16, grows="references",
        rows=2, memory=2,
    ),
)  # fmt: skip
