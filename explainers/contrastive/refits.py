"""The fits that the maps of an amortised explainer are compared with: to the same classifier again, and to a random one.

Both are made beforehand, by `bench train EXPLAINER --model M --refits`, or shipped; nothing is fitted while a benchmark runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from models.base import Subject
from models.naming import Spec, UsageError
from models.randomize import randomized
from models.seeds import derive

from .. import registry
from ..base import Explainer
from .amortised import with_spread_of
from .fits import DRAWN, fit, subject_identity

BASE, DRAW = derive(0, "refit"), 0


def random_of(subject: Subject) -> Subject:
    """The random classifier that is fitted to: every layer re-initialised, log-odds brought to the trained one's spread.

    Its fits are found by the trained classifier's weights and the numbers of the draw, not by the weights that were drawn,
    whose last bits may differ between machines.
    """
    law: dict[str, Any] = {"base": BASE, "seed": DRAW, "init": "he", "batchnorm": "recalibrate"}
    made = with_spread_of(randomized(subject, subject.stages, **law), subject)
    made.kept(DRAWN, lambda: {"random": law, "of": subject_identity(subject)})
    return made


def again(explainer: Explainer) -> Explainer:
    """The explainer as it is when fitted from another seed."""
    params = dict(explainer.resolved.params)
    params["fit_seed"] += 1
    return registry.get(Spec(explainer.resolved.name, tuple(sorted(params.items()))))


def fit_both(
    explainer: Explainer, subject: Subject, *, folder: str = "", log: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the two fits, unless they are there; minutes each.

    Returns:
        The reports of the fit from another seed and of the fit to the random classifier.

    Raises:
        UsageError: not an amortised explainer, or the classifier does not suit it.
    """
    same = fit(again(explainer), subject, folder=folder, log=log)[1]
    return same, fit(explainer, random_of(subject), folder=folder, log=log)[1]


def refit_maps_of(
    explainer: Explainer, subject: Subject, images: Tensor, targets: Tensor, *, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of three fits on the same images, for `amortised.refit`.

    Returns:
        Signed maps (N, H, W) of the fit to the classifier, of its re-fit from another seed, of the fit to the random one.

    Raises:
        UsageError: one of the three was not made; the message says how to.
    """
    found = []
    for each, network in ((explainer, subject), (again(explainer), subject), (explainer, random_of(subject))):
        try:
            found.append(each.explain(network, images, targets, seed=seed).map("signed"))
        except UsageError as error:
            if each is explainer and network is subject:
                raise
            raise UsageError(
                f"{explainer.name} was not fitted again, to compare its maps with; run "
                f"bench train '{explainer.name}' --model {subject.name} --refits (minutes per fit)"
            ) from error
    return found[0], found[1], found[2]
