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


def test_groups_hold_what_was_reached_and_are_compared_at_equal_numbers():
    draw = torch.Generator().manual_seed(0)
    made, real = torch.randn(500, 2, generator=draw), torch.randn(700, 2, generator=draw) + 1
    p, q = two([0.95] * 230 + [0.5] * 60 + [0.05] * 210), two([0.9] * 250 + [0.1] * 220 + [0.3] * 230)
    values, reasons = groups.grouped(p, q, made, real)
    assert (values["size-present"], values["size-absent"]) == (230, 210) and not reasons
    assert values["fid-present"] == distances.frechet(real[:230], made[:230])
    assert values["kid-absent"] == distances.kernel_distance(real[250:460], made[290:])


def test_groups_that_are_too_small_are_refused_with_the_number_needed():
    p = two([0.95] * 150 + [0.02] * 40)
    values, reasons = groups.grouped(p, p, torch.randn(190, 64), torch.randn(190, 64))
    assert values["size-present"] == 150 and "kid-present" in values and "fid-present" not in values
    assert reasons == {
        "fid-present": "150 images of at least 640", "fid-absent": "40 images of at least 640",
        "kid-absent": "40 images of at least 100",
    }  # fmt: skip


def test_more_than_two_classes_have_no_groups():
    p = torch.softmax(torch.randn(300, 3), 1)
    assert groups.grouped(p, p, torch.randn(300, 2), torch.randn(300, 2)) == ({}, {})


def test_a_set_is_measured_in_the_features_that_were_chosen(file):
    found = extractors.extractor(f"{file}:made")
    draw = torch.Generator().manual_seed(1)
    made, real = torch.rand(300, 1, 4, 4, generator=draw), torch.rand(600, 1, 4, 4, generator=draw)
    values = scores.distribution(made, made, real, found, None, lambda x: two([0.95] * len(x)))[0]
    shown = (made * 255).round() / 255
    assert values["fid"] == distances.frechet(found.features(real)[:300], found.features(shown))
    assert values["feature-size"] == 2 and values["size-present"] == 300 and "fid-absent" not in values
    assert "fid" not in scores.distribution(made, made, real, None, None)[0]
