"""Cards of the explainers of sentences; `all` and globs leave them out, because they explain no images."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "word-gradient", "Per word of a sentence, the gradient of the logit by the word's embedding times the embedding.",
        "Shrikumar et al. 2016", "r_i = M[w_i] . df/dM[w_i]", "a classifier of sentences: text:reviews",
        "not tested in the literature we know",
        "contrastive.text.explain:word_gradient", "gradient", requires="words", cost=1,
    ),
    Info(
        "word-occlusion", "Per word of a sentence, what the logit loses when the word is left out. The same as word-gradient "
        "where the classifier is linear in its embeddings, as the thesis' is.",
        "Li et al. 2016, eq. 1", "r_i = f(x) - f(x without w_i)", "a classifier of sentences: text:reviews",
        "not tested in the literature we know",
        "contrastive.text.explain:word_occlusion", "perturbation", requires="words", cost=16,
    ),
    Info(
        "word-contrast", "CDeepEx on sentences: the nearest code of a recurrent autoencoder at which the classifier is "
        "undecided, by mixtures of embeddings (SoftmaxEmbedding); then the likeliest word at each place. Ours: the decoder "
        "reads the code alone, and the answer is read against what the autoencoder writes of the sentence itself.",
        "Feghahati 2020, chapter 4", "min |z - z0|^2 with f(SE(G(z)))_true = f(SE(G(z)))_probe",
        "two classes, sentences of at most 16 words of the dictionary", "not tested in the literature we know",
        "contrastive.text.explain:word_contrast",
        "contrastive", requires="words", cost=150, memory=8.0, anchors=True,
        params={"map": "given", "coder": "own", "profile": "fast"},
    ),
)  # fmt: skip
