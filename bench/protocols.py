"""Protocols: every choice that decides what a randomisation number means, named, declared and hashed.

No two published implementations of the randomisation test compute the same number. A protocol says which one is meant.
What a source does not say is taken from `recommended` and listed in `unstated`; where the source does something that
this package has no exact counterpart for, `departures` says what is done instead.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Any

from models.naming import UsageError, near

from .features import ORACLE, identity

_PROSE = ("source", "unstated", "departures")


@dataclass(frozen=True)
class Protocol:
    """The declared choices of a randomisation test.

    Attributes:
        name: what `--protocol` takes.
        init: law of the new weights: `he`, `default` (the layer's own), `truncated-normal` or `permute`.
        batchnorm: running statistics after randomisation: `recalibrate`, `keep` or `reset`.
        target: explained class: `prediction` (of the trained model, fixed), `label`, or `randomised-prediction`
            (of the model that is explained).
        reduction: how channels become one map: `declared` (by the explainer) or `abs-sum` (sum of absolute values,
            which makes every map non-negative).
        normalisation: `affine-pQ` (clip at the Q-th percentile of |a|; zero stays in place), `min-max` or `max-abs`.
        ssim_window: weights of the window of the measure `ssim`: `gaussian` or `uniform`.
        ssim_size: side of that window in pixels, odd.
        ssim_sigma: standard deviation of the Gaussian window in pixels; without effect on a uniform window.
        ssim_range: the dynamic range L in the constants (K1 L)^2 and (K2 L)^2.
        ssim_covariance: `population` (Wang et al. 2004) or `sample` (n / (n - 1), the default of scikit-image).
        ssim_flip: take the larger of the similarities with the map and with the sign-flipped map.
        floor_draws: number of fully re-initialised models for the floor, >= 1.
        ceiling_repeats: number of repeats of a stochastic explainer on the trained model, >= 1.
        threshold: on the calibrated sensitivity D of the verdict, in (0, 1).
        statistic: what the verdict is made of: `sensitivity` (calibrated D with a crossed bootstrap interval),
            `mean-over-seeds` (shaded by the standard deviation), `mean-over-images` or `median-over-images`.
        features: where the features of Frechet and kernel distances come from, see `bench.features`; part of the hash only
            where they are others than the usual ones.
        source: where the choices come from.
        unstated: names of the choices that the source does not make, taken from `recommended`.
        departures: where this package cannot follow the source exactly.

    Example:
        >>> get("recommended").target
        'prediction'
    """

    name: str
    init: str = "he"
    batchnorm: str = "recalibrate"
    target: str = "prediction"
    reduction: str = "declared"
    normalisation: str = "affine-p99"
    ssim_window: str = "gaussian"
    ssim_size: int = 11
    ssim_sigma: float = 1.5
    ssim_range: float = 1.0
    ssim_covariance: str = "population"
    ssim_flip: bool = False
    floor_draws: int = 5
    ceiling_repeats: int = 2
    threshold: float = 0.2
    statistic: str = "sensitivity"
    features: str = ORACLE
    source: str = ""
    unstated: tuple[str, ...] = ()
    departures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for choice, allowed in _ALLOWED.items():
            if getattr(self, choice) not in allowed:
                raise UsageError(
                    f"protocol {self.name!r}: {choice} is {getattr(self, choice)!r}; allowed are {', '.join(allowed)}"
                )
        percentile(self.normalisation)
        if self.ssim_size < 3 or self.ssim_size % 2 == 0:
            raise UsageError(f"protocol {self.name!r}: ssim_size is {self.ssim_size}; give an odd number of at least 3")

    def parameters(self) -> dict[str, Any]:
        """Everything that changes a number, JSON-able; the prose is left out.

        Example:
            >>> get("sixt2020").parameters()["ssim_size"]
            5
        """
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*_PROSE, "features")}
        return found if self.features == ORACLE else found | {"features": identity(self.features)}

    @property
    def hash(self) -> str:
        """sha256 (64 hex digits) of the canonical JSON of `parameters()`."""
        text = json.dumps(self.parameters(), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_(self, **changes: Any) -> Protocol:
        """The same protocol with other choices, for example the smaller floor of a smoke run.

        Raises:
            UsageError: an unknown choice, or one outside its range.

        Example:
            >>> get("recommended").with_(floor_draws=2).floor_draws
            2
        """
        known = [f.name for f in fields(self)]
        for name in changes:
            if name not in known:
                raise UsageError(f"unknown choice {name!r}; a protocol has {', '.join(known)}{near(name, known)}")
        return replace(self, **changes)


_ALLOWED: dict[str, tuple[str, ...]] = {
    "init": ("he", "default", "truncated-normal", "permute"),
    "batchnorm": ("recalibrate", "keep", "reset"),
    "target": ("prediction", "label", "randomised-prediction"),
    "reduction": ("declared", "abs-sum"),
    "ssim_window": ("gaussian", "uniform"),
    "ssim_covariance": ("population", "sample"),
    "statistic": ("sensitivity", "mean-over-seeds", "mean-over-images", "median-over-images"),
}


def percentile(normalisation: str) -> float | None:
    """The percentile in `affine-pQ`, or None for `min-max` and `max-abs`.

    Raises:
        UsageError: the text is none of the three.

    Example:
        >>> percentile("affine-p99.5"), percentile("min-max")
        (99.5, None)
    """
    if normalisation in ("min-max", "max-abs"):
        return None
    if normalisation.startswith("affine-p"):
        try:
            value = float(normalisation.removeprefix("affine-p"))
        except ValueError:
            value = 0.0
        if 0 < value <= 100:
            return value
    allowed = ["affine-p99", "min-max", "max-abs"]
    raise UsageError(
        f"unknown normalisation {normalisation!r}; allowed are affine-pQ with 0 < Q <= 100, min-max and max-abs"
        f"{near(normalisation, allowed)}"
    )


_REGISTRY = {
    protocol.name: protocol
    for protocol in (
        Protocol("recommended", source="docs of this package, which give the reason for each choice"),
        Protocol(
            "nuzzo2020",
            target="label",
            normalisation="min-max",
            statistic="mean-over-seeds",
            source="Nuzzo 2020, master's thesis, sections 5.2 and 7.2: maps scaled to [0, 1], mean SSIM over 5 seeds "
            "shaded by its standard deviation; a method fails if SSIM stays 1 with fc3 random",
            unstated=("init", "batchnorm", "reduction", "ssim_window", "ssim_size", "ssim_sigma", "ssim_range",
                      "ssim_covariance", "floor_draws", "ceiling_repeats", "threshold"),
            departures=("the explained class is read from the captions (the class of the image)",),
        ),
        Protocol(
            "adebayo2018",
            init="truncated-normal",
            batchnorm="keep",
            target="randomised-prediction",
            reduction="abs-sum",
            normalisation="min-max",
            ssim_range=2.0,
            ssim_covariance="sample",
            statistic="mean-over-images",
            source="Adebayo et al. 2018 with the released code (revision 3e24048): re-initialised variables but not "
            "running statistics, class of the randomised model, sum of absolute values over channels, min-max, SSIM "
            "with Gaussian weights and the library's then default range of 2",
            unstated=("floor_draws", "ceiling_repeats", "threshold"),
            departures=(
                "stages are single layers; the source randomises 17 Inception blocks at a time",
                "draws are seeded and shared by all explainers; the source does not seed the weights",
                "`hog` is the Pearson correlation with this package's cells; the source takes Spearman, cells 16x16",
            ),
        ),
        Protocol(
            "sixt2020",
            init="default",
            batchnorm="reset",
            target="label",
            normalisation="affine-p99.5",
            ssim_window="uniform",
            ssim_size=5,
            ssim_range=2.0,
            ssim_covariance="sample",
            ssim_flip=True,
            statistic="median-over-images",
            source="Sixt et al. 2020 with the released code (revision 5ca7422): untrained weights of the framework's "
            "default law, running statistics reset, true label, percentile clip, 5x5 window, larger of both signs",
            unstated=("ssim_sigma", "floor_draws", "ceiling_repeats", "threshold"),
            departures=(
                "`default` is the layer's own law in torch; the source uses the Glorot law of Keras",
                "every layer is a stage and all explainers meet the same draws; the source: 9 layers, unseeded draws",
            ),
        ),
    )
}  # fmt: skip


def names() -> list[str]:
    """The protocols that `--protocol` takes.

    Example:
        >>> names()
        ['recommended', 'nuzzo2020', 'adebayo2018', 'sixt2020']
    """
    return list(_REGISTRY)


def get(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        UsageError: there is none; the message lists all and the nearest.

    Example:
        >>> get("nuzzo2020").normalisation
        'min-max'
    """
    if name not in _REGISTRY:
        raise UsageError(f"unknown protocol {name!r}; allowed are {', '.join(_REGISTRY)}{near(name, _REGISTRY)}")
    return _REGISTRY[name]
