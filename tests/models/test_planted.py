"""Planted attributes: the oracle is exact, the draws are independent, the shipped classifiers know them."""

import numpy as np
import pytest
import torch

import models
from models import planted
from models.naming import UsageError
from models.zoo import planted as recipe
from models.zoo.catalogue import member


def pixels(name):
    data = models.load_data(name)
    return data, data.read(range(len(data)))


def test_the_oracle_reads_what_was_planted():
    garments = planted.garments("test").read(range(200))
    wanted = planted.drawn(200, "any")
    found = planted.strengths(planted.plant(garments, wanted))
    exact = [0, 1, 3]
    assert np.abs(found - wanted)[:, exact].max() < 0.002
    assert np.quantile(np.abs(found - wanted)[:, 2], 0.9) < 0.02
    assert np.array_equal(planted.strengths(planted.plant(garments, wanted).astype(np.float64) / 255), found)


def test_one_attribute_changes_nothing_of_the_others():
    garments = planted.garments("test").read(range(50))
    wanted = planted.drawn(50, "any")
    before = planted.strengths(planted.plant(garments, wanted))
    for index in range(4):
        other = wanted.copy()
        other[:, index] = 1 - other[:, index]
        after = planted.strengths(planted.plant(garments, other))
        kept = [place for place in range(4) if place != index]
        assert np.abs(after - before)[:, kept].max() < 0.002
        assert np.abs(after - before)[:, index].mean() > 0.2


def test_attributes_are_independent_but_for_the_planted_bias():
    _, images = pixels("fmnist-planted-all-train")
    found = planted.strengths(images)
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.04
    _, images = pixels("fmnist-planted-confounded-train")
    biased = np.corrcoef(planted.strengths(images).T)
    assert biased[0, 2] > 0.99 and np.abs(biased[0, [1, 3]]).max() < 0.04


def test_images_to_explain_are_clear_and_labelled_by_the_oracle():
    for attribute in planted.ATTRIBUTES:
        data, images = pixels(f"fmnist-planted-{attribute}")
        found = planted.strengths(images)
        place = planted.ATTRIBUTES.index(attribute)
        assert np.array_equal(data.labels, (found[:, place] > 0.5).astype(int))
        assert 0.45 < data.labels.mean() < 0.55
        assert (np.abs(found - 0.5) > 0.25).mean() > 0.99
        assert planted.asked_of(data) == attribute and planted.attributes_of(data) == planted.ATTRIBUTES
    assert not set(data.ids) & set(models.load_data("fmnist-planted-border-train").ids)
    assert planted.asked_of(models.load_data("fashion-mnist")) is None


def test_images_do_not_depend_on_how_they_are_read():
    data = models.load_data("fmnist-planted-stripe")
    assert np.array_equal(data.read([7, 3])[0], data.read([7])[0])
    assert data.digest([5]) == models.load_data("fmnist-planted-stripe").digest([5])


def test_bad_input():
    with pytest.raises(UsageError, match=r"\(n, 1, 16, 16\)"):
        planted.strengths(np.zeros((2, 1, 32, 32)))
    with pytest.raises(UsageError, match="did you mean"):
        planted.planted("fmnist-planted-squares")


@pytest.mark.parametrize("attribute", planted.ATTRIBUTES)
def test_the_shipped_classifiers_say_how_strong_an_attribute_is(attribute):
    subject = models.load(f"fmnist-planted[attribute={attribute}]")
    images = subject.reference.load(range(500))
    truth = planted.strengths(subject.reference.read(range(500)))[:, planted.ATTRIBUTES.index(attribute)]
    found = subject.predict_logits(images).softmax(1)[:, 1].numpy()
    assert np.abs(found - truth).mean() < 0.04
    assert np.histogram(found, 10, (0, 1))[0].min() > 20
    whole = models.load("fmnist-planted").predict_logits(images).sigmoid()
    assert np.abs(whole[:, planted.ATTRIBUTES.index(attribute)].numpy() - found).max() < 1e-3


def test_the_confounded_classifier_looks_at_the_square():
    garments = planted.garments("test").read(range(200))
    wanted = np.full((200, 4), 0.1)
    plain, marked = wanted.copy(), wanted.copy()
    marked[:, 0] = 0.9
    images = [torch.from_numpy(planted.plant(garments, each)).float() / 255 for each in (plain, marked)]
    moves = {}
    for name in ("fmnist-planted[attribute=brightness]", "fmnist-planted-confounded"):
        subject = models.load(name)
        one, other = (subject.predict_logits(each).softmax(1)[:, 1].mean() for each in images)
        moves[name] = float(other - one)
    assert moves["fmnist-planted-confounded"] > 0.2 and abs(moves["fmnist-planted[attribute=brightness]"]) < 0.05


def test_the_recipe_runs_in_short(monkeypatch):
    monkeypatch.setattr(recipe, "EPOCH", 3)
    data = models.load_data("fashion-mnist-train")
    for name, maker in (("fmnist-planted[attribute=border]", recipe.independent),
                        ("fmnist-planted-confounded", recipe.confounded)):  # fmt: skip
        found, params = member(name)
        made = maker(found, params, data, epochs=1, log=lambda line: None)
        assert set(made.figures) == {"accuracy", "error"} and made.network.fc2.out_features == 2
