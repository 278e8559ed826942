"""The checks on counterfactuals, on a toy network whose answers are known."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import explainers
from bench.checks.generative import run, scores
from bench.checks.generative.declared import CHECKS
from bench.checks.generative.judge import Embedding, Judge
from bench.protocols import get
from explainers.base import Partial
from explainers.trajectory import Trajectory
from models.base import Subject
from models.data import ImageSet

PROTOCOL = get("recommended")


class Bright(nn.Module):
    """Three classes: dark, bright, and one for images whose corner is white."""

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 3)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.copy_(torch.tensor([0.0, -0.5 * scale, -1e3]))
            self.layer.weight[1] = scale / 16

    def forward(self, x):
        y = self.layer(x.flatten(1))
        return y + torch.stack([torch.zeros(len(x)), torch.zeros(len(x)), 2e3 * x[:, 0, 0, 0]], 1)

    def features(self, x):
        return torch.stack([x.mean((1, 2, 3)), x[:, 0, 1, 1], x[:, 0, 2, 2]], 1)


def images(count: int, name: str, seed: int) -> ImageSet:
    draw = np.random.default_rng(seed)
    pixels = draw.uniform(0.0, 0.4, (count, 1, 4, 4)).astype(np.float32)
    pixels = np.round(pixels * 255) / np.float32(255)
    pixels[:, 0, 0, 0] = 0.0
    return ImageSet(
        name=name, labels=np.zeros(count, dtype=np.int64), ids=[f"{name}/{i}" for i in range(count)],
        class_names=("dark", "bright", "corner"), shape=(1, 4, 4), read=lambda chosen: pixels[list(chosen)],
    )  # fmt: skip


@pytest.fixture
def subject(monkeypatch):
    made = Subject(name="toy", model=Bright().eval(), data=images(8, "toy", 0), reference=images(40, "real", 1))
    other = dataclasses.replace(made, model=Bright(scale=10.0).eval())
    monkeypatch.setattr(run, "judge_for", lambda subject: Judge("toy-judge", other, (0, 1, 2)))
    monkeypatch.setattr(run, "embedding_for", lambda subject: Toy())
    return made


class Toy(Embedding):
    def __init__(self) -> None:
        object.__setattr__(self, "threshold", 0.99)

    def __call__(self, x):
        return x.flatten(1)


def answering(change, trajectory=False):
    """An explainer whose counterfactual is a known change of the image."""

    def explain(subject, given, targets, *, seed):
        made = change(given)
        strip = None
        if trajectory:
            asked = torch.linspace(0.05, 0.95, 5).expand(len(given), -1)
            pixels = torch.stack([given * 0 + level for level in (0.0, 0.4, 0.5, 0.6, 1.0)], 1)
            pixels[..., 0, 0] = 0.0
            seen = torch.stack([subject.logits(pixels[:, t]).softmax(1) for t in range(5)], 1).detach()
            strip = Trajectory(pixels, seen, asked, "exaggeration")
        return Partial(
            made - given, counterfactual=made, source=targets, target=torch.ones_like(targets),
            outcome=("converged",) * len(given), trajectory=strip, reconstruction=given,
        )  # fmt: skip

    return explain


@pytest.fixture
def registered():
    """Explainers of this test only."""
    from explainers import registry

    before = dict(registry._PLUGINS) if hasattr(registry, "_PLUGINS") else None
    names = {
        "toy-bright": answering(
            lambda x: torch.where(torch.arange(16).view(4, 4) == 0, x, x * 0 + 0.9), trajectory=True
        ),
        "toy-nothing": answering(lambda x: x.clone()),
        "toy-corner": answering(lambda x: torch.where(torch.arange(16).view(4, 4) == 0, x * 0 + 1.0, x)),
    }
    for name, function in names.items():
        explainers.register(name, signed=True, version=1)(function)
    yield {name: explainers.get(name) for name in names}
    if before is not None:
        registry._PLUGINS.clear()
        registry._PLUGINS.update(before)


def means(results, check):
    found = {}
    for result in results:
        assert result.error is None, result.error
        for row in result.rows:
            if result.check == check:
                found.setdefault((result.explainer, row["measure"]), []).append(row["value"])
    return {key: None if None in values else float(np.mean(values)) for key, values in found.items()}


def results(subject, members, checks=("counterfactual", "requests", "distribution"), **options):
    wanted = {(check, name) for check in checks for name in members}
    return list(
        run.run_block(subject, list(members.values()), range(8), 0, protocol=PROTOCOL, wanted=wanted, base=0, **options)
    )


def test_known_counterfactuals_get_known_values(subject, registered):
    found = results(subject, registered)
    assert len(found) == 9
    value = means(found, "counterfactual")
    assert (
        value["toy-bright", "reached"]
        == value["toy-bright", "validity"]
        == value["toy-bright", "transfer-validity"]
        == 1
    )
    assert value["toy-bright", "intrusion"] == 0 and value["toy-bright", "transfer-gain"] > 0.8
    assert value["toy-nothing", "validity"] == value["toy-nothing", "changed-share"] == 0
    assert value["toy-nothing", "proximity-l1"] == pytest.approx(0, abs=1e-6)
    assert value["toy-nothing", "transfer-gain"] == pytest.approx(0, abs=1e-6)
    assert value["toy-nothing", "exchange"] is None and value["toy-nothing", "concentration"] is None
    assert value["toy-corner", "intrusion"] == 1 and value["toy-corner", "reached"] == 0
    assert value["toy-corner", "changed-share"] == pytest.approx(1 / 16)
    assert value["toy-bright", "latent-distance"] is None and value["toy-bright", "reconstruction-error"] == 0


def test_series_and_sets(subject, registered):
    found = results(subject, registered)
    value = means(found, "requests")
    assert value["toy-bright", "agreement"] == 1 and value["toy-bright", "span"] > 0.99
    assert value["toy-bright", "error"] < value["toy-bright", "error-unchanged"]
    assert value["toy-nothing", "agreement"] is None
    value = means(found, "distribution")
    assert value["toy-nothing", "closeness"] == value["toy-nothing", "verification"] == 1
    assert value["toy-bright", "fid"] is None and value["toy-bright", "set-size"] == 8  # too few for that distance
    assert value["toy-nothing", "kid"] < value["toy-bright", "kid"]


def test_every_planned_row_is_there(subject, registered):
    for result in results(subject, registered):
        info = next(info for info in CHECKS if info.name == result.check)
        assert len(result.rows) == info.per_stage + info.per_image * 8
        assert {row["measure"] for row in result.rows} == {measure.name for measure in info.measures}


def test_real_images_must_be_others(subject, registered):
    near = dataclasses.replace(subject, reference=subject.data)
    (result,) = results(near, {"toy-nothing": registered["toy-nothing"]}, checks=("distribution",))
    assert "near copies" in result.error["message"]
    few = dataclasses.replace(subject, reference=images(9, "real", 1))
    (result,) = results(few, {"toy-nothing": registered["toy-nothing"]}, checks=("distribution",))
    assert "16 real images" in result.error["message"]


def test_explainers_without_counterfactuals_and_without_this_kind_of_model_are_not_applicable(subject, registered):
    members = {name: explainers.get(name) for name in ("gradient", "progressive-exaggeration")}
    for result in results(subject, members):
        assert result.error is None and {row["status"] for row in result.rows if row["measure"] != "set-size"} == {
            "not-applicable"
        }


def test_pictures_and_batches(subject, registered):
    pictures = [r.pictures for r in results(subject, registered, pictures=2) if r.check == "counterfactual"]
    assert all(
        p["arrays"]["counterfactuals"].shape == (2, 1, 4, 4) and p["meta"]["toward"] == ["bright"] * 2 for p in pictures
    )
    one, other = results(subject, registered), results(subject, registered, batch_size=3)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a.rows, b.rows, strict=True):
            assert x["status"] == y["status"] and (
                x["value"] is None or x["value"] == pytest.approx(y["value"], abs=1e-6)
            )


def test_what_is_not_asked_about_a_target_has_no_value(subject):
    given = subject.data.load(range(4))
    base = explainers.get("counterfactual-identity").info
    found = explainers.Explanation(
        attribution=given * 0, targets=torch.zeros(4, dtype=torch.long), status=("degenerate-zero",) * 4, info=base,
        counterfactual=given, source=torch.zeros(4, dtype=torch.long), target=torch.tensor([-1, 1, 1, -1]),
    )  # fmt: skip
    values = scores.counterfactual(found, subject, given, None)
    assert torch.isnan(values["validity"]).tolist() == [True, False, False, True] and "transfer-gain" not in values
