"""Welch's test, effect sizes and power: against a printed table, scipy, statsmodels and known values."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from typer.testing import CliRunner

from bench.cli import app
from reports.files import RunFolderError
from reports.study import analysis, output
from reports.study.groups import Group, against_chance, compare, hedges, participants, possible_sizes, power

# Feghahati 2020, Table 5.2, with all the digits printed there.
PRINTED = [
    {"name": "control", "n": 15, "mean": 9.714286, "sd": 1.637473},
    {"name": "gradcam", "n": 15, "mean": 10.333333, "sd": 1.759329},
    {"name": "cdeepex", "n": 15, "mean": 10.666667, "sd": 1.588650},
]


def summary(tmp_path, groups=PRINTED, trials=20):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"trials": trials, "groups": groups}))
    return path


def test_the_table_of_the_thesis_follows_from_its_means(tmp_path):
    study = analysis.analyse_summary(summary(tmp_path))
    p = {(row["better"], row["worse"]): round(row["p"], 4) for row in study.tests.to_dict("records")}
    assert p == {
        ("cdeepex", "control"): 0.0586,
        ("gradcam", "control"): 0.1635,
        ("cdeepex", "gradcam"): 0.2952,
    }


def test_means_rounded_to_three_decimals_give_the_table_within_half_a_thousandth(tmp_path):
    rounded = [{**group, "mean": round(group["mean"], 3), "sd": round(group["sd"], 3)} for group in PRINTED]
    study = analysis.analyse_summary(summary(tmp_path, rounded))
    assert study.tests["p"].to_list() == pytest.approx([0.1635, 0.0586, 0.2952], abs=5e-4)


def test_a_reader_is_told_what_to_know(tmp_path):
    text = output.to_text(analysis.analyse_summary(summary(tmp_path)))
    assert "Chance is 10 of 20" in text and "No group is better than guessing" in text
    assert "None of the 3 differences is significant at one-sided 0.05" in text
    for claim, needed in (("cdeepex &gt; control", 37), ("gradcam &gt; control", 94), ("cdeepex &gt; gradcam", 314)):
        assert re.search(rf"{claim}: .* {needed} participants per group", text)
    assert "15 whole-number scores cannot have the mean 9.714286; 14 can" in text


def test_with_the_number_of_people_that_the_mean_allows_the_p_values_are_larger(tmp_path):
    study = analysis.analyse_summary(summary(tmp_path, [{**PRINTED[0], "n": 14}, *PRINTED[1:]]))
    assert study.tests["p"].round(4).to_list() == [0.1676, 0.0620, 0.2952]
    assert "GRIM" not in " ".join(study.notes)


def test_a_clear_difference_is_said_to_be_significant(tmp_path):
    groups = [{"name": "a", "n": 30, "mean": 10.0, "sd": 1.5}, {"name": "b", "n": 30, "mean": 13.0, "sd": 1.5}]
    notes = " ".join(analysis.analyse_summary(summary(tmp_path, groups)).notes)
    assert (
        "Significant at one-sided 0.05: b > a" in notes and "Better than guessing" in notes and "above 10): b." in notes
    )


def test_welch_agrees_with_scipy_on_values():
    random = np.random.default_rng(3)
    one, two = random.normal(10.5, 1.2, 17), random.normal(9.9, 2.9, 11)
    found = compare(*(Group(name, len(v), v.mean(), v.std(ddof=1)) for name, v in (("one", one), ("two", two))))
    wanted = stats.ttest_ind(one, two, equal_var=False, alternative="greater")
    both = stats.ttest_ind(one, two, equal_var=False).confidence_interval()
    assert (found.t, found.p, found.df) == pytest.approx((wanted.statistic, wanted.pvalue, wanted.df))
    assert (found.low, found.high) == pytest.approx((both.low, both.high))


def test_holms_correction_agrees_with_statsmodels(tmp_path):
    random = np.random.default_rng(4)
    for _ in range(2):
        groups = [{"name": str(i), "n": 9, "mean": float(10 + random.random() * 3), "sd": 1.5} for i in range(4)]
        tests = analysis.analyse_summary(summary(tmp_path, groups)).tests
        assert tests["holm"].to_numpy() == pytest.approx(multipletests(tests["p"], method="holm")[1])


def test_participants_for_a_difference_that_is_given(tmp_path):
    study = analysis.analyse_summary(summary(tmp_path), [1.0, 1e-6])
    one = study.power[study.power["difference"] == 1.0].set_index(["better", "worse"])["needed"]
    assert one["cdeepex", "control"] == participants(1.0, 1.588650, 1.637473)
    effect = 1 / math.sqrt((1.588650**2 + 1.637473**2) / 2)
    solved = TTestIndPower().solve_power(effect, power=0.8, alpha=0.05, alternative="larger")
    assert one["cdeepex", "control"] == math.ceil(solved)
    # By hand, from the normal distribution: n is about 2 (sd / D)^2 (1.645 + 0.842)^2, and a little more for t.
    assert one["gradcam", "control"] == pytest.approx((1.759329**2 + 1.637473**2) * 6.183, abs=2)
    assert study.power.loc[study.power["difference"] < 1, "needed"].isna().all()
    text = output.to_text(study)
    assert "Participants for a given difference" in text and "more than 1,000,000" in text
    assert "Participants for a given difference" in output.write(study, tmp_path / "out").read_text()
    assert "difference,needed" in (tmp_path / "out/tables/power.csv").read_text()
    words = ["study", "analyse", "--summary", str(tmp_path / "summary.json"), "--difference"]
    done = CliRunner().invoke(app, [*words, "1", "--difference", "2"])
    assert done.exit_code == 0 and "| cdeepex &gt; control | 2.000" in done.output
    for wrong in ("0", "-1", "nan", "inf"):
        refused = CliRunner().invoke(app, [*words, wrong])
        assert refused.exit_code == 2 and "above 0" in refused.output


def test_hedges_g_of_a_case_by_hand():
    # Pooled deviation 2, difference 1: d = 0.5; the exact correction for 18 degrees of freedom is 0.95765.
    g, error = hedges(Group("a", 10, 11.0, 2.0), Group("b", 10, 10.0, 2.0))
    assert g == pytest.approx(0.5 * 0.957651, abs=1e-5)
    assert error == pytest.approx(math.sqrt(0.2 + g**2 / 40))


@pytest.mark.parametrize(
    ("difference", "alpha", "known"), [(0.5, 0.05, 51), (0.5, 0.025, 64), (0.8, 0.025, 26), (0.2, 0.05, 310)]
)
def test_participants_of_the_usual_tables(difference, alpha, known):
    # Two-sided 0.05 of the tables is one-sided 0.025: the other tail adds nothing that counts.
    assert participants(difference, 1.0, 1.0, alpha) == known
    assert power(known, difference, 1.0, 1.0, alpha) >= 0.8 > power(known - 1, difference, 1.0, 1.0, alpha)


def test_power_agrees_with_statsmodels():
    solver = TTestIndPower()
    for n, difference in ((12, 0.3), (40, 0.7), (90, 0.35)):
        wanted = solver.power(effect_size=difference, nobs1=n, alpha=0.05, ratio=1.0, alternative="larger")
        assert power(n, difference, 1.0, 1.0) == pytest.approx(wanted, abs=1e-6)


def test_intervals_cover_the_truth_as_often_as_promised():
    random = np.random.default_rng(7)
    scores = random.binomial(20, 0.7, (1500, 15))
    spans = [against_chance(Group("a", 15, s.mean(), s.std(ddof=1)), 10.0) for s in scores]
    covered = np.mean([low < 14.0 < high for low, high, _ in spans])
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1500))


def test_power_is_what_simulated_studies_find():
    random = np.random.default_rng(0)
    one, two = random.normal(10.8, 1.0, (4000, 20)), random.normal(10.0, 2.0, (4000, 20))
    share = (stats.ttest_ind(one, two, axis=1, equal_var=False, alternative="greater").pvalue < 0.05).mean()
    assert power(20, 0.8, 1.0, 2.0) == pytest.approx(share, abs=4 * math.sqrt(0.25 / 4000))


def test_no_number_of_participants_finds_what_is_not_there():
    assert participants(0.0, 1.0, 1.0) is None and participants(-1.0, 1.0, 1.0) is None
    assert participants(1e-6, 1.0, 1.0) is None and participants(100.0, 1.0, 1.0) == 2


def test_a_group_without_spread_or_people_is_undefined_and_not_significant():
    for odd in (Group("a", 5, 20.0, 0.0), Group("a", 1, 20.0, math.nan), Group("a", 0, math.nan, math.nan)):
        found = compare(odd, Group("b", 5, 10.0, 0.0))
        assert math.isnan(found.p) and found.needed is None


def test_whole_number_scores_have_only_some_means():
    assert possible_sizes(Group("a", 15, 10.333, 1.0), 3)[0] == 15
    assert 15 not in possible_sizes(Group("a", 15, 9.714, 1.0), 3)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"trials": 20}', '{"trials": 20, "groups": []}', '{"trials": 0, "groups": 3}',
     '{"trials": 20, "groups": [{"name": "a", "n": 1, "mean": 1, "sd": 1}, {"name": "b", "n": 5, "mean": 1, "sd": 1}]}',
     '{"trials": 20, "groups": [{"name": "a", "n": 5, "mean": NaN, "sd": 1}, {"name": "b", "n": 5, "mean": 1, "sd": 1}]}',
     '{"trials": 20, "groups": [{"name": "a", "n": 5, "mean": 1, "sd": 1}, {"name": "a", "n": 5, "mean": 1, "sd": 1}]}'],
)  # fmt: skip
def test_what_is_no_summary_is_refused(tmp_path, text):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(RunFolderError, match=re.escape(str(path))):
        analysis.analyse_summary(path)
