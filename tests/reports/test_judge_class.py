"""Verdicts on class discrimination: planted records whose verdict is known, each rule at its edge, what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports import schema
from reports.judge_class import judge
from reports.verdict import COLUMNS, verdicts

IMAGES = 40
RNG = np.random.default_rng(0)
SPREAD = RNG.normal(0, 0.05, IMAGES)


def rows(explainer, check, measure, values, statuses=None, seed=0, subject="toy", certified=None):
    """One row per image; `values` is a number or one per image."""
    column = np.broadcast_to(np.asarray(values, dtype=float), (IMAGES,))
    statuses = statuses or ["ok"] * IMAGES
    return [
        {"suite": "class-discrimination", "check": check, "subject": subject, "explainer": explainer, "seed": seed,
         "stage": None, "layer": None, "image": f"toys/{number:04d}", "target": 1, "measure": measure,
         "value": float(value) if status == "ok" else None, "status": status, "seconds": 0.0, "cell": "x"}
        for number, (value, status) in enumerate(zip(column, statuses, strict=True))
    ]  # fmt: skip


def similar(explainer, same, ceiling=1.0, floor=0.1, certified=1.0, check="class-similarity"):
    made = rows(explainer, check, "ssim", same)
    made += rows(explainer, check, "certified", certified) if check == "class-similarity" else []
    for seed in range(2):
        made += rows(explainer, "class-ceiling", "ssim", ceiling, seed=seed)
    for seed in range(5):
        made += rows(explainer, "class-floor", "ssim", floor, seed=seed)
    return made


def located(explainer, mass, contrast=None, certified=1.0, statuses=None, abstains=0.0, check="grid-localisation"):
    mass = np.broadcast_to(np.asarray(mass, dtype=float), (IMAGES,))
    out = [status if status == "not-applicable" else "ok" for status in statuses or ["ok"] * IMAGES]
    return [
        *rows(explainer, check, "mass", mass, statuses),
        *rows(explainer, check, "contrast", mass - 0.1 if contrast is None else contrast, statuses),
        *rows(explainer, check, "chance", 0.25, out),
        *rows(explainer, check, "abstains", abstains, out),
        *rows(explainer, check, "certified", certified, out),
    ]


BASELINES = [*located("input", 0.25 + SPREAD, contrast=0.0), *located("centre", 0.25, contrast=0.0)]


def judged(records, explainer="e", check="grid-localisation"):
    table = judge(schema.check(pd.DataFrame(records)))
    found = table[(table["explainer"] == explainer) & (table["check"] == check)]
    assert len(found) == 1 and list(table) == list(COLUMNS)
    return found.iloc[0]


@pytest.mark.parametrize(
    ("same", "verdict"), [(0.3, "PASS"), (0.96, "FAIL"), (0.82 + 2 * SPREAD, "INCONCLUSIVE"), (1.0, "FAIL")]
)
def test_similarity_of_classes_is_calibrated_and_judged(same, verdict):
    row = judged(similar("e", same), check="class-similarity")
    assert row["verdict"] == verdict and row["n"] == row["expected"] == IMAGES
    assert row["estimate"] == pytest.approx((1 - np.mean(same)) / 0.9)


def test_where_there_is_no_scale():
    assert judged(similar("e", 1.0, 1.0, 1.0), check="class-similarity")["verdict"] == "FAIL"
    assert judged(similar("e", 0.0, 0.02, 0.01), check="class-similarity")["verdict"] == "UNRELIABLE"
    oracle = judged(similar("e", 0.3, 1.0, 1.0), check="class-similarity")
    assert oracle["verdict"] == "N/A" and "not with the model" in oracle["reason"]
    alone = judged(rows("e", "class-similarity-top2", "ssim", 0.4), check="class-similarity-top2")
    assert alone["verdict"] == "UNDEFINED" and "no class-ceiling" in alone["reason"]


def test_a_single_image_has_no_interval():
    records = [row for row in similar("e", 0.4) if row["image"] == "toys/0003"]
    assert judged(records, check="class-similarity")["verdict"] == "INCONCLUSIVE"


def test_only_certified_pairs_are_judged_and_both_results_are_told():
    flags = np.where(np.arange(IMAGES) < 30, 1.0, 0.0)
    same = np.where(flags == 1, 0.3, 1.0)
    row = judged(similar("e", same, certified=flags), check="class-similarity")
    assert row["estimate"] == pytest.approx(0.7 / 0.9) and row["n"] == row["expected"] == 30
    assert "the certificate keeps 30 of 40 (75%), without it similarity 0.475, D 0.58" in row["reason"]


def test_the_gate_opens_above_all_three():
    row = judged([*located("e", 0.6 + SPREAD), *BASELINES])
    assert row["verdict"] == "PASS" and row["ci_low"] > 0.3
    assert "mass 0.597" in row["reason"] and "the certificate keeps 40 of 40 (100%)" in row["reason"]


@pytest.mark.parametrize("name", ["input", "centre"])
def test_the_baselines_do_not_pass_themselves(name):
    row = judged(BASELINES, name)
    assert row["verdict"] == "FAIL" and row["ci_high"] <= 0


def test_the_gate_closes_below_one_of_them_though_above_chance():
    bright = [*located("input", 0.7), *located("centre", 0.25)]
    row = judged([*located("e", 0.6 + SPREAD, contrast=0.4), *bright])
    assert row["verdict"] == "FAIL" and "not above |x|" in row["reason"]


def test_noise_is_neither_above_nor_surely_below():
    noise = 0.25 + np.random.default_rng(3).normal(0, 0.02, IMAGES)
    noise += 0.25 - noise.mean()
    assert judged([*located("e", noise, contrast=noise - 0.25), *BASELINES])["verdict"] == "INCONCLUSIVE"


def test_a_map_that_is_the_same_for_every_class_fails_wherever_its_relevance_lies():
    above = 0.27 + 0.1 * SPREAD
    by_contrast = judged([*located("e", above, contrast=0.0), *located("input", 0.2), *located("centre", 0.2)])
    assert by_contrast["verdict"] == "FAIL" and "contrast 0.000" in by_contrast["reason"]
    others = [*located("input", 0.2), *located("centre", 0.2)]
    alike = [*located("e", above, contrast=0.02), *others, *similar("e", 0.996 + 0.01 * SPREAD)]
    told = judged(alike)
    assert told["verdict"] == "FAIL" and "similarity of the maps for two classes 0.996" in told["reason"]
    assert judged([*located("e", above, contrast=0.02), *others, *similar("e", 0.9)])["verdict"] == "PASS"


def test_without_a_baseline_nothing_passes():
    row = judged(located("e", 0.9))
    assert row["verdict"] == "INCONCLUSIVE" and "|x| did not run, centre did not run" in row["reason"]


def test_no_cell_certified_is_undefined_with_the_reason():
    row = judged([*located("e", 0.8, certified=0.0), *BASELINES])
    assert row["verdict"] == "UNDEFINED" and "no cell is certified" in row["reason"] and "mass 0.800" in row["reason"]


def test_what_the_model_gets_wrong_is_counted_and_nothing_else_is_dropped():
    wrong = ["not-applicable" if number < 10 else "ok" for number in range(IMAGES)]
    row = judged([*located("e", 0.6, statuses=wrong), *BASELINES])
    assert row["verdict"] == "PASS" and row["n"] == row["expected"] == 30
    assert "10 that the model gets wrong are left out" in row["reason"]
    none = judged(located("e", 0.6, statuses=["not-applicable"] * IMAGES))
    assert none["verdict"] == "UNDEFINED" and "(40 left out)" in none["reason"]


def test_images_in_which_the_model_finds_one_class_have_no_pair_to_compare():
    alone = rows("e", "class-similarity", "ssim", 0.5, ["not-applicable"] * IMAGES)
    row = judged(alone, check="class-similarity")
    assert row["verdict"] == "UNDEFINED" and row["n"] == 0
    assert "fewer than two of the classes" in row["reason"] and "(40 left out)" in row["reason"]


def test_an_explainer_that_cannot_be_asked_is_not_the_fault_of_the_model():
    silent = ["not-applicable"] * IMAGES
    records = [
        *rows("o", "class-similarity-top2", "ssim", 0.0, silent),
        *similar("e", 0.3, check="class-similarity-top2"),
    ]
    row = judged(records, "o", "class-similarity-top2")
    assert row["verdict"] == "N/A"


def test_silence_counts_as_nothing_on_the_evidence():
    statuses = ["degenerate-zero" if number < 10 else "ok" for number in range(IMAGES)]
    abstains = np.where(np.arange(IMAGES) < 10, 1.0, 0.0)
    row = judged([*located("e", 0.8, statuses=statuses, abstains=abstains), *BASELINES])
    assert row["n"] == IMAGES and "10 maps without positive relevance count as 0" in row["reason"]
    assert "mass 0.600" in row["reason"]
    mute = judged([*located("e", 0.8, statuses=["degenerate-zero"] * IMAGES, abstains=1.0), *BASELINES])
    assert mute["verdict"] == "UNDEFINED"


def test_constant_maps_are_undefined():
    row = judged([*located("e", 0.25, statuses=["degenerate-constant"] * IMAGES), *BASELINES])
    assert row["verdict"] == "UNDEFINED" and "constant on 40 of 40" in row["reason"]


def test_one_leak_is_too_much():
    clean = [*rows("e", "exact-zero", "exact", 1.0), *rows("e", "exact-zero", "outside", 0.0)]
    assert judged(clean, check="exact-zero")["verdict"] == "PASS"
    leak = np.where(np.arange(IMAGES) == 7, 0.0, 1.0)
    row = judged(
        [*rows("e", "exact-zero", "exact", leak), *rows("e", "exact-zero", "outside", 1e-9 * (1 - leak))],
        check="exact-zero",
    )
    assert row["verdict"] == "FAIL" and row["reason"].startswith("1 of 40 maps")


def test_failures_are_told():
    frame = schema.check(
        pd.DataFrame([{**located("e", 0.5)[0], "image": None, "measure": None, "value": None, "status": "failed"}])
    )
    frame.attrs["failures"] = [{"subject": "toy", "explainer": "e", "suite": "class-discrimination",
                                "check": "grid-localisation", "cells": 1, "message": "ValueError: one class"}]  # fmt: skip
    row = judge(frame).iloc[0]
    assert row["verdict"] == "UNDEFINED" and row["reason"] == "1 failed cell (ValueError: one class)"


def test_the_table_of_verdicts_includes_them():
    frame = schema.check(pd.DataFrame([*located("e", 0.6), *BASELINES]))
    assert set(verdicts(frame)["check"]) == {"grid-localisation"}


@pytest.mark.parametrize(("pair", "first"), [("class-similarity", "grid-localisation"), ("class-similarity-top2",) * 2])
def test_the_gate_stands_first_where_the_images_were_made_for_it(pair, first):
    records = [*located("e", 0.6), *similar("e", 0.4, check=pair), *BASELINES]
    table = judge(schema.check(pd.DataFrame(records)))
    assert table[table["explainer"] == "e"]["check"].tolist()[0] == first


def test_two_probes_take_the_place_of_two_swapped_classes():
    swapped = rows("e", "class-similarity-top2", "ssim", 1.0)
    records = [*similar("e", 0.3, check="class-similarity-probes"), *swapped]
    row = judged(records, check="class-similarity-probes")
    assert row["verdict"] == "PASS" and "change with the probe" in row["reason"]
    row = judged(records, check="class-similarity-top2")
    assert row["verdict"] == "N/A" and "similarity 1.000" in row["reason"]
    # an explainer without a probe is judged by the two classes
    assert judged(similar("e", 1.0, check="class-similarity-top2"), check="class-similarity-top2")["verdict"] == "FAIL"
    alike = judged(similar("e", 0.99, check="class-similarity-probes"), check="class-similarity-probes")
    assert alike["verdict"] == "FAIL" and "two probes are alike" in alike["reason"]
    nobody = rows("e", "class-similarity-probes", "ssim", 0.0, ["not-applicable"] * IMAGES)
    assert judged(nobody, check="class-similarity-probes")["verdict"] == "N/A"


def test_what_was_fitted_beforehand_has_no_floor():
    check = "class-similarity-least"
    fitted = [row for row in similar("f", 0.5, check=check) if row["check"] != "class-floor"]
    fitted += rows("f", "class-floor", "ssim", 0.0, ["not-applicable"] * IMAGES)
    row = judged([*fitted, *similar("e", 0.3, check=check)], "f", check)
    assert row["verdict"] == "N/A" and "no fit to random ones" in row["reason"] and "similarity 0.500" in row["reason"]
    # where nobody has a floor, the random models are the cause
    assert judged(fitted, "f", check)["verdict"] == "UNDEFINED"
