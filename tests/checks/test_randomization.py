"""The walks: exact facts about stages and seeds, failures kept apart, models left alone, rows as agreed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bench import protocols
from bench.checks import CHECKS, CellResult
from bench.checks.calibration import run_block as run_calibration
from bench.checks.randomization import run_block
from bench.checks.similarity import MEASURES
from models.base import Subject
from models.randomize import randomized
from models.seeds import derive

from .fakes import STAGES, Card, Fake, copied, gradient, noise, subject

RECOMMENDED = protocols.get("recommended")
INDICES = [3, 5, 11, 17]
WALKS = ("cascading", "independent")
HEALTH = (("health-cascading", "(model)"), ("health-independent", "(model)"))


def walk(
    members: Iterable[Fake],
    checks: tuple[str, ...] = WALKS,
    model: Subject | None = None,
    protocol: protocols.Protocol = RECOMMENDED,
    pictures: int = 0,
    extra: tuple[tuple[str, str], ...] = (),
    seed: int = 2,
) -> dict[tuple[str, str], CellResult]:
    members = list(members)
    wanted = {(check, member.name) for member in members for check in checks} | set(extra)
    results = run_block(
        model or subject(), members, INDICES, seed, protocol=protocol, wanted=wanted, base=9, pictures=pictures
    )
    found = {(result.check, result.explainer): result for result in results}
    assert set(found) == wanted
    return found


def frame(result: CellResult) -> pd.DataFrame:
    assert result.error is None, result.error
    return pd.DataFrame(result.rows)


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns=["check", "seconds"]).reset_index(drop=True)


def test_the_fake_has_the_stages_that_the_tests_assume() -> None:
    assert subject().stages == STAGES


def test_rows_are_complete_and_in_the_agreed_form() -> None:
    found = walk([Fake("g", gradient)], extra=HEALTH)
    rows = frame(found["cascading", "g"])
    assert len(rows) == 4 * (4 * 6 + 1)
    assert list(rows.columns) == [
        "suite", "check", "subject", "explainer", "seed", "stage", "layer", "image", "target", "measure", "value",
        "status", "seconds",
    ]  # fmt: skip
    assert set(rows.seed) == {2}
    assert set(rows.subject) == {"fake"}
    layers = rows.groupby("stage").layer.first()
    assert layers.tolist()[1:] == ["head", "hidden", "conv"]
    assert rows[rows.stage == 0].layer.isna().all()
    per_image = rows[rows.image.notna()]
    assert set(per_image.measure) == set(MEASURES)
    assert set(per_image.image) == {f"fakes/test/{index:04d}" for index in INDICES}
    assert set(rows[rows.image.isna()].measure) == {"zero-map-share"}
    health = frame(found["health-cascading", "(model)"])
    assert len(health) == 4 * 4
    assert set(health.measure) == {measure.name for measure in CHECKS["health-cascading"].measures}
    assert health.target.isna().all()
    assert (health[health.measure == "healthy"].value == 1).all()


def test_stage_0_is_one_and_the_first_stages_are_bit_identical() -> None:
    found = walk([Fake("g", gradient), Fake("x", copied)], extra=HEALTH)
    cascading, independent = (frame(found[check, "g"]) for check in WALKS)
    assert (cascading[(cascading.stage == 0) & cascading.image.notna()].value == 1.0).all()
    for stage in (0, 1):
        first, second = (comparable(rows[rows.stage == stage]) for rows in (cascading, independent))
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert not comparable(cascading[cascading.stage == 2]).equals(comparable(independent[independent.stage == 2]))
    first, second = (frame(found[name]) for name in HEALTH)
    pd.testing.assert_frame_equal(comparable(first[first.stage == 1]), comparable(second[second.stage == 1]))


def test_each_check_alone_gives_the_same_rows_as_both_together() -> None:
    together = walk([Fake("g", gradient), Fake("x", copied), Fake("n", noise)])
    for check in WALKS:
        alone = walk([Fake("g", gradient)], checks=(check,))
        pd.testing.assert_frame_equal(
            comparable(frame(alone[check, "g"])), comparable(frame(together[check, "g"])), check_exact=True
        )


def test_the_compared_maps_are_those_of_the_nested_models() -> None:
    model = subject()
    seen: list[Tensor] = []

    def spy(where: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        seen.append(gradient(where, images, targets, seed))
        return seen[-1]

    walk([Fake("g", spy)], model=model)
    images = model.data.load(INDICES)
    targets = model.predict(images)
    stages = model.stages
    expected = [stages[:0], stages[:1], stages[:2], stages[:3], stages[1:2], stages[2:3]]
    assert len(seen) == len(expected), "every model is explained once"
    for given, chosen in zip(seen, expected, strict=True):
        other = randomized(model, chosen, base=9, seed=2)
        assert torch.equal(given, gradient(other, images, targets, 0))


def test_blind_explainers_stay_at_one_and_noise_follows_common_random_numbers() -> None:
    found = walk([Fake("x", copied), Fake("n", noise, Card(stochastic=True))])
    for name in ("x", "n"):
        rows = frame(found["cascading", name])
        assert (rows[rows.image.notna()].value == 1.0).all()


def test_the_seed_is_the_same_at_all_stages_and_differs_between_seeds() -> None:
    first, second = Fake("g", gradient), Fake("g", gradient)
    walk([first], seed=0)
    walk([second], seed=1)
    assert len(set(first.seeds)) == len(set(second.seeds)) == 1
    assert first.seeds[0] == derive(9, "explain", 0) != second.seeds[0]


def test_targets_follow_the_protocol() -> None:
    model = subject()
    images = model.data.load(INDICES)
    trained = model.predict(images).tolist()
    labels = model.data.labels[INDICES].tolist()
    other = randomized(model, model.stages[:1], base=9, seed=2).predict(images).tolist()
    assert trained != other != labels

    def asked(protocol: protocols.Protocol) -> list[list[int]]:
        fake = Fake("g", gradient)
        rows = frame(walk([fake], checks=("cascading",), protocol=protocol)["cascading", "g"])
        by_stage = rows[rows.measure == "ssim"].groupby("stage").target.apply(list).tolist()
        assert by_stage == fake.targets
        return fake.targets

    assert asked(RECOMMENDED) == [trained] * 4
    assert asked(RECOMMENDED.with_(target="label")) == [labels] * 4
    randomised = asked(RECOMMENDED.with_(target="randomised-prediction"))
    assert randomised[:2] == [trained, other]


def test_one_failing_explainer_does_not_stop_the_others() -> None:
    def always(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        raise RuntimeError("no gradient here")

    def late(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        late.calls += 1  # type: ignore[attr-defined]
        if late.calls == 3:  # type: ignore[attr-defined]
            raise ZeroDivisionError("at the second stage")
        return gradient(model, images, targets, seed)

    late.calls = 0  # type: ignore[attr-defined]
    found = walk([Fake("bad", always), Fake("g", gradient), Fake("late", late)])
    alone = walk([Fake("g", gradient)])
    for check in WALKS:
        error = found[check, "bad"].error
        assert error is not None
        assert (error["type"], error["message"], error["stage"]) == ("RuntimeError", "no gradient here", 0)
        assert "in always" in error["traceback"]
        assert found[check, "bad"].rows == []
        pd.testing.assert_frame_equal(
            comparable(frame(found[check, "g"])), comparable(frame(alone[check, "g"])), check_exact=True
        )
    failed = found["cascading", "late"].error
    assert failed is not None
    assert (failed["type"], failed["stage"]) == ("ZeroDivisionError", 2)
    assert found["independent", "late"].error is None


@pytest.mark.parametrize(
    ("name", "spoil", "what"),
    [
        ("weights", lambda m, x, t: m.model.head.bias.data.add_(1), "the model"),
        ("mode", lambda m, x, t: m.model.train(), "the model"),
        ("hook", lambda m, x, t: m.model.act.register_forward_hook(lambda *a: None), "the model"),
        ("grad", lambda m, x, t: m.logits(x).sum().backward(), "the model"),
        ("images", lambda m, x, t: x.mul_(0.5), "the images"),
        ("targets", lambda m, x, t: t.zero_(), "the targets"),
    ],
)
def test_an_explainer_that_changes_what_it_was_lent_fails_alone(
    name: str, spoil: Callable[[Subject, Tensor, Tensor], object], what: str
) -> None:
    def rude(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        result = gradient(model, images, targets, seed)
        spoil(model, images, targets)
        return result

    model = subject()
    before, images = model.checksum(), model.data.images.clone()
    found = walk([Fake("rude", rude), Fake("g", gradient)], model=model)
    error = found["cascading", "rude"].error
    assert error is not None
    assert error["type"] == "Violation"
    assert f"'rude' changed {what}" in error["message"]
    assert model.checksum() == before
    assert torch.equal(model.data.images, images)
    expected = walk([Fake("g", gradient)])
    pd.testing.assert_frame_equal(
        comparable(frame(found["cascading", "g"])), comparable(frame(expected["cascading", "g"])), check_exact=True
    )


def test_a_change_to_the_users_own_model_is_noticed() -> None:
    model = subject()

    def reach(given: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        model.model.head.bias.data.add_(1)
        return gradient(given, images, targets, seed)

    found = walk([Fake("reach", reach)], model=model, checks=("cascading",))
    error = found["cascading", "reach"].error
    assert error is not None
    assert "not as it was before" in error["message"]


def test_global_random_state_is_not_touched() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    walk([Fake("g", gradient)])
    calibrate([Fake("n", noise, Card(stochastic=True))])
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (3, 1, 16, 16)])
def test_maps_of_another_shape_are_an_error(shape: tuple[int, ...]) -> None:
    found = walk([Fake("small", lambda *_: torch.ones(shape))], checks=("cascading",))
    error = found["cascading", "small"].error
    assert error is not None
    assert "one map of the size of the image" in error["message"]


def test_undeclared_negative_values_fail() -> None:
    found = walk([Fake("s", gradient, Card(signed=False))], checks=("cascading",))
    error = found["cascading", "s"].error
    assert error is not None
    assert "declares non-negative" in error["message"]
    summed = walk([Fake("s", gradient)], checks=("cascading",), protocol=protocols.get("adebayo2018"))
    assert summed["cascading", "s"].error is None


def test_degenerate_and_failed_maps_are_rows() -> None:
    def dark(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        values = gradient(model, images, targets, seed)
        values[1] = 0
        values[2] = float("nan")
        return values

    rows = frame(walk([Fake("d", dark, failed=(3,))])["cascading", "d"])
    status = rows[rows.measure == "cosine"].groupby("image").status.unique().str.join(",").tolist()
    assert status == ["ok", "degenerate-zero", "non-finite", "failed"]
    assert rows[rows.status != "ok"].value.isna().all()
    assert rows[rows.status == "ok"].value.notna().all()
    assert (rows[rows.measure == "zero-map-share"].value == 0.25).all()


def test_a_dead_stage_is_marked_and_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.checks.randomization as module

    real = module.cascade

    def deadly(*args: object, **options: object) -> Iterable[tuple[object, Subject]]:
        for stage, model in real(*args, **options):  # type: ignore[arg-type]
            if stage.index == 2:
                with torch.no_grad():
                    model.model.hidden.bias.fill_(-1e6)
            yield stage, model

    monkeypatch.setattr(module, "cascade", deadly)
    fake = Fake("g", gradient)
    found = walk([fake], checks=("cascading",), extra=HEALTH[:1])
    rows = frame(found["cascading", "g"])
    assert set(rows[rows.stage == 2].status) == {"not-applicable"}
    assert rows[rows.stage == 2].value.isna().all()
    assert len(rows) == 4 * (4 * 6 + 1), "rows are marked, not dropped"
    assert set(rows[rows.stage == 3].status) == {"ok"}
    assert fake.calls == 3
    health = frame(found["health-cascading", "(model)"])
    assert health[health.measure == "healthy"].value.tolist() == [1.0, 1.0, 0.0, 1.0]


def test_health_alone_explains_nothing() -> None:
    found = walk([], extra=HEALTH)
    assert [len(found[name].rows) for name in HEALTH] == [16, 16]


def test_pictures_hold_the_maps_of_every_stage() -> None:
    def early(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        raise RuntimeError("none")

    found = walk([Fake("g", gradient), Fake("bad", early)], pictures=2)
    picture = found["cascading", "g"].pictures
    assert picture is not None
    assert picture["arrays"]["maps"].shape == (2, 4, 16, 16)
    assert picture["arrays"]["images"].shape == (2, 1, 16, 16)
    assert picture["meta"]["layers"] == ["head", "hidden", "conv"]
    assert picture["meta"]["images"] == ["fakes/test/0003", "fakes/test/0005"]
    model = subject()
    images = model.data.load(INDICES[:2])
    expected = gradient(model, images, model.predict(images), 0)[:, 0]
    np.testing.assert_allclose(picture["arrays"]["maps"][:, 0], expected, atol=1e-6)
    assert found["independent", "g"].pictures is None
    assert found["cascading", "bad"].pictures is None
    assert walk([Fake("g", gradient)])["cascading", "g"].pictures is None


def calibrate(
    members: Iterable[Fake], checks: tuple[str, ...] = ("ceiling", "floor"), seed: int = 0
) -> dict[tuple[str, str], CellResult]:
    members = list(members)
    wanted = {(check, member.name) for member in members for check in checks}
    results = run_calibration(subject(), members, INDICES, seed, protocol=RECOMMENDED, wanted=wanted, base=9)
    found = {(result.check, result.explainer): result for result in results}
    assert set(found) == wanted
    assert all(result.seed == seed for result in found.values())
    return found


def test_ceiling_is_exactly_one_for_deterministic_explainers_without_a_second_run() -> None:
    fake = Fake("g", gradient)
    rows = frame(calibrate([fake], checks=("ceiling",), seed=1)["ceiling", "g"])
    assert len(rows) == 4 * 6
    assert (rows.value == 1.0).all()
    assert set(rows.stage) == {0}
    assert set(rows.seed) == {1}
    assert fake.calls == 1


def test_ceiling_of_noise_is_the_similarity_of_fresh_random_numbers() -> None:
    fake = Fake("n", noise, Card(stochastic=True))
    rows = frame(calibrate([fake], checks=("ceiling",), seed=1)["ceiling", "n"])
    assert abs(rows[rows.measure == "spearman"].value.mean()) < 0.1
    assert fake.seeds == [derive(9, "explain", 0), derive(9, "ceiling", 1)]


def test_floor_is_drawn_independently_of_the_cascade() -> None:
    seen: list[Tensor] = []

    def spy(where: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        seen.append(where.model.conv.weight.detach().clone())
        return gradient(where, images, targets, seed)

    rows = frame(calibrate([Fake("g", spy)], checks=("floor",), seed=2)["floor", "g"])
    assert set(rows.stage) == {3}
    assert set(rows.layer) == {"conv"}
    assert set(rows.seed) == {2}
    model = subject()
    cascade_weights = randomized(model, model.stages, base=9, seed=2).model.conv.weight
    floor_weights = randomized(model, model.stages, base=derive(9, "floor"), seed=2).model.conv.weight
    assert torch.equal(seen[1], floor_weights)
    assert not torch.equal(seen[1], cascade_weights)


def test_calibration_keeps_failures_apart() -> None:
    def bad(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        raise RuntimeError("no")

    found = calibrate([Fake("bad", bad), Fake("x", copied)])
    for check in ("ceiling", "floor"):
        error = found[check, "bad"].error
        assert error is not None
        assert error["message"] == "no"
        assert (frame(found[check, "x"]).value == 1.0).all()


def test_what_was_fitted_to_the_trained_model_is_not_asked_about_random_ones() -> None:
    asked = []

    def fitted(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        asked.append(model)
        return gradient(model, images, targets, seed)

    member = Fake("fitted", fitted, Card(amortised=True))
    rows = frame(walk([member, Fake("g", gradient)])["cascading", "fitted"])
    assert len(asked) == 1
    assert set(rows[rows.stage == 0].status) == {"ok"} and set(rows[rows.stage > 0].status) == {"not-applicable"}


def test_from_the_input_up_the_compared_models_are_nested_and_meet_the_other_walks_at_both_ends() -> None:
    model = subject()
    seen: list[Tensor] = []

    def spy(where: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        seen.append(gradient(where, images, targets, seed))
        return seen[-1]

    health = ("health-bottom-up", "(model)")
    found = walk([Fake("g", spy)], ("bottom-up",), model, extra=(health,))
    images = model.data.load(INDICES)
    stages = model.stages
    expected = [stages[:0], stages[2:], stages[1:], stages]
    assert len(seen) == len(expected)
    for given, chosen in zip(seen, expected, strict=True):
        other = randomized(model, chosen, base=9, seed=2)
        assert torch.equal(given, gradient(other, images, model.predict(images), 0))
    rows = frame(found["bottom-up", "g"])
    assert rows.groupby("stage").layer.first().tolist()[1:] == ["conv", "hidden", "head"]
    assert frame(found[health]).groupby("stage").layer.first().tolist()[1:] == ["conv", "hidden", "head"]
    others = walk([Fake("g", gradient)])
    for check, theirs, ours in (("independent", 3, 1), ("cascading", 3, 3)):
        other = frame(others[check, "g"])
        pd.testing.assert_frame_equal(
            comparable(rows[rows.stage == ours].drop(columns=["stage", "layer"])),
            comparable(other[other.stage == theirs].drop(columns=["stage", "layer"])),
            check_exact=True,
        )


def test_blind_explainers_stay_at_one_from_the_input_up_too() -> None:
    found = walk([Fake("x", copied), Fake("g", gradient)], ("bottom-up",))
    blind, sees = (frame(found["bottom-up", name]) for name in ("x", "g"))
    assert (blind[blind.image.notna()].value == 1.0).all()
    assert sees[(sees.stage == 1) & (sees.measure == "ssim")].value.max() < 1


def test_the_walk_from_the_input_belongs_to_the_full_profile_alone() -> None:
    from bench.config import resolve

    for profile in ("quick", "standard", "full"):
        (part,) = resolve({"suite": "randomization", "profile": profile}).parts
        assert ("bottom-up" in part.checks) is ("health-bottom-up" in part.checks) is (profile == "full")
