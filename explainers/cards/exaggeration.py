"""Card of Progressive Exaggeration."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "progressive-exaggeration", "An encoder and a generator, fitted beforehand to one binary classifier, redraw the image "
        "so that the classifier gives each requested probability; the map is the difference between the two ends of the "
        "series. From the paper: ordinal projection discriminator, hinge losses, agreement with the classifier, "
        "self and cycle reconstruction. Ours: normalisation per image, the middle of each bin is requested, both players "
        "minimise, training images drawn evenly over the bins.",
        "Singla et al. 2020, sections 2 and 4.3",
        "R = G(E(x), k_far) - G(E(x), k_near); fit: hinge + 10 KL(t || f(x_d)) + 50 |x - G(E(x), k_x)|_1 "
        "+ 50 |x - G(E(x_d), k_x)|_1",
        "two classes; fitted to these weights with `bench train progressive-exaggeration --model M`",
        "given the bin its images do not depend on the classifier: randomising that one afterwards changes nothing but the "
        "achieved probabilities, so it is tested by fitting it again to a random classifier",
        "contrastive.exaggeration.explain:progressive_exaggeration", "contrastive", amortised=True, cost=20, rows=10,
        params={
            "map": "extremes", "profile": "default", "bins": 10, "steps": 1250, "kl": 10.0, "reconstruction": 50.0,
            "adversarial": 1.0, "width": 16, "fit_seed": 0, "data": "own", "cache": "default",
        },
    ),
)  # fmt: skip
