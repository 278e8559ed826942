"""`bench train EXPLAINER --model M`: fits of amortised explainers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.naming import UsageError


def amortised(name: str) -> bool:
    """Whether a name is that of an explainer that is fitted to a classifier beforehand.

    Example:
        >>> amortised("ae-vae"), amortised("saliency"), amortised("fmnist-vgg")
        (True, False, False)
    """
    import explainers

    try:
        return explainers.card(name.partition("[")[0]).amortised
    except UsageError:
        return False


def fit(
    name: str, model: str, out: Path | None, log: Callable[[str], None] = print, *, refits: bool = False
) -> dict[str, Any]:
    """Fit an amortised explainer to a model, unless that was done before.

    Args:
        name: the explainer with its parameters, which are the options of the fit.
        model: as `--model` takes it.
        out: folder for the fit; None takes the cache.
        log: receives progress lines.
        refits: also make the two fits that the check `refit` compares with.

    Returns:
        `explainer` as it has to be named to use this fit, and the report of the fit; with `refits` also `again` and
        `random`, the reports of the fit from another seed and of that to a random classifier.

    Raises:
        UsageError: no model was named, or it does not suit the explainer.
    """
    if not model:
        raise UsageError(f"{name} is fitted to a model; name one: bench train '{name}' --model M")
    import explainers
    from explainers.contrastive import fits

    from .subjects import explained

    folder = "" if out is None else str(out)
    subject = explained(model)
    fitted, report = fits.fit(explainers.get(name), subject, folder=folder, log=log)
    found = {"explainer": fitted.name, **report}
    if refits:
        from explainers.contrastive.refits import fit_both

        found["again"], found["random"] = fit_both(explainers.get(name), subject, folder=folder, log=log)
    return found
