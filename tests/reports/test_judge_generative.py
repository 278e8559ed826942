"""Verdicts on counterfactuals from records with known answers."""

import numpy as np
import pandas as pd
import pytest

import reports
from reports import schema
from reports.judge_generative import judge


def rows(explainer, check, measure, values, status="ok"):
    return [
        {
            "suite": "generative", "check": check, "subject": "m", "explainer": explainer, "seed": 0, "stage": None,
            "layer": None, "image": f"a/{place:03}", "target": 1, "measure": measure,
            "value": None if status != "ok" else float(value), "status": status, "seconds": 0.1, "cell": "00",
        }
        for place, value in enumerate(values)
    ]  # fmt: skip


def frame(parts):
    return schema.from_arrow(schema.to_arrow([row for part in parts for row in part], "test"))


def counterfactuals(**gains):
    draw = np.random.default_rng(0)
    parts = []
    for name, gain in gains.items():
        values = draw.normal(gain, 0.1, 40)
        parts += [
            rows(name, "counterfactual", "transfer-gain", values),
            rows(name, "counterfactual", "reached", values > 0),
        ]
    return parts


def verdict(table, explainer, check="counterfactual"):
    return table.set_index(["explainer", "check"]).loc[explainer, check]


def test_what_convinces_another_network_passes_and_what_is_adversarial_fails():
    given = {"good": 0.5, "fake": 0.0, "same": 0.02, "counterfactual-pgd": 0.02}
    table = judge(frame(counterfactuals(**given)))
    assert verdict(table, "good").verdict == "PASS" and verdict(table, "good").estimate == pytest.approx(0.48, abs=0.06)
    assert "reached 1.00" in verdict(table, "good").reason
    assert verdict(table, "counterfactual-pgd").verdict == "FAIL" and verdict(table, "counterfactual-pgd").estimate == 0
    assert verdict(table, "same").verdict in ("INCONCLUSIVE", "FAIL")
    worse = judge(frame(counterfactuals(fake=-0.3, **{"counterfactual-pgd": 0.1})))
    assert verdict(worse, "fake").verdict == "FAIL" and "no more than" in verdict(worse, "fake").reason


def test_without_a_comparison_there_is_no_verdict():
    alone = judge(frame(counterfactuals(good=0.5)))
    assert verdict(alone, "good").verdict == "UNDEFINED" and "counterfactual-pgd" in verdict(alone, "good").reason
    unjudged = judge(frame([rows("good", "counterfactual", "reached", [1.0] * 5)]))
    assert verdict(unjudged, "good").verdict == "N/A" and "no independent network" in verdict(unjudged, "good").reason
    nothing = judge(frame([rows("map", "counterfactual", "reached", [0] * 5, status="not-applicable")]))
    assert verdict(nothing, "map").verdict == "N/A" and "no counterfactual" in verdict(nothing, "map").reason


def test_series_are_compared_with_the_unchanged_image():
    good = [
        rows("pe", "requests", "error", [0.1] * 20),
        rows("pe", "requests", "error-unchanged", np.linspace(0.3, 0.5, 20)),
    ]
    idle = [rows("id", "requests", "error", [0.4] * 20), rows("id", "requests", "error-unchanged", [0.4] * 20)]
    table = judge(frame([*good, *idle]))
    assert verdict(table, "pe", "requests").verdict == "PASS" and verdict(
        table, "pe", "requests"
    ).estimate == pytest.approx(0.3)
    assert verdict(table, "id", "requests").verdict == "FAIL"


def test_reports_verdicts_holds_them():
    made = frame(counterfactuals(good=0.5, **{"counterfactual-pgd": 0.0}))
    table = reports.verdicts(made)
    assert isinstance(table, pd.DataFrame) and set(table["explainer"]) == {"good", "counterfactual-pgd"}


def test_a_way_back_has_to_come_nearer_than_the_far_end():
    far = np.linspace(0.2, 0.3, 20)
    parts = [
        part
        for name, back in (("pe", far / 4), ("stays", far))
        for part in (rows(name, "cycles", "away", far), rows(name, "cycles", "cycle-error", back))
    ]
    parts.append(rows("one", "cycles", "cycle-error", [0] * 20, status="not-applicable"))
    table = judge(frame(parts))
    assert verdict(table, "pe", "cycles").verdict == "PASS"
    assert verdict(table, "pe", "cycles").estimate == pytest.approx(0.1875)
    assert verdict(table, "stays", "cycles").verdict == "FAIL"
    assert verdict(table, "one", "cycles").verdict == "N/A" and "no way back" in verdict(table, "one", "cycles").reason
