"""Cards of the explainers made of ordinary gradients."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "gradient", "The derivative of the explained logit with respect to every pixel, signed.",
        "Simonyan et al. 2014, section 3; Nuzzo 2020, eq. 4.1", "R = df_c/dx", "any differentiable network",
        "passes (Adebayo 2018, Nuzzo 2020)", "gradients:gradient_map", "gradient",
    ),
    Info(
        "saliency", "The absolute derivative of the explained logit with respect to every pixel; colour channels by maximum.",
        "Simonyan et al. 2014, section 3.1; Nuzzo 2020, eq. 4.1", "R = |df_c/dx|", "any differentiable network",
        "passes (Adebayo 2018, Nuzzo 2020)", "gradients:saliency", "gradient", signed=False, channels="max-abs",
    ),
    Info(
        "input-x-gradient", "Pixel times derivative of the explained logit: the first-order share of each pixel, measured "
        "from black.", "Shrikumar et al. 2016; Nuzzo 2020, eq. 4.2", "R = x df_c/dx",
        "black means absent: a black pixel gets exactly 0", "passes (Adebayo 2018, Nuzzo 2020)",
        "gradients:input_x_gradient", "gradient",
    ),
    Info(
        "integrated-gradients", "Gradient averaged along the straight line from a baseline to the image, times their "
        "difference (Gauss-Legendre nodes). Complete: the map sums to f(x) - f(baseline); one that misses by more than 10% of "
        "max(|f(x) - f(baseline)|, sum |R|) is a failure: take more steps.",
        "Sundararajan et al. 2017, eq. 1; Nuzzo 2020, eq. 4.31", "R = (x - x0) int_0^1 df_c(x0 + a (x - x0))/dx da",
        "a baseline that stands for absence", "passes (Adebayo 2018, Nuzzo 2020)", "gradients:integrated_gradients",
        "gradient", params={"steps": 50, "baseline": "black"}, cost=50, grows="steps", rows=50,
    ),
)  # fmt: skip
