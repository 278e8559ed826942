"""Cards of the combinators."""

from __future__ import annotations

from ..info import Info

_NOISE = {"samples": 25, "sigma": 0.15}

CARDS: tuple[Info, ...] = (
    Info(
        "smoothgrad", "Mean of the inner explainer's maps over noisy copies of the image.", "Smilkov et al. 2017, section 3",
        "R = mean_s e(x + n_s), n_s ~ N(0, sigma^2)", "sigma is relative to the input range [0, 1]",
        "passes (Adebayo 2018)", "combinators:smoothgrad", "combinator", stochastic=True, combinator=True, inner="gradient",
        params=_NOISE, cost=25, grows="samples", runs=25, rows=25,
    ),
    Info(
        "smoothgrad-squared", "Mean of the squares of the inner explainer's maps over noisy copies of the image.",
        "Hooker et al. 2019, section 3", "R = mean_s e(x + n_s)^2", "sigma is relative to the input range [0, 1]",
        "not tested in the literature we know",
        "combinators:smoothgrad_squared", "combinator", signed=False, stochastic=True, combinator=True, inner="gradient",
        params=_NOISE, cost=25, grows="samples", runs=25, rows=25,
    ),
    Info(
        "vargrad", "Variance of the inner explainer's maps over noisy copies of the image.", "Adebayo et al. 2018b",
        "R = var_s e(x + n_s)", "sigma is relative to the input range [0, 1]",
        "not tested in the literature we know", "combinators:vargrad", "combinator",
        signed=False, stochastic=True, combinator=True, inner="gradient", params=_NOISE, cost=25, grows="samples", runs=25,
        rows=25,
    ),
)  # fmt: skip
