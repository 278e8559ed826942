"""Cards of the explainers that hide parts of the image."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "occlusion", "Fall of the explained logit when a square window of all channels is hidden, averaged over the windows "
        "that cover a pixel. Window and stride are shares of the shorter side: 4 and 2 of 32 pixels.",
        "Zeiler and Fergus 2014, section 4.2", "R_p = mean_{w covers p} (f_c(x) - f_c(x with w hidden))",
        "what hides stands for absence", "sensitive to the parameters, as it sees the network only through its outputs",
        "perturbation:occlusion", "perturbation", cost=75, rows=64,
        params={"window": 0.125, "stride": 0.0625, "baseline": "black"},
    ),
    Info(
        "rise", "Mean of random soft masks, each weighted by the probability that the network gives the class when it sees "
        "the image through the mask. Masks come in opposite pairs, which keeps the expectation and halves the number needed.",
        "Petsiuk et al. 2018, eq. 6", "R = 1/(N p) sum_i softmax(f(x M_i))_c M_i",
        "probabilities, not logits; black stands for absence", "not tested in the literature we know",
        "perturbation:rise", "perturbation", signed=False, stochastic=True, cost=67, grows="samples", rows=64,
        params={"samples": 200, "cells": 7, "keep": 0.5},
    ),
)  # fmt: skip
