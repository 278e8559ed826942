"""The memory of searches does not grow with the number of images: however many there are, few go through a network at once."""

import pytest
import torch
from torch import nn

import explainers
from explainers import memory
from explainers.contrastive.embedding.networks import AeVae
from explainers.contrastive.exaggeration.networks import Exaggerator
from explainers.contrastive.start import generator_for
from explainers.passes import rows_for
from models.adapters import from_tensor

from . import toy_fits

SEEN = []
PLACE = "tests/explainers/toy_generators.py"


class Counting(nn.Module):
    """A linear classifier that notes how many images it sees at once."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(16, 3)
        with torch.no_grad():
            self.last.weight.copy_(torch.linspace(-2, 2, 48).view(3, 16).roll(1, 0))
            self.last.bias.zero_()

    def forward(self, x):
        SEEN.append(len(x))
        return self.last(x.flatten(1))


@pytest.mark.parametrize(
    "name",
    [
        f"cdeepex[generator={PLACE}:counted_pixels]", f"xgem[generator={PLACE}:counted_pixels]",
        f"cdeepex[generator={PLACE}:counted_blind]", f"counterfactual-random-latent[generator={PLACE}:counted_pixels]",
    ],
)  # fmt: skip
def test_no_pass_is_larger_than_what_fits(name):
    images = torch.rand(140, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    subject = from_tensor(Counting().eval(), images)
    targets = subject.predict(images)
    drawn = generator_for(subject, f"{PLACE}:{name.partition(':')[2].rstrip(']')}", images).module.seen
    largest = []
    for count in (70, 140):
        SEEN.clear(), drawn.clear()
        found = explainers.get(name).explain(subject, images[:count], targets[:count])
        assert len(found.outcome) == count
        largest.append((max(SEEN), max(drawn)))
    assert largest[0] == largest[1] and max(largest[0]) <= rows_for(images) < 70


FITS = {
    "ae-vae": ("ae-vae[steps=20,vae_steps=20,samples=20]", AeVae),
    "siamese": ("siamese-ae-vae[steps=20,vae_steps=20,samples=40]", AeVae),
    "series": ("progressive-exaggeration[steps=2,width=8,bins=3]", Exaggerator),
}


@pytest.mark.parametrize("which", FITS)
def test_fitted_explainers_do_not_grow_with_the_number_of_images_either(which, tmp_path, monkeypatch):
    name, network = FITS[which]
    subject = toy_fits.subject()
    explainer = explainers.get(name).fit(subject, folder=str(tmp_path))
    seen, drawn = [], []

    def counted(kept, function):
        def call(self, rows, *rest):
            kept.append(len(rows))
            return function(self, rows, *rest)

        return call

    monkeypatch.setattr(toy_fits.Brightness, "forward", counted(seen, toy_fits.Brightness.forward))
    monkeypatch.setattr(network, "decode", counted(drawn, network.decode))
    # four times as many images as go through a network at once
    monkeypatch.setattr(memory, "rows", lambda *given: 16)
    images = subject.data.load(range(64))
    explainer.explain(subject, images[:2])  # what is found out about a network once does not count
    largest = []
    for count in (32, 64):
        seen.clear(), drawn.clear()
        explainer.explain(subject, images[:count], [0] * count)
        largest.append((max(seen), max(drawn)))
    assert largest[0] == largest[1] and largest[0][0] <= 16, largest
