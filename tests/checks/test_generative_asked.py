"""Sets that were asked for known probabilities, planted attributes, and what the baselines get there."""

import dataclasses

import numpy as np
import pytest
import torch

import explainers
import models
from bench.checks.generative import asked_sets, planted, run
from bench.checks.generative.declared import CHECKS
from bench.checks.generative.distances import frechet, kernel_distance
from bench.checks.generative.parts import frechet_parts, kernel_parts
from bench.protocols import get
from explainers.base import Partial
from models.naming import UsageError
from models.planted import ATTRIBUTES

PROTOCOL = get("recommended")


def features(count, seed, away=0.0):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + away


def test_parts_are_what_leaving_one_out_gives():
    real, made = features(40, 0), features(30, 1, 0.3)
    for whole, parts in ((frechet, frechet_parts), (kernel_distance, kernel_parts)):
        by_hand = [30 * whole(real, made) - 29 * whole(real, torch.cat([made[:i], made[i + 1 :]])) for i in range(30)]
        assert torch.allclose(parts(real, made), torch.tensor(by_hand, dtype=torch.float64), atol=1e-8)
        assert torch.allclose(parts(real, made.flip(0)).flip(0), parts(real, made), atol=1e-8)
    with pytest.raises(UsageError, match="at least three"):
        kernel_parts(real, made[:2])


def test_parts_of_a_set_that_is_further_away_are_larger_and_their_spread_is_that_of_the_distance():
    real = features(400, 0)
    near, far = (frechet_parts(real, features(300, 1, away)) for away in (0.0, 0.5))
    gap = (far - near).mean() / ((far - near).std() / 300**0.5)
    assert gap > 5
    again = [frechet(real, features(300, seed, 0.5)) for seed in range(2, 42)]
    assert 0.5 < float(far.std() / 300**0.5) / float(np.std(again)) < 2


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-tshirt-shirt")


def measured(subject, names, checks, count):
    made = [explainers.get(name) for name in names]
    indices = subject.select(count, 0)
    wanted = [(check, each.name) for each in made for check in checks]
    found = {}
    for result in run.run_block(subject, made, indices, 0, protocol=PROTOCOL, wanted=wanted, base=0):
        assert result.error is None, result.error
        for row in result.rows:
            found.setdefault((result.explainer, result.check, row["measure"]), []).append(row["value"])
    return found


def test_what_the_baselines_get(subject):
    names = ["counterfactual-identity", "counterfactual-pgd"]
    found = measured(subject, names, ["extreme", "spread", "counterfactual"], 32)

    def mean(name, check, measure):
        return np.mean([value for value in found[name, check, measure] if value is not None])

    same, adversarial = names
    assert mean(same, "extreme", "closeness") == 1 and mean(same, "extreme", "verification") == 1
    assert mean(same, "counterfactual", "validity") == 0
    assert mean(adversarial, "counterfactual", "validity") >= 0.9
    assert mean(adversarial, "counterfactual", "transfer-validity") <= 0.6
    assert mean(adversarial, "extreme", "kid") > mean(same, "extreme", "kid")
    for name in names:
        assert all(value is None for value in found[name, "spread", "closeness"])
        assert found[name, "extreme", "fid"] == [None], "32 images are too few"
    assert np.mean(found[same, "extreme", "kid-part"]) == pytest.approx(found[same, "extreme", "kid"][0])


def test_spread_shows_the_frame_that_was_asked_for(subject):
    images, _ = subject.sample(12, 0)
    explanation = explainers.get("progressive-exaggeration").explain(subject, images)
    made, asked = asked_sets.shown("spread", explanation, images)
    from explainers.contrastive.requests import drawn_tenths, requested

    assert torch.allclose(asked, requested(images), atol=1e-6)
    each = torch.arange(12)
    assert torch.equal(made, explanation.trajectory.images[each, drawn_tenths(images)])
    far, last = asked_sets.shown("extreme", explanation, images)
    assert torch.equal(far, explanation.counterfactual) and bool((last > 0.9).all())
    got = measured(subject, ["progressive-exaggeration"], ["spread"], 12)[
        "progressive-exaggeration", "spread", "request-error"
    ]
    assert np.mean(got) < 0.2


