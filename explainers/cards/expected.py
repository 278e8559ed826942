"""Cards of the explainers that average gradients over reference images."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "expected-gradients", "Integrated gradients averaged over reference images as baselines, by Monte Carlo: every sample "
        "draws a reference image and a point on the line to it. Complete in expectation only; the error is recorded.",
        "Erion et al. 2021, eq. 2; Nuzzo 2020, eq. 4.34", "R = E_{x', a ~ U(0,1)} (x - x') df_c(x' + a (x - x'))/dx",
        "reference images that stand for absence",
        "not tested in the literature we know; gradient-shap passes (Nuzzo 2020)", "expected:expected_gradients", "gradient",
        stochastic=True,
        params={"samples": 25}, cost=34, grows="samples", rows=25,
    ),
    Info(
        "gradient-shap", "Expected gradients of noisy copies of the image, as in captum. The error of completeness includes "
        "the noise and is recorded only.", "Lundberg and Lee 2017; captum's GradientShap",
        "R = E_{x', a, n} (x + n - x') df_c(x' + a (x + n - x'))/dx, n ~ N(0, sigma^2)",
        "reference images that stand for absence; sigma is relative to the input range [0, 1]", "passes (Nuzzo 2020)",
        "expected:gradient_shap", "gradient", stochastic=True, params={"samples": 25, "sigma": 0.1}, cost=34,
        grows="samples", rows=25,
    ),
)  # fmt: skip
