"""Utkin et al. 2021: the paper shows examples and measures nothing, so its words are turned into numbers here."""

from __future__ import annotations

from reports.papers import Claim, Paper, Term

from ..sized import Size, Suite

NAME = "paper-aevae"
_MODEL, _EXPLAINER = "fmnist-lenet", "ae-vae"


def _term(check: str, measure: str) -> Term:
    return Term(_MODEL, _EXPLAINER, check, measure)


_SIZES = {"quick": Size(64, 1), "standard": Size(256, 1), "full": Size(1000, 1)}

SUITE = Suite(
    NAME,
    "what AE+VAE promises, as numbers: reconstruction, agreement of code and embedding, repetition, other images, other fits",
    parts=(
        Suite(f"{NAME}: codes", "", ("fitted-codes",), (_EXPLAINER, "ae-vae[map=signed-recon]"), sizes=_SIZES,
              models=(_MODEL,), label="generative"),
        Suite(f"{NAME}: fits", "", ("refit",), (_EXPLAINER,), sizes=_SIZES, models=(_MODEL,), label="randomization"),
    ),
    paper=Paper(NAME, "Utkin et al. 2021, Combining an Autoencoder and a Variational Autoencoder for Explaining the Machine "
                "Learning Model Predictions", (
        Claim("reconstruction", "The autoencoder draws the image again from its code.", "section IV, step 1",
              "mean squared error of the drawn image, intensity in [0, 1]", _term("fitted-codes", "code-error"), at_most=0.02),
        Claim("redrawn", "So does the pair, from the embedding of the classifier.", "section IV, step 2",
              "mean squared error of the image drawn from the embedding", _term("fitted-codes", "redrawn-error"), at_most=0.03),
        Claim("code", "The code comes near the embedding of the classifier.", "section IV, equation 5",
              "correlation of code and embedding over dimensions", _term("fitted-codes", "code-agreement"), at_least=0.8),
        Claim("again", "The map is a property of the image and no accident of the draws.", "section IV, step 3",
              "correlation of two maps of other draws", _term("fitted-codes", "again"), at_least=0.95),
        Claim("across", "Maps show what matters in each single image.", "section VI, figures 5 to 7",
              "correlation of the maps of two images", _term("fitted-codes", "across"), at_most=0.6),
        Claim("follows", "The map explains the prediction: with another classifier there would be another map.",
              "abstract and section IV", "likeness left after a fit to a random classifier, 0 none, 1 all",
              _term("refit", "refit-random"), _term("refit", "refit-same"), "ratio", base=_term("refit", "refit-other"),
              at_most=0.25),
        Claim("pairs", "For a Siamese network codes near the second image show what the two have in common.",
              "section V", untestable="the experiment compares pairs, not images; python -m bench.contrastive measures it"),
        Claim("cifar", "The same on photographs of cats.", "section VI, figure 7",
              untestable="needs CIFAR-10 and a network trained on it"),
    )),
)  # fmt: skip