def painted(index):
    """An explainer that turns one planted attribute into its opposite and touches nothing else."""

    def explain(subject, given, targets, *, seed):
        from models.planted import SQUARE, STRIPE, border

        places = {0: SQUARE, 1: STRIPE}
        made = given.clone()
        where = torch.zeros(16, 16, dtype=torch.bool)
        if index in places:
            where[places[index]] = True
        else:
            where |= torch.from_numpy(border())
        made[:, :, where] = 1 - made[:, :, where]
        return Partial(made - given, counterfactual=made, source=targets, target=1 - targets, reconstruction=given)

    return explain


@pytest.mark.parametrize(("asked", "changed"), [("square", 0), ("square", 1), ("border", 3)])
def test_flips_of_known_counterfactuals(asked, changed):
    subject = models.load(f"fmnist-planted[attribute={asked}]")
    name = f"toy-paint-{changed}"
    explainers.register(name, signed=True, version=1)(painted(changed))
    found = measured(subject, [name], ["attributes"], 16)
    for index, attribute in enumerate(ATTRIBUTES):
        assert np.mean(found[name, "attributes", f"flip-{attribute}"]) == float(index == changed)
    right = ATTRIBUTES[changed] == asked
    assert np.mean(found[name, "attributes", "flip-asked"]) == right
    assert np.mean(found[name, "attributes", "flips-beside"]) == pytest.approx(0 if right else 1 / 3)
    assert np.mean(found[name, "attributes", "flips-reconstruction"]) == 0
    assert np.mean(found[name, "attributes", "changed-attributes"]) == 1
    assert set(found[name, "attributes", "confounding"]) == {None}
    for attribute in (*ATTRIBUTES, "asked"):
        had, moved = (found[name, "attributes", f"{kind}-{attribute}"] for kind in ("had", "change"))
        if attribute == asked:
            assert set(had) == set(moved) == {None}, "it stands under `asked` alone"
        elif attribute == ATTRIBUTES[changed] or (attribute == "asked" and right):
            assert moved == [1 - 2 * value for value in had] and set(had) == {0, 1}
        else:
            assert set(moved) == {0}


def test_the_confounder_is_counted_where_brightness_is_asked_about():
    subject = models.load("fmnist-planted-confounded")
    explainers.register("toy-paint-square", signed=True, version=1)(painted(0))
    found = measured(subject, ["toy-paint-square"], ["attributes"], 16)["toy-paint-square", "attributes", "confounding"]
    assert np.mean(found) == 1


def test_images_without_planted_attributes_are_not_applicable(subject):
    found = measured(subject, ["counterfactual-identity"], ["attributes"], 4)
    assert {value for values in found.values() for value in values} == {None}
    images, _ = subject.sample(2, 0)
    explanation = explainers.get("counterfactual-identity").explain(subject, images)
    assert planted.values(explanation, subject.data, images) is None


def test_declared():
    known = {info.name: {measure.name for measure in info.measures} for info in CHECKS}
    assert known["spread"] == known["extreme"] and {f"flip-{name}" for name in ATTRIBUTES} < known["attributes"]
    assert dataclasses.is_dataclass(CHECKS[0])


def test_the_shipped_explainers_change_what_was_asked_about_and_the_confounder_of_a_biased_classifier():
    found = {}
    for model, steps in (("[attribute=brightness]", 800), ("-confounded", 800), ("[attribute=stripe]", 500)):
        name = f"progressive-exaggeration[steps={steps},width=8]"
        rows = measured(models.load(f"fmnist-planted{model}"), [name], ["attributes"], 48)
        found[model] = {measure: values for (_, _, measure), values in rows.items()}
    for model in ("[attribute=brightness]", "[attribute=stripe]"):
        assert np.mean(found[model]["flip-asked"]) >= 0.7 and np.mean(found[model]["flips-beside"]) <= 0.25
    biased, unbiased = (np.mean(found[model]["confounding"]) for model in ("-confounded", "[attribute=brightness]"))
    assert biased - unbiased >= 0.15
