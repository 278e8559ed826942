"""Where CDeepEx's images end up when they are cut to [0, 1] during the search, and when only its result is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .contrastive import Piece, Values


def on_boundary(piece: Piece) -> Values:
    """The search of `cdeepex` made twice from the same beginnings.

    Args:
        piece: names the explainer with its generator and probe.

    Returns:
        Per image, 1 where the two classes are equally likely in the image that is returned (|log odds| <= 0.1): `inside` with
        images cut on the way, `after` with the result alone cut.
    """
    import torch

    import explainers
    import models
    from explainers.contrastive.cdeepex import GOAL, PROFILES, SOUGHT, morph_of
    from explainers.contrastive.lagrangian import search
    from explainers.contrastive.morph import conditions
    from explainers.contrastive.start import Question, scaled_logits, started

    subject = models.load(piece.model)
    params = dict(explainers.get(piece.explainer).resolved.params)
    images = subject.sample(piece.images, seed=piece.seed)[0]
    source = subject.predict(images)
    question = Question(str(params["generator"]), str(params["probe"]), str(params["begin"]), piece.seed)
    made, start, _ = started(subject, question, images, source, None)
    morph = morph_of(
        made, scaled_logits(subject, 1.0), images, source, start, third=str(params["signs"]), residual=bool(params["residual"])
    )  # fmt: skip
    found = {}
    for name, inside in (("inside", True), ("after", False)):
        tried = replace(morph, inside=inside)
        z = search(tried.constraints, start.z, PROFILES[str(params["profile"])], SOUGHT).z
        with torch.no_grad():
            shown = tried.image(z).clamp(0, 1)
        odds, _ = conditions(subject.predict_logits(shown), source, start.probe)
        found[name] = (odds.abs() <= GOAL.equality).double().tolist()
    return found
