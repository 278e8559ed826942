"""Cards of the reference explainers, whose verdicts are known."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "input", "The image itself: knows nothing of the model.", "reference explainer", "R = x", "nothing of the network",
        "must FAIL with similarity exactly 1", "controls:input_image", "reference", signed=False, class_sensitive=False,
        channels="max-abs", cost=0,
    ),
    Info(
        "edge-detector", "Sobel edges of the image: looks like an explanation and knows nothing of the model.",
        "Adebayo et al. 2018, section 3", "R = |Sobel(x)|", "nothing of the network", "must FAIL with similarity exactly 1",
        "controls:edge_detector", "reference", signed=False, class_sensitive=False, channels="max-abs", cost=0,
    ),
    Info(
        "constant", "One everywhere.", "reference explainer", "R = 1",
        "nothing of the network", "must be UNDEFINED", "controls:constant",
        "reference", signed=False, class_sensitive=False, cost=0,
    ),
    Info(
        "random", "New noise at every call.", "reference explainer", "R ~ N(0, 1)",
        "nothing of the network", "must be UNRELIABLE",
        "controls:random_noise", "reference", stochastic=True, class_sensitive=False, cost=0,
    ),
    Info(
        "random-by-model", "Noise that depends on the weights and the image only: passes every randomisation test and means "
        "nothing, which shows why randomisation is a gate and never a rank.", "after Binder et al. 2023",
        "R ~ N(0, 1) seeded by the weights", "nothing of the network", "must PASS randomisation and be at chance elsewhere",
        "controls:random_by_model", "reference", class_sensitive=False, cost=0,
    ),
    Info(
        "centre", "A Gaussian blob in the middle of the image: the prior of a centred photograph.", "reference explainer",
        "R = exp(-r^2 / (2 (side / 6)^2))",
        "nothing of the network", "must FAIL with similarity exactly 1", "controls:centre", "reference",
        signed=False, class_sensitive=False, cost=0,
    ),
    Info(
        "oracle", "The planted evidence itself, on data whose evidence is known.", "reference explainer",
        "R = 1 on the evidence, 0 elsewhere", "data with planted evidence", "perfect localisation", "controls:oracle",
        "reference", signed=False, cost=0, requires="evidence",
    ),
)  # fmt: skip
