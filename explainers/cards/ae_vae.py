"""Cards of AE+VAE, for one image and for pairs."""

from __future__ import annotations

from ..info import Info

_FIT = {"steps": 1500, "vae_steps": 3000, "fit_seed": 0, "data": "own", "cache": "default"}

CARDS: tuple[Info, ...] = (
    Info(
        "ae-vae", "A variational autoencoder of the classifier's embedding redraws the code of an image; the map is how much "
        "the images decoded from these codes vary. It has no explained class. From the paper: both networks, their losses, "
        "the mean absolute deviation. Ours: embeddings are standardised and squashed to the range of the codes, the last "
        "layer has the embedding's dimension, weights of the losses (not printed).",
        "Utkin et al. 2021, section IV", "R_p = mean_k |x*_kp - mean_j x*_jp|, x*_k = decode(a_k), a_k ~ g(h(x))",
        "an embedding as one vector per image; fitted to these weights with `bench train ae-vae --model M`",
        "the spread of the codes is set by the autoencoders more than by the classifier: maps of a pair fitted to a random "
        "classifier are much alike",
        "contrastive.embedding.explain:ae_vae", "contrastive", stochastic=True, class_sensitive=False, amortised=True,
        cost=20, rows=100, params={"map": "mad", "samples": 100, "threshold": 0.0, "layer": "features", **_FIT},
    ),
    Info(
        "siamese-ae-vae", "The same for pairs: of the codes redrawn around one image those nearest to the other image (or "
        "farthest from it) are kept, and the map is their mean decoded image against the one at the centre. In the registry "
        "the partner comes from the reference images; explain_pairs takes any pair. From the paper: redrawing around the code, "
        "the nearest kept for similar pairs and the farthest for dissimilar ones, their mean as the map. Ours: 5,000 and 15 are "
        "read as candidates and kept ones, distances are taken between codes, the map is against the decoded centre and not the "
        "image (map=signed-input), the partner is the nearest reference or one of the farther half.",
        "Utkin et al. 2021, section V", "R = mean_{k in nearest(b)} decode(a_k) - decode(g(h(x)))",
        "a network whose output is an embedding; fitted to these weights with `bench train siamese-ae-vae --model M`",
        "not tested in the literature we know",
        "contrastive.embedding.pairs:siamese_ae_vae", "contrastive", stochastic=True, class_sensitive=False, amortised=True,
        cost=15, rows=15,
        params={
            "pair": "similar", "map": "signed-recon", "samples": 5000, "keep": 15, "threshold": 0.0, "layer": "output",
            **_FIT,
        },
    ),
)  # fmt: skip
