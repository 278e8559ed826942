"""Features that are not the oracle's, and distances in groups: what is taken, what is refused and with which words."""

import pytest
import torch
from torch import nn

from bench import features
from bench.checks.generative import distances, extractors, groups, scores
from bench.checks.generative.judge import NoJudge, judge_for
from bench.config import resolve
from bench.protocols import get
from models.base import Subject
from models.naming import UsageError
from tests.checks.test_generative_checks import images as toy_images

GOOD = """
import torch
def made():
    return lambda x: torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)
def nan():
    return lambda x: torch.full((len(x), 2), float("nan"))
def flat():
    return lambda x: x.mean()
def number():
    return 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orcale", "did you mean 'oracle'"), ("inseption", "inception"), ("none.py:made", "none.py does not exist"),
        (":made", "allowed are"),
    ],
)  # fmt: skip
def test_what_is_no_source_of_features_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        resolve({"suite": "generative", "features": text})


def test_inception_says_what_is_missing_and_fetches_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install torch-fidelity"):
        features.check("inception")
    monkeypatch.setattr(features, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match=f"{tmp_path}.*not there, and nothing is fetched"):
        features.check("inception")
    assert not list(tmp_path.iterdir())


def test_features_are_part_of_the_key_by_what_they_are_and_not_by_where(file, tmp_path):
    usual = get("recommended")
    assert usual.with_(features="oracle").hash == usual.hash and "features" not in usual.parameters()
    mine = usual.with_(features=f"{file}:made")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "mine.py").write_text(GOOD)
    assert usual.with_(features=f"{other / 'mine.py'}:made").hash == mine.hash != usual.hash
    (other / "mine.py").write_text(GOOD + "\n")
    assert usual.with_(features=f"{other / 'mine.py'}:made").hash != mine.hash
    config = resolve({"suite": "generative", "features": f"{file}:made"})
    assert config.declared().hash == mine.hash and config.folder() != resolve({"suite": "generative"}).folder()


def test_a_users_network_gives_the_features(file):
    found = extractors.extractor(f"{file}:made")
    x = torch.rand(70, 1, 4, 4)
    assert torch.equal(found.features(x), torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1).double())
    assert found.name == "mine.py:made"


@pytest.mark.parametrize(
    ("name", "said"),
    [("nan", "not finite"), ("flat", r"shape \(\)"), ("number", "returned int"), ("none", "no function 'none'")],
)
def test_networks_that_give_something_else_are_refused(file, name, said):
    with pytest.raises(UsageError, match=said):
        extractors.extractor(f"{file}:{name}").features(torch.rand(3, 1, 4, 4))


def test_an_oracle_with_other_classes_or_images_judges_nothing():
    data, network = toy_images(4, "toy", 0), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(NoJudge, match="not dark, bright, corner"):
        judge_for(Subject(name="toy", model=network, data=data, reference=data))


def two(shares):
    second = torch.tensor(shares)
    return torch.stack([1 - second, second], 1)


def test_groups_hold_what_was_reached_and_are_compared_at_the_same_number_for_every_explainer():
    draw = torch.Generator().manual_seed(0)
    made, real = torch.randn(800, 2, generator=draw), torch.randn(1000, 2, generator=draw) + 1
    q = two([0.9] * 450 + [0.1] * 420 + [0.3] * 130)
    found = []
    for present, absent in ((230, 210), (460, 300)):  # two explainers of unequal groups
        p = two([0.95] * present + [0.5] * (800 - present - absent) + [0.05] * absent)
        values, reasons = groups.grouped(p, q, made, real)
        assert (values["members-present"], values["members-absent"]) == (present, absent) and not reasons
        assert values["kid-absent"] == distances.kernel_distance(real[450:650], made[800 - absent : 1000 - absent])
        assert values["fid-floor-absent"] == distances.frechet(real[450:650], real[650:850])
        found.append(values)
    assert found[0]["fid-present"] == found[1]["fid-present"] == distances.frechet(real[:200], made[:200])
    assert found[0]["kid-floor-present"] == distances.kernel_distance(real[:200], real[200:400])
    assert found[0]["fid-present"] > 10 * found[0]["fid-floor-present"] and found[0]["group-features"] == 2


def test_groups_that_are_too_small_are_refused_with_the_number_needed():
    p, q = two([0.95] * 199 + [0.02] * 200), two([0.95] * 390 + [0.02] * 410)
    values, reasons = groups.grouped(p, q, torch.randn(399, 64), torch.randn(800, 64))
    assert (values["members-present"], values["members-absent"], values["group-features"]) == (199, 200, 20)
    assert reasons == {
        "fid-present": "199 counterfactuals, 200 needed", "kid-present": "199 counterfactuals, 200 needed",
        "fid-floor-present": "190 further real images, 200 needed", "kid-floor-present": "190 further real images, 200 needed",
    }  # fmt: skip
    assert {"fid-absent", "kid-absent", "fid-floor-absent", "kid-floor-absent"} < set(values)
    few = groups.grouped(p, p, torch.randn(399, 64), torch.randn(399, 64))[1]
    assert few["fid-present"] == "199 real images, 200 needed" and "fid-absent" not in few


def test_few_images_are_compared_in_twenty_dimensions_whose_bias_is_the_known_one():
    draw = torch.Generator().manual_seed(0)
    n, d = 200, 20
    found = [
        distances.frechet_of_few(torch.randn(n, 64, generator=draw), torch.randn(n, 64, generator=draw))
        for _ in range(6)
    ]
    assert sum(found) / len(found) == pytest.approx(2 * d / n + d * (d + 1) / (2 * n), rel=0.05)
    flat = torch.randn(n, 64, generator=draw) * (torch.arange(64) < 32)  # these do not vary in half of all directions
    moved = flat + 2.0 * (torch.arange(64) >= 32)
    assert distances.frechet_of_few(flat, moved) == pytest.approx(4 * 32 * 20 / 64, rel=0.35)
    assert distances.frechet_of_few(flat, flat[torch.randperm(n, generator=draw)]) == pytest.approx(0, abs=1e-4)


def test_more_than_two_classes_have_no_groups():
    p = torch.softmax(torch.randn(300, 3), 1)
    assert groups.grouped(p, p, torch.randn(300, 2), torch.randn(300, 2)) == ({}, {})


def test_a_set_is_measured_in_the_features_that_were_chosen(file):
    found = extractors.extractor(f"{file}:made")
    draw = torch.Generator().manual_seed(1)
    made, real = torch.rand(300, 1, 4, 4, generator=draw), torch.rand(600, 1, 4, 4, generator=draw)
    values = scores.distribution(made, made, real, found, None)[0]
    shown = (made * 255).round() / 255
    assert values["fid"] == distances.frechet(found.features(real)[:300], found.features(shown))
    assert values["feature-size"] == 2 and "fid" not in scores.distribution(made, made, real, None, None)[0]
    ids = [f"{299 - place:03}" for place in range(300)]
    groups_of = scores.in_groups(made, ids, real, found, lambda x: two([0.95] * len(x)))[0]
    assert groups_of["members-present"] == 300 and "fid-absent" not in groups_of
    last = found.features(shown).flip(0)[:200]  # the first by their ids
    assert groups_of["fid-present"] == distances.frechet(found.features(real)[:200], last)
