"""Figures and tables of perturbation: pooled curves are exact, nothing is drawn from nothing, names survive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from reports import perturbation_tables, plots, schema
from reports.figures_perturbation import difference_table, perturbation_curves, sections
from reports.judge_perturbation import judge
from reports.page import Shown
from reports.render import suite_tables

STEPS = 4
NAMES = ("gradient", "integrated-gradients[baseline=blur]", "input", "$x$ <b>")
KINDS = ("black", "uniform")
RNG = np.random.default_rng(0)
POINTS = {
    (name, kind, order): RNG.random((10, STEPS + 1))
    for name in NAMES
    for kind in KINDS
    for order in perturbation_tables.ORDERS
}


def records(sizes: tuple[int, ...] = (7, 3)) -> pd.DataFrame:
    """Scores of ten images, and their curves as two cells store them."""
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        for kind in KINDS:
            first = 0
            for size in sizes:
                common = {
                    **dict.fromkeys(schema.COLUMNS), "suite": "pixel-perturbation", "check": f"perturbation-{kind}",
                    "subject": "toy", "explainer": name, "seed": 0, "status": "ok", "cell": f"{name}{kind}{first}",
                }  # fmt: skip
                for image in range(first, first + size):
                    scores = {"abpc": 0.1 * image, "abpc-random": 0.02 * image, "deletion": 0.5, "deletion-random": 0.6}
                    rows += [
                        {**common, "image": f"i/{image}", "measure": measure, "value": value}
                        for measure, value in scores.items()
                    ]
                for order in perturbation_tables.ORDERS:
                    points = POINTS[name, kind, order][first : first + size]
                    for step in range(STEPS + 1):
                        stage = {**common, "stage": step}
                        rows.append({**stage, "measure": f"curve-{order}", "value": points[:, step].mean()})
                        rows.append({**stage, "measure": f"curve-{order}-sd", "value": points[:, step].std()})
                rows.append({**common, "measure": "curve-images", "value": float(size)})
                first += size
    return schema.from_arrow(schema.to_arrow(rows, "c"))


def test_pooled_curves_are_those_of_all_images_at_once() -> None:
    table = perturbation_tables.curves(records()).set_index(["explainer", "check", "order", "stage"])
    assert len(table) == len(POINTS) * (STEPS + 1) and set(table.n) == {10}
    for (name, kind, order), points in POINTS.items():
        for step in range(STEPS + 1):
            row = table.loc[(name, f"perturbation-{kind}", order, step)]
            reach = 1.96 * points[:, step].std(ddof=1) / np.sqrt(10)
            assert row["mean"] == pytest.approx(points[:, step].mean())
            assert row["high"] - row["mean"] == pytest.approx(reach, rel=1e-4)
            assert row["share"] == step / STEPS


def test_the_way_images_are_blocked_changes_no_curve() -> None:
    pd.testing.assert_frame_equal(
        perturbation_tables.curves(records((7, 3))), perturbation_tables.curves(records((2, 2, 6)))
    )


def test_scores_stand_beside_their_random_order() -> None:
    table = perturbation_tables.scores(records()).set_index(["explainer", "check", "measure"])
    row = table.loc[("gradient", "perturbation-black", "abpc")]
    assert (row["mean"], row["random"], row["difference"]) == pytest.approx((0.45, 0.09, 0.36)) and row["n"] == 10
    assert row["ci_low"] < 0.36 < row["ci_high"]
    assert table.loc[("input", "perturbation-uniform", "deletion")]["difference"] == pytest.approx(-0.1)


def test_the_comparisons_behind_the_verdict_have_numbers() -> None:
    frame = records()
    # `gradient` is ahead of the brightness by a number of its own per image; the rest stay equal.
    own = (frame["explainer"] == "gradient") & (frame["measure"] == "abpc") & (frame["check"] == "perturbation-black")
    frame.loc[own, "value"] += np.linspace(0.1, 0.2, 10)
    table = perturbation_tables.rivals(frame).set_index(["explainer", "check", "rival"])
    rivals = {name: {key[2] for key in table.index if key[0] == name} for name in NAMES}
    assert rivals["gradient"] == {"random order", "|x|"} and rivals["input"] == {"random order"}
    row = table.loc[("gradient", "perturbation-black", "|x|")]
    gaps = np.linspace(0.1, 0.2, 10)
    expected = ttest_1samp(gaps, 0)
    interval = expected.confidence_interval(0.95)
    assert row["n"] == 10 and row["difference"] == pytest.approx(0.15)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert row["p"] == pytest.approx(expected.pvalue)
    level = table.loc[("gradient", "perturbation-uniform", "|x|")]
    assert level["difference"] == 0 and level["p"] == level["p_adjusted"] == 1
    # Four comparisons of `gradient`; the smallest p is multiplied by four.
    four = table.loc["gradient"].sort_values("p")
    assert len(four) == 4 and four["p_adjusted"].iloc[0] == pytest.approx(4 * four["p"].iloc[0])
    assert "perturbation-rivals" in suite_tables(frame)


def test_figures_of_all_replacements() -> None:
    kept: dict[str, bytes] = {}

    def add(name: str, title: str, caption: str, figure: Any) -> Shown:
        kept[name] = plots.to_bytes(figure, "png")
        assert caption and title
        return Shown(title, caption, name, name)

    store: Any = SimpleNamespace(explainers={"input": {"group": "reference"}})
    shown = sections(records(), store, SimpleNamespace(add=add, add_pixels=add))
    assert list(kept) == [f"toy-pixel-perturbation-{name}" for name in ("abpc", "black-curves", "uniform-curves")]
    assert len(shown) == 3 and len(set(kept.values())) == 3


def test_references_stand_last_and_texts_are_taken_as_they_are() -> None:
    frame = records()
    figure = difference_table(judge(frame), {"input": "reference"})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["$x$ <b>", "gradient", "integrated-gradients[baseline=blur]", "input"]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert "0.36" in texts and any(text.startswith("[") for text in texts)
    curves = perturbation_tables.curves(frame)
    drawn = perturbation_curves(curves[curves.check == "perturbation-black"], {"input": "reference"})
    assert [len(axis.lines) for axis in drawn.axes] == [3] * 4


def test_nothing_to_draw() -> None:
    store: Any = SimpleNamespace(explainers={})
    assert sections(schema.empty(), store, SimpleNamespace(add=None)) == []  # type: ignore[arg-type]
    assert len(perturbation_tables.curves(schema.empty())) == 0
    only = records()
    only = only[only.image.notna() & (only.measure != "abpc-random")]
    assert plots.to_bytes(difference_table(judge(only), {}), "png")
