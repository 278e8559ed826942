"""What becomes of searches when a network is random throughout: how it is drawn decides how many meet their goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.base import Subject

    from .contrastive import Piece, Values

TRAINED = "trained"
INITS = {
    TRAINED: "trained network",
    "he": "He, zero bias (`recommended`)",
    "default": "torch's default, random bias",
}
REFERENCE = 256


def random_network(piece: Piece) -> Values:
    """The question of the trained network, asked a network of the same layout whose layers are all drawn anew.

    Args:
        piece: its `init` says how layers are drawn, its seed which draw, images and probes.

    Returns:
        Per image: `feasible`, 1 where the search met its goal, and `trivial`, 1 where nothing had to be moved; `common` in a list
        of one, see `common_share`.
    """
    import explainers
    import models
    from models.randomize import randomized

    subject = models.load(piece.model)
    images = subject.sample(piece.images, seed=piece.seed)[0]
    targets = subject.predict(images)
    explainer = explainers.get(piece.explainer).anchored(subject)
    network = subject
    if piece.init != TRAINED:
        network = randomized(subject, subject.stages, base=0, seed=piece.seed, init=piece.init)
    outcome = explainer.explain(network, images, targets, seed=piece.seed).outcome or ()
    return {
        "feasible": [float(word in ("converged", "trivial")) for word in outcome],
        "trivial": [float(word == "trivial") for word in outcome],
        "common": [common_share(network)],
    }


def common_share(subject: Subject) -> float:
    """Share of the variance of logits (about each image's mean) that is the same for all images, in [0, 1].

    1: one class leads alike on all images; 0: on average over images no class leads.
    """
    logits = subject.predict_logits(subject.reference.load(range(REFERENCE))).double()
    logits = logits - logits.mean(1, keepdim=True)
    return float(logits.mean(0).square().mean() / logits.square().mean())
