"""Cards of the linear surrogates on super-pixels."""

from __future__ import annotations

from ..info import Info

_PARTS = {"samples": 100, "segments": 20, "segmentation": "slic", "baseline": "neighbours"}

CARDS: tuple[Info, ...] = (
    Info(
        "lime", "Weights of super-pixels in a ridge regression of the logit on random coalitions of them, nearer coalitions "
        "counting more. Absent super-pixels take the mean colour of those that touch them.",
        "Ribeiro et al. 2016, section 3.4; Nuzzo 2020, eq. 4.36",
        "phi = argmin sum_s pi_s (f(z_s) - b - phi z_s)^2 + 0.001 S |phi|^2", "super-pixels are the parts that matter",
        "passes, being blind to the inside of the network (Nuzzo 2020, after Sixt 2020)", "surrogates:lime", "surrogate",
        stochastic=True, cost=34, grows="samples", rows=64, params={**_PARTS, "width": 0.25},
    ),
    Info(
        "kernel-shap", "Shapley values of super-pixels by weighted regression over coalitions drawn in complementary pairs, "
        "under the constraint that they sum to f(x) - f(background); exact where all coalitions fit into the samples.",
        "Lundberg and Lee 2017, theorem 2; Covert and Lee 2021; Nuzzo 2020, eq. 6.20 to 6.23",
        "phi = argmin sum_z pi(z) (f(z) - f(0) - phi z)^2, pi(z) = (M - 1) / (binom(M, |z|) |z| (M - |z|))",
        "a fixed background stands for absence",
        "passes, being blind to the inside of the network (Nuzzo 2020, after Sixt 2020)", "surrogates:kernel_shap",
        "surrogate", stochastic=True, cost=34, grows="samples", rows=64, params=dict(_PARTS),
    ),
)  # fmt: skip
