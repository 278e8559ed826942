"""Cards of the explainers that answer with another image, and of the counterfactuals they are read against."""

from __future__ import annotations

from ..info import Info

_DRAWN = ("probe=random", "begin=sample", "generator=gan", "generator=wgan")
_THESIS = "Feghahati 2020, section 3.3; CDeepEx 2019 (preprint)"

CARDS: tuple[Info, ...] = (
    Info(
        "cdeepex", "Why this class and not the probe class: the nearest point in the latent space of a generator at which both "
        "are equally likely and no third class is likelier, as the difference to the image: red is to be added, blue taken "
        "away. Generators vae, ae, gan, wgan or your own; probe second, random, a class. Corrected against the sources: residual "
        "I - G(z0), signs of the third-class constraints, growth of the penalty on the largest violation, images cut to [0, 1] "
        "inside the search.",
        _THESIS, "min |z - z0|^2 with llh(true) = llh(probe) >= llh(other)",
        "a generator for the data; the answer lies on the boundary between two classes and does not cross it",
        "not tested in the literature we know", "contrastive.cdeepex:cdeepex", "contrastive", version=2, cost=600, memory=3.0,
        anchors=True, stochastic_with=_DRAWN,
        params={"generator": "vae", "probe": "second", "begin": "mean", "profile": "fast", "signs": "corrected",
                "residual": True},
    ),
    Info(
        "xgem-eq", "CDeepEx without a word on third classes: the baseline of its authors, who call it xGEMs. A third class is "
        "often likelier than both at its end. From the thesis: the problem and its one constraint. Ours, as for cdeepex: the "
        "updates of the multiplier, the clamp inside the search, the residual kept as I - G(z0).",
        _THESIS, "min |z - z0|^2 with llh(true) = llh(probe)", "a generator for the data", "not tested in the literature we know",
        "contrastive.cdeepex:xgem_eq", "contrastive", version=2, cost=450, memory=3.0, anchors=True, stochastic_with=_DRAWN,
        params={"generator": "vae", "probe": "second", "begin": "mean", "profile": "fast", "residual": True},
    ),
    Info(
        "xgem", "Descends in the latent space on the distance to the image plus the cross-entropy to the probe class, until the "
        "network says probe with probability `goal`. The map is the difference to the generator's own picture of the image, "
        "unless residual=true. From the paper: the loss, the start at the encoder's code, no residual. Ours: distance as the "
        "mean over pixels, its three weights tried in turn, Adam with 100 steps of 0.05, stopping at `goal`, `ask=tenths`.",
        "Joshi et al. 2018", "min d(x, G(z)) + w CE(f(G(z)), probe), w = 0.1, 1, 10", "a generator for the data",
        "not tested in the literature we know",
        "contrastive.xgem:xgem", "contrastive", version=2, cost=250, memory=3.0, anchors=True, stochastic_with=_DRAWN,
        params={"generator": "vae", "probe": "second", "begin": "mean", "goal": 0.5, "ask": "goal", "residual": False},
    ),
    Info(
        "counterfactual-identity", "The image itself: nothing changed, nothing reached. What a measure of picture quality or "
        "distance prefers to everything else.", "reference counterfactual", "x' = x", "a probe class", "map is zero, always",
        "contrastive.baselines:identity", "reference", class_sensitive=False, cost=2, anchors=True,
        params={"probe": "second"},
    ),
    Info(
        "counterfactual-pgd", "An adversarial image: pixels moved along the sign of the gradient, at most by `radius`, until the "
        "network says probe. Reaches what is asked and looks like the image.", "Madry et al. 2018, section 2.1",
        "x <- clip(x - step sign(grad CE(f(x), probe)))", "any differentiable network",
        "reaches the probe and is far from natural", "contrastive.baselines:pgd", "reference", cost=15,
        anchors=True, stochastic_with=("probe=random",),
        params={"probe": "second", "radius": 0.2, "step": 0.01, "steps": 40},
    ),
    Info(
        "counterfactual-nearest", "The nearest training image of the probe class that the network also takes for it: perfectly "
        "natural, and far away.", "nearest unlike neighbour", "x' = argmin |x - x_i| over images of the probe class",
        "reference images of the probe class", "natural, and far from the image",
        "contrastive.baselines:nearest", "reference", cost=8, anchors=True, stochastic_with=("probe=random",),
        params={"probe": "second"},
    ),
    Info(
        "counterfactual-random-latent", "A move in a random latent direction that changes the image as much as CDeepEx does: the "
        "generator's own handwriting, without any question asked.", "reference counterfactual", "x' = G(z0 + t u) + residual",
        "a generator for the data", "answers nothing: what a search must beat",
        "contrastive.baselines:random_latent", "reference", stochastic=True, cost=610,
        memory=3.0, anchors=True, params={"generator": "vae", "probe": "second", "norm": "image"},
    ),
)  # fmt: skip
