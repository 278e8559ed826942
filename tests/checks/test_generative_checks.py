"""The checks on counterfactuals, on a toy network whose answers are known."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import explainers
from bench.checks.generative import cycles, distances, reals, run, scores, series
from bench.checks.generative.declared import CHECKS
from bench.checks.generative.judge import Embedding, Judge
from bench.protocols import get
from explainers.base import Partial
from explainers.trajectory import Trajectory
from models.base import Subject
from models.data import ImageSet
from models.naming import UsageError

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


def test_real_images_that_an_explainer_shows_are_not_among_those_it_is_measured_against(subject, registered):
    held = subject.reference.load(range(len(subject.reference)))
    registry_name = "toy-shows-real"
    explainers.register(registry_name, signed=True, version=1)(answering(lambda x: held[: len(x)].clone()))
    found = reals.apart(subject.reference, subject.data.ids, held[:8])
    assert torch.equal(found, held[8:]) and torch.equal(
        reals.beside(subject.reference, [], held[8:9], 9), torch.cat([held[:8], held[9:10]])
    )
    with pytest.raises(UsageError, match="39 that are none of these"):
        reals.beside(subject.reference, [], held[:1], 40)
    (result,) = results(subject, {registry_name: explainers.get(registry_name)}, checks=("extreme",))
    rows = {row["measure"]: row["value"] for row in result.rows if row["image"] is None}
    other = dataclasses.replace(subject, model=Bright(scale=10.0).eval())
    features = Judge("toy-judge", other, (0, 1, 2)).features
    one, two = features(held[8:16]), features(held[:8])
    assert rows["kid"] == pytest.approx(distances.kernel_distance(one, two))
    assert rows["kid"] != pytest.approx(distances.kernel_distance(two, two))


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
    frames = {p["meta"]["explainer"]: p["arrays"].get("frames") for p in pictures}
    assert frames["toy-bright"].shape == (2, 5, 1, 4, 4) and frames["toy-nothing"] is None
    shown = next(p["arrays"] for p in pictures if p["meta"]["explainer"] == "toy-bright")
    assert shown["frame-requests"][0].tolist() == pytest.approx([0.05, 0.275, 0.5, 0.725, 0.95])
    assert shown["frame-probabilities"][0, 0] < 0.01 and shown["frame-probabilities"][0, -1] > 0.99
    one, other = results(subject, registered), results(subject, registered, batch_size=3)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a.rows, b.rows, strict=True):
            assert x["status"] == y["status"] and (
                x["value"] is None or x["value"] == pytest.approx(y["value"], abs=1e-6)
            )


def redrawn(given, loss):
    """Ten images for ten requests, told by the first column; every other pixel loses so much each time it is drawn."""
    levels = (torch.arange(10) + 0.5) / 10
    frames = given[:, None].expand(-1, 10, -1, -1, -1) - loss
    frames[..., 0] = ((levels * 255).round() / 255)[None, :, None, None]
    targets = torch.zeros(len(given), dtype=torch.long)
    return explainers.Explanation(
        attribution=given * 0, targets=targets, status=("ok",) * len(given), info=explainers.get("input").info,
        counterfactual=frames[:, -1], source=targets, target=targets + 1,
        trajectory=Trajectory(frames, torch.zeros(len(given), 10, 3), levels.expand(len(given), -1), "exaggeration"),
    )  # fmt: skip


@pytest.mark.parametrize("loss", [0, 2])
def test_an_exact_inverter_leads_back_and_one_that_loses_a_little_each_round_loses_ten_times_as_much(loss):
    eps = loss / 255
    given = torch.full((10, 1, 4, 5), 200 / 255)
    own = (torch.arange(10) + 0.5) / 10
    given[..., 0] = ((own * 255).round() / 255).view(-1, 1, 1)
    made = cycles.values(redrawn(given, eps), given, own + 0.02, lambda images: redrawn(images, eps))
    share = 16 / 20  # of the pixels
    for name, times in (("self-error", 1), ("cycle-error", 2), ("rounds-error", 10)):
        assert made[name].tolist() == pytest.approx([times * eps * share] * 10, abs=1e-6)
    assert made["away"][0] > 0.15 and made["away"][9] == pytest.approx(eps * share, abs=1e-6)


def test_cycles_are_measured_where_there_is_a_series_and_not_applicable_elsewhere(subject, registered):
    value = means(results(subject, registered, checks=("cycles",)), "cycles")
    shown = torch.round(torch.tensor([0.0, 0.4]) * 255) / 255
    x = subject.data.load(range(8))
    own = x.mean((1, 2, 3)) * 20 - 10  # log odds of the class that was asked for; requests are .05, .275, .5 and so on
    level = torch.where(own.sigmoid() < 0.1625, shown[0], shown[1])[:, None, None, None]
    pixels = torch.where(torch.arange(16).view(4, 4) == 0, 0.0, level)
    expected = float((x - pixels).abs().mean())
    assert value["toy-bright", "self-error"] == value["toy-bright", "rounds-error"] == pytest.approx(expected, abs=1e-6)
    assert value["toy-bright", "cycle-error"] == pytest.approx(expected, abs=1e-6) and value["toy-bright", "away"] > 0.7
    assert value["toy-nothing", "self-error"] is None and value["toy-corner", "cycle-error"] is None


def test_what_was_achieved_is_kept_for_each_request_of_the_picture_that_is_shown(subject):
    """A series of the very image: whatever is requested, the answer is that of the image."""

    def unchanging(subject, given, targets, *, seed):
        frames = (given[:, None] + 0.4 / 255).expand(-1, 10, -1, -1, -1)  # a difference that no screen shows
        asked = ((torch.arange(10) + 0.5) / 10).expand(len(given), -1)
        return Partial(
            given * 0, counterfactual=given, source=targets, target=torch.ones_like(targets),
            trajectory=Trajectory(frames, torch.rand(len(given), 10, 3), asked, "exaggeration"),
        )  # fmt: skip

    explainers.register("toy-unchanging", signed=True, version=1)(unchanging)
    value = means(results(subject, {"toy-unchanging": explainers.get("toy-unchanging")}, ("requests",)), "requests")
    own = float(subject.predict_logits(subject.data.load(range(8))).softmax(1)[:, 1].double().mean())
    for name in ("unchanged", *series.TENTHS):
        assert value["toy-unchanging", f"achieved-{name}"] == pytest.approx(own, abs=1e-6)
    assert value["toy-unchanging", "error"] == pytest.approx(value["toy-unchanging", "error-unchanged"], abs=1e-6)
    assert value["toy-unchanging", "span"] == pytest.approx(0, abs=1e-6)


def test_what_is_not_asked_about_a_target_has_no_value(subject):
    given = subject.data.load(range(4))
    base = explainers.get("counterfactual-identity").info
    found = explainers.Explanation(
        attribution=given * 0, targets=torch.zeros(4, dtype=torch.long), status=("degenerate-zero",) * 4, info=base,
        counterfactual=given, source=torch.zeros(4, dtype=torch.long), target=torch.tensor([-1, 1, 1, -1]),
    )  # fmt: skip
    values = scores.counterfactual(found, subject, given, None)
    assert torch.isnan(values["validity"]).tolist() == [True, False, False, True] and "transfer-gain" not in values
