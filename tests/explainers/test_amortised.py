import math

import pytest
import torch
from torch import nn

import explainers
import models
from explainers.contrastive.amortised import collapse, pearson, refit, refit_maps, with_spread_of
from explainers.contrastive.exaggeration.explain import built, log_odds_of
from explainers.contrastive.exaggeration.losses import midpoints
from explainers.contrastive.fits import load
from models.naming import UsageError
from models.randomize import randomized

from . import toy_fits


class Painter(nn.Module):
    """Answers every request with an image of exactly that brightness."""

    bins = 10

    def encode(self, x):
        return x

    def decode(self, code, bins):
        return midpoints(10)[bins][:, None, None, None].expand_as(code)

    def forward(self, x, bins):
        return self.decode(x, bins)


def bright(x):
    return torch.logit(x.mean((1, 2, 3)).clamp(0.01, 0.99))


def test_agreement_that_is_the_classifiers_collapses_and_other_agreement_does_not():
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    same = collapse(Painter(), bright, [bright, bright], images)
    assert not same.collapsed and float(same.trained.mean()) == pytest.approx(1)
    assert same.randomised.shape == (2, 6) and torch.equal(same.trained, same.randomised[1])
    turned = collapse(Painter(), bright, [lambda x: -bright(x)], images)
    assert turned.collapsed and float(turned.randomised.mean()) == pytest.approx(-1)
    assert float(turned.randomised_error.mean()) > 0.4 > float(turned.error.mean())
    # one random classifier may agree by chance; with one that disagrees nothing is left
    assert collapse(Painter(), bright, [bright, lambda x: -bright(x)], images).collapsed
    # a classifier that always says the same agrees with no request, which counts as 0 and stays visible as NaN
    flat = collapse(Painter(), bright, [lambda x: torch.zeros(len(x))], images)
    assert flat.collapsed and bool(flat.randomised.isnan().all())
    with pytest.raises(UsageError, match="at least one"):
        collapse(Painter(), bright, [], images)


@pytest.mark.slow
def test_the_shipped_exaggeration_collapses_under_random_classifiers():
    subject = models.load("fmnist-tshirt-shirt")
    state = load("progressive-exaggeration", subject, explainers.card("progressive-exaggeration").params)
    random = [log_odds_of(randomized(subject, subject.stages, base=0, seed=seed)) for seed in range(3)]
    found = collapse(built(state), log_odds_of(subject), random, subject.sample(64, seed=1)[0])
    assert float(found.trained.mean()) > 0.9 and found.collapsed
    assert float(found.randomised_error.mean()) > 3 * float(found.error.mean())


def test_score_of_a_refit_by_hand():
    draw = torch.Generator().manual_seed(0)
    maps, other = torch.randn(40, 8, 8, generator=draw), torch.randn(40, 8, 8, generator=draw)
    assert refit(maps, maps, maps).score == pytest.approx(1)
    assert abs(refit(maps, maps, other).score) < 0.1
    shared = torch.randn(1, 8, 8, generator=draw)
    mixed = refit(maps + shared, maps + shared, other + shared)
    # what all images share is taken off as the floor
    assert float(mixed.randomised.mean()) > 0.3 and abs(mixed.score) < 0.1
    half = refit(maps, maps, maps + other)
    assert half.score == pytest.approx(1 / math.sqrt(2), abs=0.05)
    same = maps[:1].expand(40, 8, 8)
    assert math.isnan(refit(same, same, other).score)
    with pytest.raises(UsageError, match="at least two"):
        refit(maps[:1], maps[:1], maps[:1])


def test_pearson_agrees_with_corrcoef_and_leaves_constant_maps_undefined():
    a, b = torch.randn(3, 4, 4), torch.randn(3, 4, 4)
    wanted = [float(torch.corrcoef(torch.stack([p, q]))[0, 1]) for p, q in zip(a.flatten(1), b.flatten(1), strict=True)]
    assert pearson(a, b).tolist() == pytest.approx(wanted, abs=1e-5)
    assert bool(pearson(a, torch.ones(3, 4, 4)).isnan().all())


def test_a_random_classifier_is_brought_to_the_spread_of_the_trained_one():
    subject = toy_fits.subject()
    random = randomized(subject, subject.stages, base=0, seed=0)
    made, images = with_spread_of(random, subject), subject.reference.load(range(200))
    ours, theirs = (each.predict_logits(images).diff(dim=1) for each in (made, subject))
    assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=1e-3)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=1e-3)
    before = random.predict_logits(images).diff(dim=1)
    assert float(torch.corrcoef(torch.stack([ours[:, 0], before[:, 0]]))[0, 1]) == pytest.approx(1, abs=1e-4)
    three = toy_fits.subject(classes=3)
    assert with_spread_of(three, three) is three


def test_maps_of_three_fits(tmp_path):
    subject = toy_fits.subject()
    random = randomized(subject, subject.stages, base=0, seed=0)
    images, targets = subject.sample(8, seed=0)
    explainer = explainers.get("ae-vae[steps=20,vae_steps=20]")
    maps = refit_maps(explainer, subject, random, images, targets, folder=str(tmp_path))
    assert [tuple(each.shape) for each in maps] == [(8, 8, 8)] * 3 and len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert refit(*maps).floor.shape == (8,)
