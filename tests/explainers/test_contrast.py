import pytest
import torch
from torch import nn

import explainers.base
import models
from models.adapters import from_tensor
from models.naming import UsageError


@pytest.fixture(scope="module")
def toy():
    """A linear classifier of four pixels into three classes, and images of all three."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[4.0, 0, 0, 1], [0, 4, 0, 1], [0, 0, 4, 1]]))
        net[1].bias.zero_()
    images = torch.tensor([[0.9, 0.6, 0.1, 0.5], [0.2, 0.8, 0.7, 0.0], [0.5, 0.1, 0.9, 1.0]]).view(3, 1, 2, 2)
    return from_tensor(net, images), images


def by_loop(subject, images, targets, probes, name, step=0.005):
    """The definition, one weight at a time."""
    e = explainers.get(name)
    true, other = (e.explain(subject, images, t).attribution for t in (targets, probes))
    maps = []
    for i, image in enumerate(images):
        plain = torch.softmax(subject.predict_logits(image[None]), 1)[0]
        kept = []
        for n in range(1, round(2 / step) + 1):
            combined = true[i] - n * step * other[i]
            tried = (image - combined / combined.abs().max()).clamp(0, 1)
            moved = torch.softmax(subject.predict_logits(tried[None]), 1)[0]
            if moved[targets[i]] < plain[targets[i]] and moved[probes[i]] > plain[probes[i]]:
                kept.append(combined)
        maps.append(torch.stack(kept).mean(0) if kept else torch.zeros_like(true[i]))
    return torch.stack(maps)


@pytest.mark.parametrize("inner", ["gradient", "input-x-gradient", "saliency"])
def test_the_sweep_is_the_definition(toy, inner):
    subject, images = toy
    targets, probes = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    found = explainers.get(f"contrast({inner})").explain(subject, images, targets)
    torch.testing.assert_close(
        found.attribution, by_loop(subject, images, targets, probes, inner), rtol=1e-4, atol=1e-5
    )
    assert found.extra["probe"].tolist() == [1, 2, 0] and found.status == ("ok",) * 3


def test_by_hand_with_all_weights_kept(toy):
    """Taking out the difference of the two weight vectors always helps: w averages to (0.005 + 2) / 2."""
    subject, images = toy
    found = explainers.get("contrast(gradient)").explain(subject, images[:1], [0])
    assert float(found.extra["kept"][0]) == 1
    torch.testing.assert_close(found.attribution[0, 0].flatten(), torch.tensor([4.0, -1.0025 * 4, 0, 1 - 1.0025]))


def test_probes(toy):
    subject, images = toy
    for probe, expected in (("second", [1, 2]), ("least", [2, 0]), ("class-2", None)):
        e = explainers.get(f"contrast[probe={probe},step=0.1](gradient)")
        if expected is not None:
            assert e.explain(subject, images[:2], [0, 1]).extra["probe"].tolist() == expected
    assert e.explain(subject, images[:1], [0]).extra["probe"].tolist() == [2]
    with pytest.raises(UsageError, match="explained class"):
        e.explain(subject, images, [0, 1, 2])
    for text in ("contrast[probe=third]", "contrast[probe=class-3]", "contrast[step=0.0]", "contrast[largest=0.001]"):
        with pytest.raises(UsageError, match="contrast"):
            explainers.get(f"{text}(gradient)").explain(subject, images[:1], [0])


def test_a_map_that_points_the_other_way_is_a_failure(toy):
    """Negative control: what a reversed explainer marks never moves the image to the probe class."""
    subject, images = toy

    @explainers.register("test-reversed", signed=True)
    def reversed_gradient(subject, images, targets, *, seed):
        return -explainers.get("gradient").raw(subject, images, targets, seed)

    @explainers.register("test-nothing", signed=True)
    def nothing(subject, images, targets, *, seed):
        return torch.zeros_like(images)

    for name in ("test-reversed", "test-nothing"):
        found = explainers.get(f"contrast[step=0.05]({name})").explain(subject, images, [0, 1, 2])
        assert found.status == ("failed",) * 3 and not found.attribution.any()


def test_a_failure_of_the_inner_explainer_stays_one(toy):
    subject, images = toy

    @explainers.register("test-half-failed", signed=True)
    def half(subject, images, targets, *, seed):
        made = explainers.get("gradient").raw(subject, images, targets, seed)
        return explainers.base.Partial(made, failed=torch.tensor([True, False, False]))

    found = explainers.get("contrast[step=0.1](test-half-failed)").explain(subject, images, [0, 1, 2])
    assert found.status == ("failed", "ok", "ok")


def test_neither_the_batch_nor_the_writing_of_the_network_matters():
    subject, functional = models.load("fmnist-vgg"), models.load("fmnist-vgg-functional")
    images = subject.sample(3, seed=0)[0]
    e, t = explainers.get("contrast[step=0.1](deeplift)"), subject.predict(images)
    whole = e.explain(subject, images, t).attribution
    for other in (e.explain(subject, images, t, batch_size=1), e.explain(functional, images, t)):
        assert float((whole - other.attribution).abs().max() / whole.abs().max()) < 1e-3
