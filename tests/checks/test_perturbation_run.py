"""Blocks of perturbation cells: who takes part, what is paired, what is recorded where there is no number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bench import protocols
from bench.checks import CHECKS, CellResult
from bench.checks.perturbation import run_block
from bench.checks.perturbation.declared import PIXEL_CHECKS, STEPS, parse
from models.base import Subject
from models.naming import UsageError
from reports import schema

from .fakes import Fake, gradient, noise
from .perturbed import small

RECOMMENDED = protocols.get("recommended")
SIDE = 16
QUICK = ("perturbation-black", "perturbation-blur", "perturbation-uniform")


def product(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    return images * gradient(model, images, targets, seed)


def run(
    members: Iterable[Any],
    checks: Iterable[str] = QUICK,
    model: Subject | None = None,
    indices: Iterable[int] = range(6),
    batch_size: int | None = None,
    base: int = 4,
) -> dict[tuple[str, str], CellResult]:
    members, model = list(members), model or small(count=12, side=SIDE)
    wanted = {(check, member.name) for check in checks for member in members}
    found = run_block(
        model, members, list(indices), 0, protocol=RECOMMENDED, wanted=wanted, base=base, batch_size=batch_size
    )
    results = {(result.check, result.explainer): result for result in found}
    assert set(results) == wanted
    return results


def frame(result: CellResult) -> pd.DataFrame:
    assert result.error is None, result.error["traceback"]
    return schema.from_arrow(schema.to_arrow(result.rows, "cell"))


def values(result: CellResult, measure: str) -> np.ndarray:
    rows = frame(result)
    return rows[(rows.measure == measure) & rows.image.notna()].sort_values("image").value.to_numpy(dtype=float)


def test_rows_are_what_the_check_declares() -> None:
    result = run([Fake("product", product)])["perturbation-black", "product"]
    rows, info = frame(result), CHECKS["perturbation-black"]
    assert set(rows.measure) == {measure.name for measure in info.measures}
    assert len(rows) == 6 * info.per_image + (info.per_stage - 1) * (STEPS + 1) + 1
    curves = rows[rows.measure.str.startswith("curve")]
    assert curves.image.isna().all() and set(curves.stage.dropna()) == set(range(STEPS + 1))
    scores = rows[rows.image.notna()]
    assert scores.stage.isna().all() and scores.layer.isna().all() and (scores.status == "ok").all()
    assert set(rows.suite) == {info.suite} and set(rows.seed) == {0}
    for measure in info.measures:
        found = rows.value[rows.measure == measure.name]
        assert (measure.low is None or found.min() >= measure.low - 1e-9) and (
            measure.high is None or found.max() <= measure.high + 1e-9
        )


def test_curves_of_a_block_agree_with_its_scores() -> None:
    result = run([Fake("product", product)])["perturbation-uniform", "product"]
    rows = frame(result)
    curve = {
        name: rows[rows.measure == f"curve-{name}"].sort_values("stage").value for name in ("morf", "lerf", "random")
    }
    assert curve["lerf"].mean() - curve["morf"].mean() == pytest.approx(values(result, "abpc").mean())
    assert curve["random"].iloc[0] - curve["random"].mean() == pytest.approx(values(result, "aopc-random").mean())
    assert float(rows.value[rows.measure == "curve-images"].iloc[0]) == 6


def test_a_sign_flipped_explainer_is_found_out_and_the_random_order_is_shared() -> None:
    members = [
        Fake("good", product),
        Fake("bad", lambda *given: -product(*given)),
        Fake("zero", lambda model, images, *_: images * 0),
    ]
    found = run(members)
    for check in QUICK:
        good, bad = found[check, "good"], found[check, "bad"]
        np.testing.assert_array_equal(values(good, "abpc"), -values(bad, "abpc"))
        for measure in ("abpc-random", "aopc-random", "insertion-random", "abpc-logit-random"):
            np.testing.assert_array_equal(values(good, measure), values(bad, measure))
    black = [values(found["perturbation-black", name], "abpc-logit").mean() for name in ("good", "bad")]
    assert black[0] > 0 > black[1]


def test_maps_without_an_order_are_recorded_and_not_scored() -> None:
    def mixed(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
        maps = product(model, images, targets, seed)
        maps[0], maps[1], maps[2, 0, 3, 3] = 0.0, 0.5, float("nan")
        return maps

    result = run([Fake("mixed", mixed, failed=(4,)), Fake("product", product)])
    rows = frame(result["perturbation-blur", "mixed"])
    headline = rows[rows.image.notna() & (rows.measure == "abpc")].sort_values("image")
    assert list(headline.status) == ["degenerate-zero", "degenerate-constant", "non-finite", "ok", "failed", "ok"]
    assert headline.value.notna().tolist() == [False, False, False, True, False, True]
    others = values(result["perturbation-blur", "product"], "abpc")
    np.testing.assert_allclose(headline.value.to_numpy(dtype=float)[[3, 5]], others[[3, 5]], atol=1e-6)


def test_images_that_the_model_gets_wrong_are_left_out_and_counted() -> None:
    model = small(count=12, side=SIDE)
    wrong = [1, 4]
    model.data.labels[wrong] = (model.data.labels[wrong] + 1) % 3
    explainer = Fake("product", product)
    found, every = run([explainer], model=model), run([Fake("product", product)])
    for check in QUICK:
        rows = frame(found[check, "product"])
        headline = rows[rows.image.notna() & (rows.measure == "abpc")].sort_values("image")
        assert [status == "not-applicable" for status in headline.status] == [index in wrong for index in range(6)]
        kept = [index for index in range(6) if index not in wrong]
        np.testing.assert_allclose(
            headline.value.to_numpy(dtype=float)[kept], values(every[check, "product"], "abpc")[kept], atol=1e-6
        )
    assert len(explainer.targets[0]) == 4


def test_a_block_without_a_right_image() -> None:
    model = small(count=12, side=SIDE)
    model.data.labels[:] = (model.data.labels + 1) % 3
    explainer = Fake("product", product)
    rows = frame(run([explainer], ("perturbation-road",), model)["perturbation-road", "product"])
    assert list(rows.status) == ["not-applicable"] * 6 and explainer.calls == 0


def test_a_model_of_one_class_is_refused() -> None:
    model = small(count=12, side=SIDE)
    one = model.with_model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 1)))
    with pytest.raises(UsageError, match="has 1 class; perturbation needs at least 2"):
        run([Fake("product", product)], model=one)


def test_values_depend_on_no_other_explainer_no_batch_and_no_neighbour_image() -> None:
    alone = run([Fake("product", product)], indices=[0, 1, 2])
    beside = run([Fake("noise", noise), Fake("product", product)], batch_size=2)
    for check in QUICK:
        for measure in ("abpc", "aopc-random", "abpc-accuracy"):
            one, other = (values(found[check, "product"], measure) for found in (alone, beside))
            np.testing.assert_allclose(one, other[:3], atol=1e-6)


def test_an_explainer_that_raises_or_changes_the_model_fails_alone() -> None:
    def raises(*_: Any) -> Tensor:
        raise ValueError("no conv layer")

    def vandal(model: Subject, images: Tensor, *_: Any) -> Tensor:
        next(model.model.parameters()).data.zero_()
        return images

    model = small(count=12, side=SIDE)
    before = model.checksum()
    found = run([Fake("raises", raises), Fake("vandal", vandal), Fake("product", product)], model=model)
    assert model.checksum() == before
    for check in QUICK:
        assert found[check, "raises"].error["message"] == "no conv layer"  # type: ignore[index]
        assert "changed the model" in found[check, "vandal"].error["message"]  # type: ignore[index]
        assert found[check, "product"].error is None and len(found[check, "raises"].rows) == 0


@dataclass
class Contrastive(Fake):
    """An explainer that brings a counterfactual: the negative of the image."""

    def explain(self, *given: Any, **named: Any) -> Any:
        answer = super().explain(*given, **named)
        answer.counterfactual = 1 - given[1]
        return answer


def test_counterfactuals_replace_where_there_are_some() -> None:
    check = "perturbation-counterfactual"
    found = run([Contrastive("contrastive", product), Fake("product", product)], (check,))
    rows = frame(found[check, "product"])
    assert list(rows.status) == ["not-applicable"] * 6 and set(rows.measure) == {"abpc"}
    curve = frame(found[check, "contrastive"])
    last = curve[(curve.measure == "curve-morf") & (curve.stage == STEPS)].value.iloc[0]
    model = small(count=12, side=SIDE)
    images = model.data.load(range(6))
    expected = model.predict_logits(1 - images).softmax(1).gather(1, model.predict(images)[:, None]).mean()
    assert last == pytest.approx(float(expected), abs=1e-6)


def test_the_size_of_a_change_counts_and_not_its_sign_where_there_is_a_counterfactual() -> None:
    def size(*given: Any) -> Tensor:
        return product(*given).sum(1, keepdim=True).abs()

    checks = (*QUICK, "perturbation-counterfactual", "perturbation-black-patches")
    fakes = {"signed": Contrastive("signed", product), "size": Contrastive("size", size)}
    plain = {"plain": Fake("plain", product), "plain-size": Fake("plain-size", size)}
    found = run([*fakes.values(), *plain.values()], checks)
    for check in checks:
        one, other = (frame(found[check, name]).drop(columns=["explainer", "seconds"]) for name in fakes)
        pd.testing.assert_frame_equal(one, other)
    for check in QUICK:
        np.testing.assert_array_equal(values(found[check, "plain-size"], "abpc"), values(found[check, "size"], "abpc"))
        assert not np.allclose(values(found[check, "plain"], "abpc"), values(found[check, "signed"], "abpc"))


def test_patches_follow_the_sums_of_their_pixels() -> None:
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(SIDE // 2, SIDE // 2)
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(SIDE // 2, SIDE // 2, generator=generator).repeat_interleave(2, 0).repeat_interleave(2, 1)

    def plain(model: Subject, images: Tensor, *_: Any) -> Tensor:
        return coarse.expand(len(images), 1, SIDE, SIDE).clone()

    def rough(model: Subject, images: Tensor, *_: Any) -> Tensor:
        return plain(model, images) + 64 * checker

    found = run([Fake("plain", plain), Fake("rough", rough)], ("perturbation-black", "perturbation-black-patches"))
    patches = [values(found["perturbation-black-patches", name], "abpc") for name in ("plain", "rough")]
    np.testing.assert_allclose(*patches, atol=1e-9)
    pixels = [values(found["perturbation-black", name], "abpc") for name in ("plain", "rough")]
    assert not np.allclose(*pixels)
    assert frame(found["perturbation-black-patches", "plain"]).suite.iloc[0] == "patch-perturbation"


def test_names_of_the_checks() -> None:
    assert [parse(info.name) for info in PIXEL_CHECKS] == [
        (name, False) for name in ("uniform", "mean", "blur", "black", "road", "counterfactual")
    ]
