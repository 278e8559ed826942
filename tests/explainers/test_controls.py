import pytest
import torch
from skimage.filters import sobel_h, sobel_v

import explainers
import models
from explainers.base import ExplainerError
from models.randomize import randomized


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(3, seed=0)[0]


@pytest.fixture(scope="module")
def other(subject):
    return randomized(subject, subject.stages[:1], base=0, seed=0)


def maps(name, subject, images, seed=0):
    return explainers.get(name).explain(subject, images, [0] * len(images), seed=seed).attribution


@pytest.mark.parametrize("name", ["input", "edge-detector", "constant", "centre"])
def test_they_know_nothing_of_the_model(subject, other, images, name):
    assert torch.equal(maps(name, subject, images), maps(name, other, images))


def test_random_by_model_depends_on_model_and_image_only(subject, other, images):
    first = maps("random-by-model", subject, images)
    assert torch.equal(first, maps("random-by-model", subject, images, seed=9))
    assert not torch.equal(first, maps("random-by-model", other, images)) and not torch.equal(first[0], first[1])


def test_random_is_new_for_every_seed_and_repeats_for_one(subject, images):
    assert torch.equal(maps("random", subject, images, 1), maps("random", subject, images, 1))
    assert not torch.equal(maps("random", subject, images, 1), maps("random", subject, images, 2))


def test_edges_are_those_of_scikit_image(subject, images):
    image = images[0, 0].numpy()
    expected = 4 * (sobel_h(image) ** 2 + sobel_v(image) ** 2) ** 0.5
    found = maps("edge-detector", subject, images)[0, 0]
    torch.testing.assert_close(found[1:-1, 1:-1], torch.from_numpy(expected).float()[1:-1, 1:-1], atol=1e-5, rtol=1e-4)


def test_centre_is_highest_in_the_middle(subject, images):
    found = maps("centre", subject, images)[0, 0]
    assert float(found[15:17, 15:17].min()) == float(found.max()) and torch.allclose(found, found.flip(0))


def test_the_oracle_needs_evidence(subject, images):
    from dataclasses import replace

    with pytest.raises(ExplainerError, match="planted evidence"):
        maps("oracle", subject, images)
    planted = replace(subject, evidence=lambda x, t: (x > 0.5).float())
    assert torch.equal(maps("oracle", planted, images), (images > 0.5).float())
