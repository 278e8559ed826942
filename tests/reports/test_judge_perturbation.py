"""Verdicts on perturbation: planted differences, maps without an order, comparisons that depend on the replacement."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import judge_perturbation, schema, verdict
from reports.judge_perturbation import judge

COUNT = 60
SUITE = "pixel-perturbation"
KINDS = ("uniform", "mean", "blur", "black")
PLANTED: dict[str, dict[str, float]] = {
    "good": dict.fromkeys(KINDS, 0.5),
    "one-sided": {"uniform": 0.0, "mean": 0.5, "blur": 0.1, "black": 0.5},
    "flipped": dict.fromkeys(KINDS, -0.5),
    "worse-than-x": {"uniform": 0.1, "mean": 0.1, "blur": 0.1, "black": 0.1},
    "random": dict.fromkeys(KINDS, 0.0),
    "input": dict.fromkeys(KINDS, 0.3),
    "centre": dict.fromkeys(KINDS, 0.2),
}


def rows_of(
    explainer: str, kind: str, mean: float, status: Mapping[int, str] | None = None, suite: str = SUITE, sd: float = 0.1
) -> list[dict[str, Any]]:
    """The rows of the headline measure; statuses other than ok by image."""
    rng = np.random.default_rng(zlib.crc32(f"{explainer} {kind}".encode()))
    chance = np.random.default_rng(sum(map(ord, kind))).normal(0, 0.05, COUNT)
    suffix = "-patches" if suite.startswith("patch") else ""
    rows = []
    for image in range(COUNT):
        told = (status or {}).get(image, "ok")
        common = {
            **dict.fromkeys(schema.COLUMNS), "suite": suite, "check": f"perturbation-{kind}{suffix}",
            "subject": "toy", "explainer": explainer, "seed": 0, "image": f"test/{image:03d}", "cell": "c",
            "status": told,
        }  # fmt: skip
        value = mean + rng.normal(0, sd)
        rows.append({**common, "measure": "abpc", "value": value if told == "ok" else None})
        if told == "ok":
            rows.append({**common, "measure": "abpc-random", "value": chance[image]})
    return rows


def framed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return schema.from_arrow(schema.to_arrow(rows, "c"))


def planted() -> pd.DataFrame:
    return framed(
        [row for name, kinds in PLANTED.items() for kind, mean in kinds.items() for row in rows_of(name, kind, mean)]
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return judge(planted()).set_index(["explainer", "check"])


def test_every_replacement_has_a_row_and_every_explainer_a_summary(table: pd.DataFrame) -> None:
    checks = {f"perturbation-{kind}" for kind in KINDS} | {"faithfulness"}
    for name in PLANTED:
        assert set(table.loc[name].index) == checks
    assert list(table.reset_index().columns.sort_values()) == sorted(verdict.COLUMNS)
    assert set(table.verdict) <= set(verdict.MEANINGS)


def test_the_estimate_is_the_mean_paired_difference(table: pd.DataFrame) -> None:
    frame = planted()
    frame = frame[(frame.explainer == "good") & (frame.check == "perturbation-blur")]
    values = {name: frame[frame.measure == name].set_index("image").value for name in ("abpc", "abpc-random")}
    difference = (values["abpc"] - values["abpc-random"]).to_numpy()
    row = table.loc["good", "perturbation-blur"]
    assert row.estimate == pytest.approx(difference.mean()) and row.n == row.expected == COUNT
    reach = 1.96 * difference.std(ddof=1) / np.sqrt(COUNT)
    assert row.ci_low == pytest.approx(difference.mean() - reach, abs=0.2 * reach)
    assert row.ci_high == pytest.approx(difference.mean() + reach, abs=0.2 * reach)


def test_verdicts_follow_the_interval(table: pd.DataFrame) -> None:
    assert table.loc["good", "perturbation-black"].verdict == "PASS"
    assert table.loc["flipped", "perturbation-black"].verdict == "FAIL"
    for name in ("good", "flipped", "random", "one-sided"):
        for kind in KINDS:
            row = table.loc[name, f"perturbation-{kind}"]
            expected = "PASS" if row.ci_low > 0 else "FAIL" if row.ci_high <= 0 else "INCONCLUSIVE"
            assert row.verdict == expected


def test_faithfulness_needs_all_three_baselines_under_every_replacement(table: pd.DataFrame) -> None:
    good, partly, bad = (table.loc[name, "faithfulness"] for name in ("good", "one-sided", "flipped"))
    assert (good.verdict, good.estimate) == ("PASS", 1.0)
    assert (partly.verdict, partly.estimate) == ("INCONCLUSIVE", 0.5)
    assert "depends on the replacement" in partly.reason and "under black, mean" in partly.reason
    assert "uniform (random order, |x|, centre)" in partly.reason and "blur (|x|, centre)" in partly.reason
    assert (bad.verdict, bad.estimate) == ("FAIL", 0.0)
    # Better than random order everywhere is not enough where the brightness of the image does better.
    worse = table.loc["worse-than-x", "faithfulness"]
    assert worse.verdict == "FAIL" and all(
        table.loc["worse-than-x", f"perturbation-{kind}"].verdict == "PASS" for kind in KINDS
    )
    assert np.isnan(good.ci_low)


def test_a_baseline_is_not_compared_with_itself(table: pd.DataFrame) -> None:
    row = table.loc["input", "faithfulness"]
    assert row.verdict == "PASS" and "beats random order and centre under every" in row.reason


def test_one_replacement_supports_no_claim() -> None:
    rows = [row for name in ("good", "input", "centre") for row in rows_of(name, "black", PLANTED[name]["black"])]
    row = judge(framed(rows)).set_index(["explainer", "check"]).loc["good", "faithfulness"]
    assert row.verdict == "INCONCLUSIVE" and row.estimate == 1.0 and "one replacement alone" in row.reason


def test_missing_baselines_are_named_and_prevent_a_pass() -> None:
    rows = [row for kind in KINDS for row in rows_of("good", kind, 0.5)]
    row = judge(framed(rows)).set_index(["explainer", "check"]).loc["good", "faithfulness"]
    assert row.verdict == "INCONCLUSIVE" and "|x| and centre did not run beside it" in row.reason


def test_maps_without_an_order_count_as_random_order() -> None:
    flat = dict.fromkeys(range(20), "degenerate-zero")
    rows = rows_of("flat", "blur", 0.6, flat, sd=0.0) + rows_of("good", "blur", 0.5)
    found = judge(framed(rows)).set_index(["explainer", "check"]).loc["flat", "perturbation-blur"]
    chance = np.random.default_rng(sum(map(ord, "blur"))).normal(0, 0.05, COUNT)
    assert found.n == COUNT and found.estimate == pytest.approx((0.6 - chance[20:]).sum() / COUNT)
    assert "20 maps without an order count as random order" in found.reason
    most = rows_of("flat", "blur", 0.6, dict.fromkeys(range(31), "degenerate-constant"))
    row = judge(framed(most)).set_index("check").loc["perturbation-blur"]
    assert row.verdict == "UNDEFINED" and "constant on 31 of 60" in row.reason


def test_images_that_the_model_gets_wrong_are_counted_and_not_expected() -> None:
    wrong = {**dict.fromkeys(range(10), "not-applicable"), 10: "non-finite", 11: "failed"}
    row = judge(framed(rows_of("good", "mean", 0.5, wrong))).set_index("check").loc["perturbation-mean"]
    assert (row.n, row.expected, row.verdict) == (48, 50, "PASS")
    assert "10 that the model gets wrong are left out" in row.reason and "1 failed, 1 non-finite" in row.reason


def test_nothing_to_score() -> None:
    nothing = dict.fromkeys(range(COUNT), "not-applicable")
    rows = rows_of("good", "counterfactual", 0.5, nothing) + rows_of("good", "blur", 0.5)
    found = judge(framed(rows)).set_index("check")
    assert found.loc["perturbation-counterfactual"].verdict == "N/A"
    assert "no counterfactual" in found.loc["perturbation-counterfactual"].reason
    assert "counterfactual" not in found.loc["faithfulness"].reason
    every = judge(framed([row for kind in KINDS for row in rows_of("good", kind, 0.5, nothing)])).set_index("check")
    assert set(every.verdict) == {"N/A"} and set(every.n) == set(every.expected) == {0}
    assert all("none of these images right" in reason for reason in every.reason)
    bad = judge(framed(rows_of("good", "blur", 0.5, dict.fromkeys(range(COUNT), "non-finite")))).set_index("check")
    assert (
        bad.loc["perturbation-blur"].verdict == "UNDEFINED" and "60 non-finite" in bad.loc["perturbation-blur"].reason
    )


def test_failed_cells_are_undefined_with_the_first_message() -> None:
    failed = {
        **dict.fromkeys(schema.COLUMNS), "suite": SUITE, "check": "perturbation-blur", "subject": "toy",
        "explainer": "broken", "seed": 0, "status": "failed", "cell": "c",
    }  # fmt: skip
    frame = framed([failed, *rows_of("good", "blur", 0.5)])
    group = {"subject": "toy", "explainer": "broken", "suite": SUITE, "check": "perturbation-blur"}
    frame.attrs["failures"] = [{**group, "cells": 1, "message": "ValueError: no conv layer"}]
    found = judge(frame).set_index(["explainer", "check"]).loc["broken"]
    assert set(found.verdict) == {"UNDEFINED"}
    assert "1 failed cell (ValueError: no conv layer)" in found.loc["perturbation-blur"].reason


def test_suites_are_judged_apart_and_only_once() -> None:
    rows = [
        row for suite in judge_perturbation.SUITES for kind in KINDS for row in rows_of("good", kind, 0.5, suite=suite)
    ]
    found = verdict.verdicts(framed(rows))
    assert sorted(found.groupby("suite").size().tolist()) == [5, 5]
    assert "perturbation-mean-patches" in set(found.check)


def test_many_explainers_at_random_order_pass_as_seldom_as_the_interval_says() -> None:
    rows = [row for number in range(150) for row in rows_of(f"random-{number}", "blur", 0.0, sd=0.2)]
    found = judge(framed(rows))
    share = (found[found.check == "perturbation-blur"].verdict == "INCONCLUSIVE").mean()
    assert 0.88 < share < 0.99
