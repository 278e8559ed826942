"""The suites that repeat the experiments of papers; one module per paper, with its suite and its claims.

A suite of a paper has `parts`, each a suite with checks, explainers, models and sizes of its own whose `label` says as
which suite its records are judged and drawn, and a `paper`, the claims that are computed from the records of all parts
(`reports.papers`). Explainers in claims are written as on the command line. To add a paper, write such a module and put its
suite into `SUITES`.
"""

from __future__ import annotations

from ..sized import Suite
from . import aevae, cdeepex, exaggeration, nuzzo

SUITES: tuple[Suite, ...] = (
    cdeepex.SUITE,
    exaggeration.SUITE,
    nuzzo.SUITE,
    aevae.SUITE,
)
