"""xGEM asked for one probability per image, drawn evenly from tenths."""

import pytest
import torch

import explainers
import models
from explainers.contrastive.requests import drawn_tenths, requested
from models.naming import UsageError


@pytest.fixture(scope="module")
def asked():
    subject = models.load("fmnist-tshirt-shirt")
    images, _ = subject.sample(8, seed=0)
    return subject, images, explainers.get("xgem[ask=tenths]").explain(subject, images)


def test_tenths_are_even_and_belong_to_the_image():
    images = torch.rand(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = drawn_tenths(images)
    assert torch.equal(found.flip(0), drawn_tenths(images.flip(0)))
    counts = torch.bincount(found, minlength=10)
    assert counts.shape == (10,) and counts.min() > 140 and counts.max() < 260


def test_requests_are_met_and_read_on_the_returned_images(asked):
    subject, images, found = asked
    strip = found.trajectory
    assert strip.images.shape[1] == 1 and torch.equal(strip.requested[:, 0], requested(images))
    achieved = subject.predict_logits(found.counterfactual).softmax(1).gather(1, found.target[:, None])[:, 0]
    met = (achieved - strip.requested[:, 0]).abs() <= 0.0215
    assert met.float().mean() >= 0.75
    assert [outcome in ("converged", "trivial") for outcome in found.outcome] == met.tolist()
    assert torch.allclose(strip.probabilities.gather(2, found.target[:, None, None])[:, 0, 0], achieved, atol=1e-5)


def test_the_goal_is_another_question(asked):
    subject, images, found = asked
    plain = explainers.get("xgem").explain(subject, images)
    assert plain.trajectory.requested is None
    assert not torch.equal(plain.counterfactual, found.counterfactual)
    with pytest.raises(UsageError, match="tenths"):
        explainers.get("xgem[ask=tens]").explain(subject, images)
