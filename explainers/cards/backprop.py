"""Cards of the explainers that change the backward pass at ReLUs."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "deconvnet", "Back-propagation in which every ReLU passes the positive part of what arrives from above, whatever "
        "the forward pass did.", "Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5", "R^l = max(R^{l+1}, 0)",
        "a network of ReLUs", "contested: passes in Nuzzo 2020, fails in Sixt 2020", "backprop:deconvnet",
        "modified-backprop", requires="relu", params={"extend": "none"},
    ),
    Info(
        "guided-backprop", "Back-propagation in which every ReLU passes the positive part of what arrives from above where "
        "the unit was active.", "Springenberg et al. 2015, section 3.4; Nuzzo 2020, eq. 4.6",
        "R^l = 1[x > 0] max(R^{l+1}, 0)", "a network of ReLUs",
        "fails: blind to the classifier head (Adebayo 2018, Nie 2018, Nuzzo 2020)", "backprop:guided_backprop",
        "modified-backprop", requires="relu", params={"extend": "none"},
    ),
)  # fmt: skip
