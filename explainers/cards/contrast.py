"""Card of the contrast of direct explainers."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "contrast", "Why this class and not the probe class, from an explainer of one class: e_true - w e_probe for the "
        "weights w = 0.005, 0.01, ... 2 for which taking it out of the image lowers the probability of the explained class "
        "and raises that of the probe class, averaged. An image for which no weight does is a failure: the map "
        "shows no way from the one class to the other (step=0.02, 16 test images: 1 fails with gradcam, lime or input x "
        "gradient, 8 with pda; how sure the network is plays no part). 400 forward passes per image at the defaults, besides "
        "two maps of the inner explainer; step=0.05 needs 40.",
        "Feghahati 2020, section 3.2", "R = mean over kept w of e_true - w e_probe",
        "the image tried is x - strength e / max|e|, cut to [0, 1]; the source does not say how it is imposed",
        "inner explainers were not made for contrast (Feghahati 2020)", "contrast:contrast", "combinator", combinator=True,
        inner="gradcam", params={"probe": "second", "step": 0.005, "largest": 2.0, "strength": 1.0}, cost=135,
        runs=2,
    ),
)  # fmt: skip
