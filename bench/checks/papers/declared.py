"""What the checks of single papers declare about themselves; torch-free."""

from __future__ import annotations

from bench.checks.base import CheckInfo, Measure

SUITE = "generative"
SQUARE = "planted-square"
SHORTCUT = "square-shortcut"
FITTED = "fitted-codes"
EQUAL = "equal-moves"
SWAP = "generator-swap"
BLOCK = 32

_SQUARE = (
    Measure("square-energy", "share", "none", 0.0, 1.0, None,
            "Share of the absolute values of the map (bag against the predicted class) inside the square, which is 0.046 of the "
            "28x28 picture."),
    Measure("square-change", "intensity", "none", -1.0, 1.0, 0.0,
            "Mean signed change inside the square, counterfactual less image."),
    Measure("square-gap", "logit", "none", None, None, 0.0,
            "Logit of the predicted class less that of bag at the counterfactual: about 0 on the boundary."),
    Measure("square-restored", "logit", "none", None, None, 0.0,
            "How much that gap grows when the original pixels inside the square are put back into the counterfactual: large only "
            "where the square did the work."),
    Measure("square-added", "logit", "none", None, None, 0.0,
            "How much the gap of the image itself falls when the bare square is added to it."),
)  # fmt: skip


def _about(name: str, unit: str, words: str, low: float | None = 0.0, high: float | None = 1.0) -> Measure:
    return Measure(name, unit, "none", low, high, None, words, per="stage")


_SHORTCUT = tuple(
    _about(f"{name}{end}", "share", words + beside)
    for name, words in (
        ("recall-clean", "Share of the bags without a square that are called bags."),
        ("recall-marked", "Share of the bags with a square that are called bags."),
        ("others-marked", "Share of the other classes that are called bags once they have a square."),
    )
    for end, beside in (("", ""), ("-low", " Lower end of its interval."), ("-high", " Upper end of its interval."))
)

_FITTED = (
    Measure("code-error", "squared intensity", "lower", 0.0, None, None,
            "Mean squared error of the image that the autoencoder draws from its own code."),
    Measure("redrawn-error", "squared intensity", "lower", 0.0, None, None,
            "Mean squared error of the image drawn from the code that the embedding is turned into."),
    Measure("code-agreement", "correlation", "higher", -1.0, 1.0, 0.0,
            "Correlation over the dimensions of the code of an image with its squashed embedding."),
    Measure("again", "correlation", "higher", -1.0, 1.0, 0.0, "Correlation of the map with that of other draws."),
    Measure("across", "correlation", "none", -1.0, 1.0, 0.0, "Correlation of the map with that of the next image."),
    Measure("edges", "correlation", "none", -1.0, 1.0, 0.0, "Correlation of the map with the edges of the image."),
)  # fmt: skip

_EQUAL = (
    Measure("gain-end", "probability", "none", -1.0, 1.0, 0.0,
            "How much likelier an independent network finds the target where the move ends than in the image."),
    Measure("gain-random", "probability", "none", -1.0, 1.0, 0.0,
            "The same gain of a move as long in a direction drawn at random."),
    Measure("gain-per-distance", "probability per latent unit", "none", None, None, 0.0,
            "How much likelier an independent network finds the target, over the length of the move in the latent space."),
    Measure("gain-equal", "probability", "none", -1.0, 1.0, 0.0,
            "The same gain where the shorter of two moves ends: this network's and that of the network that knows bags best."),
    Measure("gain-equal-reference", "probability", "none", -1.0, 1.0, 0.0,
            "That gain on the way of the network that knows bags best, at the same length."),
    Measure("equal-share", "share", "none", 0.0, 1.0, None, "That length over the length of this network's whole move."),
)  # fmt: skip

_SWAP = (
    Measure("swap-likeness", "correlation", "none", -1.0, 1.0, 0.0,
            "Correlation of the map with that of the same search with the generator of the data."),
    Measure("swap-floor", "correlation", "none", -1.0, 1.0, 0.0,
            "Correlation of that map with a random latent move of the exchanged generator which changes the image as much."),
)  # fmt: skip


def _check(
    name: str, measures: tuple[Measure, ...], words: str, module: str, about_model: bool = False, version: int = 1
) -> CheckInfo:
    return CheckInfo(
        name, version, SUITE, measures, words, family=f"bench.checks.papers.{module}", staged=False, draws="once", block=BLOCK,
        about_model=about_model,
    )  # fmt: skip


CHECKS: tuple[CheckInfo, ...] = (
    _check(SQUARE, _SQUARE, "does the explanation of `why no bag` show the square that a network takes for a bag?", "square_run"),
    _check(SHORTCUT, _SHORTCUT, "does a network take a square for a bag?", "shortcut", about_model=True),
    _check(FITTED, _FITTED, "do the two autoencoders of AE+VAE do what they were built for, and are its maps stable?", "codes"),
    _check(EQUAL, _EQUAL, "at equal length, does a search lead toward the class as on a network that knows it?", "paths_run",
           version=2),
    _check(SWAP, _SWAP, "are the maps of a search the same with a generator of other data?", "swap_run"),
)  # fmt: skip
