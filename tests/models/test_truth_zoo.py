"""The classifiers of images with known evidence, and their shipped certificates."""

import numpy as np
import pytest
import torch

import explainers
import models
from models.base import Subject
from models.naming import UsageError
from models.randomize import randomized
from models.truth import certify, required, stored
from models.truth.shipped import path_of
from models.zoo import catalogue

SHIPPED = ("fmnist-mosaic", "fmnist-cue", "fmnist-difull")
INDICES = [0, 5, 7, 3_000]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_classifier_comes_with_its_images_and_certificate(name):
    subject = models.load(name)
    found = stored(subject)
    assert subject.data.truth is not None and subject.data.name == f"{name}/test"
    assert subject.reference.name == f"{name}/train"
    assert found.holds and found.reason == "" and found.covers(range(len(subject.data)))
    assert required(subject, INDICES).record() == found.record()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_certificate_is_what_is_computed_now(name):
    subject = models.load(name)
    shipped = stored(subject)
    now = certify(subject, INDICES, draws=shipped.draws)
    for pair in now.pairs:
        kept = shipped.by_place[pair.index, pair.label]
        assert (pair.inside, pair.margin) == pytest.approx((kept.inside, kept.margin), rel=2e-3, abs=2e-3)
        assert pair.outside == pytest.approx(kept.outside, rel=5e-3, abs=2e-3)


def test_most_pairs_of_found_classes_are_kept():
    found = stored(models.load("fmnist-mosaic"))
    assert np.mean([pair.kept for pair in found.pairs if pair.found]) >= 0.85
    assert all(pair.outside == 0 for pair in stored(models.load("fmnist-difull")).pairs)


def test_lines_of_the_cue_certificate():
    lines = {line.name: line for line in stored(models.load("fmnist-cue")).lines}
    assert set(lines) == {"with-cue", "without-cue", "moved", "carrier", "counterfactual", "probe", "kept"}
    assert min(lines[name].value for name in ("with-cue", "moved", "counterfactual")) >= 0.99
    assert lines["carrier"].value < 0.05 and abs(lines["without-cue"].value - 0.1) < 0.02


def test_random_weights_have_no_shipped_certificate_and_are_refused():
    subject = models.load("fmnist-cue")
    blank = randomized(subject, subject.stages, base=0, seed=0)
    assert stored(blank) is None
    with pytest.raises(UsageError, match="with-cue: share of cues that are found is"):
        required(blank, range(16))


def test_no_gradient_leaves_the_cell():
    subject = models.load("fmnist-difull")
    images = subject.data.load([0, 1])
    for label in subject.data.truth.present(0):
        x = images[:1].clone().requires_grad_(True)
        subject.logits(x)[0, label].backward()
        outside = ~torch.from_numpy(subject.data.truth.mask(0, label))
        assert float(x.grad[0, 0][outside].abs().max()) == 0 and float(x.grad.abs().max()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gradient", "input-x-gradient", "integrated-gradients[steps=8]", "deeplift", "lrp-a1b0", "guided-backprop"]
)
def test_explainers_leave_exactly_nothing_outside(name):
    subject = models.load("fmnist-difull")
    indices = [0, 1, 2, 3]
    targets = torch.tensor([subject.data.truth.present(index)[row] for row, index in enumerate(indices)])
    maps = explainers.get(name).explain(subject, subject.data.load(indices), targets).attribution.abs().sum(1)
    masks = torch.from_numpy(
        np.stack([subject.data.truth.mask(i, int(t)) for i, t in zip(indices, targets, strict=True)])
    )
    assert float(maps[~masks].max()) == 0 and all(
        float(row[mask].max()) > 0 for row, mask in zip(maps, masks, strict=True)
    )


@pytest.mark.parametrize(("name", "reached"), [("fmnist-mosaic", 0.90), ("fmnist-cue", 0.999), ("fmnist-difull", 0.97)])
def test_label_accuracy_of_the_shipped_weights(name, reached):
    subject = models.load(name)
    indices = range(48)
    right = (subject.predict_logits(subject.data.load(indices)) > 0) == torch.from_numpy(
        subject.data.truth.targets(indices) > 0
    )
    assert float(right.float().mean()) > reached - 0.02
    key = catalogue.weights_name(*catalogue.member(name))
    assert catalogue.manifest()[key]["accuracy"] >= reached


def test_weights_and_certificates_are_small():
    files = [path_of(name) for name in SHIPPED] + [catalogue.FOLDER / f"{name}.safetensors" for name in SHIPPED]
    assert sum(file.stat().st_size for file in files) < 8 << 20


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_runs(name, monkeypatch, tmp_path):
    from models.zoo import multilabel, recipes

    monkeypatch.setattr(multilabel, "EPOCH", 2)
    monkeypatch.setattr(multilabel, "TESTED", 50)
    if models.data.full_training_set() is None:
        pytest.skip("the 60,000 training images are not on this machine")
    found = recipes.train(name, tmp_path, epochs=1, log=lambda line: None)
    assert found["name"] == name and 0 <= found["accuracy"] <= 1 and found["shipped"] > 0.9


def test_own_images_of_the_zoo_can_be_asked_for_localisation():
    plain = models.load("fmnist-vgg")
    data = models.truth.mosaics_of(plain.data, count=6)
    subject = Subject("fmnist-vgg", plain.model, data, plain.reference, plain.mean, plain.std)
    found = certify(subject, range(6), draws=1)
    assert len(found.pairs) == sum(len(data.truth.present(index)) for index in range(6))
    assert stored(subject) is None
