"""Fitted explainers in the randomisation suite: a series seen by random models, maps of other fits."""

from __future__ import annotations

import pytest
import torch

import explainers
from bench import protocols
from bench.checks import CHECKS
from bench.checks.fitted import run_block
from explainers.contrastive import fits, refits
from explainers.contrastive.amortised import pearson
from models.naming import UsageError
from tests.explainers import toy_fits

NAME = "ae-vae[steps=20,vae_steps=20]"
PROTOCOL = protocols.get("recommended")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def fitted(folder):
    subject = toy_fits.subject()
    explainer = explainers.get(NAME).fit(subject, folder=folder)
    refits.fit_both(explainer, subject, folder=folder)
    return subject, explainer


def cells(subject, explainer, checks=("collapse", "refit"), count=6, seed=0):
    wanted = {(check, explainer.name) for check in checks}
    made = run_block(subject, [explainer], range(count), seed, protocol=PROTOCOL, wanted=wanted, base=0)
    found = {each.check: each for each in made}
    assert set(found) == set(checks)
    return found


def values(result, measure):
    return [row["value"] for row in result.rows if row["measure"] == measure]


def test_maps_are_compared_with_those_of_two_other_fits(fitted):
    subject, explainer = fitted
    before = subject.checksum()
    found = cells(subject, explainer)
    assert found["refit"].error is None, found["refit"].error
    assert len(found["refit"].rows) == 6 * CHECKS["refit"].per_image and subject.checksum() == before
    images = subject.data.load(range(6))
    maps = refits.refit_maps_of(explainer, subject, images, subject.predict(images))
    for measure, other in (("refit-same", maps[1]), ("refit-random", maps[2]), ("refit-other", maps[0].roll(1, 0))):
        wanted = pearson(maps[0], other)
        # the same fit and images; only the seed of sampling is another one
        assert values(found["refit"], measure) == pytest.approx(wanted.tolist(), abs=0.35), measure
    # it shows no series
    assert {row["status"] for row in found["collapse"].rows} == {"not-applicable"}


def test_fits_to_the_random_classifier_are_found_without_its_weights(fitted, folder):
    subject, explainer = fitted
    random, again = refits.random_of(subject), refits.random_of(subject)
    params = dict(explainer.resolved.params)
    one, other = (fits.identity_of(fits.recipe("ae-vae"), each, params, "") for each in (random, again))
    assert one == other and one["subject"]["of"] == fits.subject_identity(subject)
    assert one["subject"] != fits.identity_of(fits.recipe("ae-vae"), subject, params, "")["subject"]
    assert random.checksum() != subject.checksum()


def test_without_the_other_fits_the_cell_says_what_to_do(tmp_path):
    subject = toy_fits.subject()
    explainer = explainers.get(NAME).fit(subject, folder=str(tmp_path))
    error = cells(subject, explainer, ("refit",))["refit"].error
    assert error["type"] == "UsageError" and "--refits" in error["message"]
    with pytest.raises(UsageError, match="has not been fitted"):
        refits.refit_maps_of(
            explainers.get(NAME), subject, subject.data.load(range(2)), torch.zeros(2, dtype=torch.int64)
        )


@pytest.mark.slow
def test_the_shipped_series_collapses_under_random_classifiers():
    import models

    subject = models.load("fmnist-tshirt-shirt")
    found = [
        cells(subject, explainers.get("progressive-exaggeration"), ("collapse",), 8, seed)["collapse"]
        for seed in (0, 1)
    ]
    assert not any(each.error for each in found)
    assert min(values(found[0], "agreement-trained")) > 0.8
    means = [sum(values(each, "agreement-random")) / 8 for each in found]
    assert means[0] != means[1] and abs(sum(means) / 2) < 0.5
    assert sum(values(found[0], "error-random")) > 2 * sum(values(found[0], "error-trained"))
