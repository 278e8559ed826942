"""What the contrastive explainers reach on held-out images: `python -m bench.contrastive --out docs/contrastive-figures.md`.

Every measurement is a piece that is kept in a folder as soon as it is there, with its values per image, so that a run that
was ended goes on and intervals are drawn from all images.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.naming import UsageError

from .contrastive_cut import on_boundary
from .contrastive_random import INITS, random_network

if TYPE_CHECKING:
    from torch import Tensor

    from explainers import Explanation
    from models.base import Subject
    from models.generators import Generator

Values = dict[str, list[float]]
IMAGES = 64
BATCH = 32
SEARCHES = (
    ("fmnist-lenet", "cdeepex"),
    ("fmnist-lenet", "xgem-eq"),
    ("fmnist-lenet", "xgem"),
    ("fmnist-lenet", "cdeepex[probe=random]"),
    ("fmnist-lenet", "xgem-eq[probe=random]"),
    ("fmnist-lenet", "cdeepex[probe=random,signs=printed]"),
    ("fmnist-lenet", "cdeepex[generator=ae,probe=random]"),
    ("fmnist-lenet", "xgem-eq[generator=ae,probe=random]"),
    ("fmnist-lenet", "cdeepex[generator=gan,probe=random]"),
    ("fmnist-lenet", "xgem-eq[generator=gan,probe=random]"),
    ("fmnist-lenet", "cdeepex[generator=wgan,probe=random]"),
    ("fmnist-lenet", "xgem-eq[generator=wgan,probe=random]"),
    ("fmnist-vgg", "cdeepex[probe=random]"),
    ("fmnist-vgg", "xgem-eq[probe=random]"),
)
RANDOM = ("fmnist-lenet", "cdeepex[probe=random]")
CUT = ("fmnist-lenet", "cdeepex")
FITTED = (
    ("fmnist-tshirt-shirt", "progressive-exaggeration"),
    ("fmnist-lenet", "ae-vae"),
    ("fmnist-siamese", "siamese-ae-vae"),
)


@dataclass(frozen=True)
class Piece:
    """One explainer on the images of one seed.

    Attributes:
        model, explainer: texts, as `--model` and `--explainer` take them.
        seed: of the choice of images, of the draw of probes and of the beginning of searches.
        images: how many.
        init: how the layers of a random network are drawn that is asked instead of the model, see `contrastive_random`.
        cut: whether the search is made twice, cutting images to [0, 1] on the way and only at its end, see `contrastive_cut`.
    """

    model: str
    explainer: str
    seed: int
    images: int = IMAGES
    init: str = ""
    cut: bool = False

    @property
    def label(self) -> str:
        """What progress shows."""
        drawn = f" random network {self.init}" if self.init else " cut" if self.cut else ""
        return f"{self.model} {self.explainer}{drawn} seed {self.seed}"

    def file(self, folder: Path) -> Path:
        """Where its values are kept; the name holds the digests of all weights that decide them."""
        import explainers
        import models

        if self.model in {card.name for card in models.names("embedding")}:
            weights: Any = models.load_embedding(self.model).identity()
        else:
            weights = models.load(self.model).identity()
        explainer = explainers.get(self.explainer)
        drawn = None
        if "generator" in dict(explainer.resolved.params):
            from explainers.contrastive.start import KINDS, belonging

            text = str(dict(explainer.resolved.params)["generator"])
            name = belonging(models.load(self.model), text) if text in KINDS else text
            drawn = models.load_generator(name).identity()
        decides = [weights, explainer.spec, drawn, self.seed, self.images, self.init, *(["cut"] if self.cut else [])]
        known = json.dumps(decides, sort_keys=True, default=str)
        return folder / f"{hashlib.sha256(known.encode()).hexdigest()[:24]}.json"

    def values(self) -> Values:
        """Measure it: values per image, or about the whole in lists of one."""
        if self.init:
            return random_network(self)
        if self.cut:
            return on_boundary(self)
        name = self.explainer.partition("[")[0]
        fitted = {"progressive-exaggeration": exaggeration, "ae-vae": spread_of_codes, "siamese-ae-vae": pairs}
        return fitted.get(name, search)(self)


def pieces(only: str = "", seeds: int = 1) -> list[Piece]:
    """All measurements of the page, or those whose label holds a text, with the seeds 1 to `seeds`."""
    every = [Piece(model, name, seed) for model, name in (*SEARCHES, *FITTED) for seed in range(1, seeds + 1)]
    every += [Piece(*CUT, seed, cut=True) for seed in range(1, seeds + 1)]
    every += [Piece(*RANDOM, seed, BATCH, init) for init in INITS for seed in range(1, seeds + 1)]
    return [piece for piece in every if only in piece.label]


def search(piece: Piece) -> Values:
    """What the images that a search returns say, read again from the images themselves.

    Returns:
        Per image: `apart` |p_source - p_probe|, `pair` their sum, `third` 1 where a third class is likelier than both,
        `feasible` 1 where the search met its goal, `residual` largest |G(z0) + residual - image|, and `seconds`, the
        processor time per image; where the generator has no encoder also `beginning`, that of seeking the latent points
        alone, made once more.
    """
    import explainers
    import models
    from explainers.contrastive.start import generator_for

    subject = models.load(piece.model)
    explainer = explainers.get(piece.explainer)
    images = subject.sample(piece.images, seed=piece.seed)[0]
    made = generator_for(subject, str(dict(explainer.resolved.params)["generator"]), images)
    found: Values = {}
    for part in images.split(BATCH):
        start = time.process_time()
        explanation = explainer.explain(subject, part, seed=piece.seed)
        seconds = (time.process_time() - start) / len(part)
        measured = {**read(subject, part, explanation, made), "seconds": [seconds] * len(part)}
        if made.encode is None:
            measured["beginning"] = [_sought(subject, made, part, explanation.source, piece.seed)] * len(part)
        for name, values in measured.items():
            found.setdefault(name, []).extend(values)
    return found


def _sought(subject: Subject, made: Generator, images: Tensor, source: Tensor | None, seed: int) -> float:
    """Processor seconds per image of the search for latent points before a search for a counterfactual begins."""
    from explainers.contrastive.inversion import inverted
    from explainers.contrastive.start import scaled_logits

    classes = subject.predict(images) if source is None else source
    start = time.process_time()
    inverted(made, scaled_logits(subject, 1.0), images, classes, seed)
    return (time.process_time() - start) / len(images)


def read(subject: Subject, images: Tensor, found: Explanation, made: Generator) -> Values:
    """The values of `search` but for the time, per image; `made` is asked again what it draws where the search began."""
    import torch

    from explainers.contrastive.baselines import decoded

    if found.counterfactual is None or found.source is None or found.target is None:
        raise UsageError(f"{found.info.name} gives no counterfactual with two classes; name a contrastive search")
    if found.reconstruction is None or found.latents is None:
        raise UsageError(f"{found.info.name} does not say where it began; name a contrastive search")
    shares = subject.predict_logits(found.counterfactual).softmax(1)
    both = torch.stack([found.source, found.target], 1)
    ends = shares.gather(1, both)
    third = shares.scatter(1, both, -1.0).amax(1)
    again = decoded(made, found.latents[0], images) + (images - found.reconstruction)
    fits = torch.tensor([word in ("converged", "trivial") for word in found.outcome or ()])
    return {
        "apart": ends.diff(dim=1).abs()[:, 0].tolist(), "pair": ends.sum(1).tolist(),
        "third": (third > ends.amax(1)).double().tolist(), "feasible": fits.double().tolist(),
        "residual": (again - images).abs().flatten(1).amax(1).tolist(),
    }  # fmt: skip


def exaggeration(piece: Piece) -> Values:
    """Progressive Exaggeration on the images of one seed, see `quality.Quality`; `independent` is the agreement of the oracle."""
    import explainers
    import models
    from explainers.contrastive.exaggeration.explain import NAME, built, log_odds_of
    from explainers.contrastive.exaggeration.quality import quality
    from explainers.contrastive.fits import load

    subject, oracle = models.load(piece.model), models.load("fmnist-oracle")
    explainer = explainers.get(piece.explainer)
    images, fitted = (
        subject.sample(piece.images, seed=piece.seed)[0],
        built(load(NAME, subject, dict(explainer.resolved.params))),
    )
    pair = [list(oracle.class_names).index(name) for name in subject.class_names]
    ours = quality(fitted, log_odds_of(subject), images)
    theirs = quality(fitted, log_odds_of(subject), images, lambda x: oracle.logits(x)[:, pair].diff(dim=1)[:, 0])
    start = time.process_time()
    explainer.explain(subject, images, seed=piece.seed)
    seconds = (time.process_time() - start) / len(images)
    names = ("spearman", "error", "span", "itself", "cycle")
    return {
        **{name: getattr(ours, name).double().tolist() for name in names},
        "independent": theirs.spearman.tolist(), "seconds": [seconds] * len(images),
    }  # fmt: skip


def spread_of_codes(piece: Piece) -> Values:
    """AE+VAE on the images of one seed.

    Returns:
        Per image `error`, mean squared error of the autoencoder, and `again`, correlation of the map with that of another
        seed of sampling; `code` per dimension of the embedding, correlation with the autoencoder's code; `across`, correlation of
        the maps of two images, for all pairs of neighbours in the sample.
    """
    import torch

    import explainers
    import models
    from explainers.contrastive.amortised import pearson
    from explainers.contrastive.embedding.explain import NAME, fitted
    from explainers.contrastive.embedding.vectors import embedder

    subject, explainer = models.load(piece.model), explainers.get(piece.explainer)
    params = dict(explainer.resolved.params)
    images = subject.sample(piece.images, seed=piece.seed)[0]
    pair, embed = fitted(subject, NAME, params), embedder(subject, str(params["layer"]))
    with torch.no_grad():
        h, codes = embed(images), pair.images.encode(images)
        error = (pair.decode(codes) - images).square().flatten(1).mean(1)
        code = pearson(pair.aligned(h).T, codes.T)
    start = time.process_time()
    maps = explainer.explain(subject, images, seed=piece.seed).map()
    seconds = (time.process_time() - start) / len(images)
    again = explainer.explain(subject, images, seed=piece.seed + 100).map()
    return {
        "error": error.tolist(), "code": code[code.isfinite()].tolist(), "across": pearson(maps, maps.roll(1, 0)).tolist(),
        "again": pearson(maps, again).tolist(), "seconds": [seconds] * len(images),
    }  # fmt: skip


def pairs(piece: Piece) -> Values:
    """Pairs of images: `nearer` is 1 where the kept nearest candidates decode nearer to the partner than the farthest ones."""
    import torch

    import models
    from explainers.contrastive.embedding.pairs import explain_pairs
    from explainers.contrastive.embedding.vectors import subject_of

    embedding = models.load_embedding(piece.model)
    images = subject_of(embedding).sample(2 * piece.images, seed=piece.seed)[0]
    one, two = images.split(piece.images)
    start = time.process_time()
    near, far = (explain_pairs(embedding, one, two, pair=kind, seed=piece.seed) for kind in ("similar", "dissimilar"))
    seconds = (time.process_time() - start) / (2 * piece.images)
    gaps = [
        (found.first_images - found.second_centre[:, None]).flatten(2).norm(dim=2).mean(1)
        + (found.second_images - found.first_centre[:, None]).flatten(2).norm(dim=2).mean(1)
        for found in (near, far)
    ]
    return {"nearer": (gaps[0] < gaps[1]).to(torch.float64).tolist(), "seconds": [seconds] * piece.images}


def measured(folder: Path, only: str = "", seeds: int = 1, log: Callable[[str], None] = print) -> dict[Piece, Values]:
    """All pieces, from the folder or measured now and kept there; a piece whose weights are not shipped is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for piece in pieces(only, seeds):
        try:
            path = piece.file(folder)
        except (UsageError, ValueError) as error:
            log(f"{piece.label}: left out, {str(error).splitlines()[0]}")
            continue
        if not path.is_file():
            values = piece.values()
            path.write_text(json.dumps({"piece": piece.label, "values": values}), encoding="utf-8")
            log(f"{piece.label}: measured")
        found[piece] = json.loads(path.read_text(encoding="utf-8"))["values"]
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Measure, or read what was measured, and write the page."""
    parser = argparse.ArgumentParser("python -m bench.contrastive", description="What contrastive explainers reach.")
    parser.add_argument("--out", type=Path, help="Markdown file to write; without it the pieces are only measured")
    parser.add_argument("--keep", type=Path, default=Path("runs/contrastive"), help="folder of the pieces")
    parser.add_argument("--only", default="", help="only pieces whose label holds this text; no page is written then")
    parser.add_argument("--seeds", type=int, default=1, help="seeds, each with images of its own (default: 1)")
    given = parser.parse_args(words)

    import torch

    from .contrastive_page import page

    torch.set_num_threads(1)
    found = measured(given.keep, given.only, given.seeds)
    if given.out is not None and not given.only:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
