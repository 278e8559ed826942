"""Shares of feasible searches as a table and on the page; verdicts on fitted explainers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import synthetic

import reports
from reports import judge_fitted, schema
from reports.searches import arranged, searches
from reports.verdict import verdicts


def row(check, measure, value, *, image=None, seed=0, stage=0, layer=None, explainer="cdeepex", status="ok"):
    return {
        **dict.fromkeys(schema.COLUMNS), "suite": "randomization", "check": check, "subject": "m", "explainer": explainer,
        "seed": seed, "stage": stage, "layer": layer, "image": image, "measure": measure,
        "value": value, "status": status, "cell": "c",
    }  # fmt: skip


def framed(rows):
    return schema.from_arrow(schema.to_arrow(rows, "test"))


def test_shares_are_means_over_blocks_and_seeds():
    rows = [
        row("cascading", measure, value + 0.2 * seed, seed=seed, stage=stage, layer=None if not stage else f"l{stage}")
        for seed in (0, 1)
        for stage, shares in enumerate([(0.8, 0.0), (0.4, 0.2)])
        for measure, value in zip(("feasible-share", "trivial-share"), shares, strict=True)
    ]
    rows += [
        row("cascading", name, None, stage=2, layer="l2", status="not-applicable")
        for name in ("feasible-share", "trivial-share")
    ]
    found = searches(framed(rows))
    assert found["feasible"].tolist()[:2] == pytest.approx([0.9, 0.5]) and found["cells"].tolist() == [2, 2, 1]
    assert found["trivial"].tolist()[:2] == pytest.approx([0.1, 0.3]) and np.isnan(found["feasible"].iloc[2])
    shown = arranged(found)
    assert shown["layers"] == ["trained", "l1", "l2"]
    assert shown["rows"][0]["values"] == [
        pytest.approx({"feasible": 0.9, "trivial": 0.1}), pytest.approx({"feasible": 0.5, "trivial": 0.3}), None,
    ]  # fmt: skip
    assert arranged(searches(framed([]))) == {"layers": [], "rows": []}


def collapse(random, trained=1.0, images=20, seeds=12, noise=0.02):
    draw = np.random.default_rng(0)
    return framed(
        [
            row("collapse", name, float(np.clip(value + noise * draw.standard_normal(), -1, 1)), image=f"i{i}", seed=s,
                explainer="pe")
            for i in range(images) for s in range(seeds)
            for name, value in (("agreement-trained", trained), ("agreement-random", random))
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("random", "trained", "verdict"),
    [(0.0, 1.0, "PASS"), (0.9, 1.0, "FAIL"), (0.3, 1.0, "INCONCLUSIVE"), (0.0, 0.1, "UNRELIABLE")],
)
def test_collapse(random, trained, verdict):
    noise = 0.5 if verdict == "INCONCLUSIVE" else 0.02
    found = judge_fitted.judge(collapse(random, trained, noise=noise))
    assert found["verdict"].tolist() == [verdict], found.to_dict("records")
    assert found["n"].tolist() == [240]


@pytest.mark.parametrize(("left", "verdict"), [(0.2, "PASS"), (0.8, "FAIL"), (0.5, "INCONCLUSIVE")])
def test_refit_is_read_between_other_images_and_another_seed(left, verdict):
    draw, rows = np.random.default_rng(1), []
    for i in range(32):
        for name, value in (("refit-random", 0.3 + 0.6 * left), ("refit-same", 0.9), ("refit-other", 0.3)):
            rows.append(row("refit", name, value + 0.02 * draw.standard_normal(), image=f"i{i}", explainer="ae-vae"))
    found = judge_fitted.judge(framed(rows)).iloc[0]
    assert found["verdict"] == verdict and found["estimate"] == pytest.approx(left, abs=0.03)
    assert found["ci_low"] < found["estimate"] < found["ci_high"]


def test_what_has_no_series_or_no_scale():
    none = framed([row("collapse", "agreement-random", None, image="a", explainer="ae-vae", status="not-applicable")])
    assert judge_fitted.judge(none)["verdict"].tolist() == ["N/A"]
    flat = [
        row("refit", name, 0.9, image=f"i{i}")
        for i in range(4)
        for name in ("refit-random", "refit-same", "refit-other")
    ]
    assert judge_fitted.judge(framed(flat))["verdict"].tolist() == ["FAIL"]


def test_the_table_of_verdicts_holds_them_and_sends_there_from_the_cascade():
    rows = pd.concat(
        [
            collapse(0.0),
            framed([row("cascading", "ssim", None, image="i0", stage=1, explainer="pe", status="not-applicable")]),
        ]
    )
    rows.attrs = {
        "rows": len(rows),
        "expected": [
            {
                "subject": "m",
                "explainer": "pe",
                "suite": "randomization",
                "check": check,
                "cells": 1,
                "values": 240,
                "images": 20,
                "seeds": 12,
            }
            for check in ("cascading", "collapse")
        ],
    }
    found = verdicts(rows).set_index("check")
    assert found.loc["collapse", "verdict"] == "PASS" and found.loc["cascading", "verdict"] == "N/A"
    assert "collapse" in found.loc["cascading", "reason"]


def test_fitted_explainers_alone_are_not_said_to_have_been_asked_about_the_output_layer(tmp_path):
    store = synthetic.build(tmp_path / "run", (), images=0, seeds=0)
    key = synthetic.key_of("refit")
    rows = [
        {**row("refit", name, value + place / 100, image=f"i{place}", explainer="ae-vae"), "cell": key}
        for place in range(8)
        for name, value in (("refit-random", 0.6), ("refit-same", 0.9), ("refit-other", 0.3))
    ]
    store.write_records(key, rows)
    words = " ".join(re.sub("<[^>]*>", " ", reports.write_report(store.path)[0].read_text()).split())
    assert "refit: 1 " in words and "when the output layer of m is drawn anew" not in words
    assert "Sensitivity to the output layer" not in words
