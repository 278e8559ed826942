"""Claims of papers against records: numbers, intervals, pairing, verdicts, what cannot be told."""

import numpy as np
import pandas as pd
import pytest

import reports
from reports import claims, schema
from reports.papers import Claim, Paper, Term, paper_of
from reports.store import Store

A, B = Term("m", "one", "c", "v"), Term("m", "other", "c", "v")


def frame_of(values, explainer="one", measure="v", seed=0, names=None):
    names = names or [f"i/{place}" for place in range(len(values))]
    base = {"suite": "s", "check": "c", "subject": "m", "stage": None, "layer": None, "target": 0, "seconds": 0.1}
    return [
        {**base, "explainer": explainer, "seed": seed, "image": name, "measure": measure, "value": value,
         "status": "ok" if value is not None else "not-applicable", "cell": "ab" * 32}
        for name, value in zip(names, values, strict=True)
    ]  # fmt: skip


def records(*parts):
    return schema.from_arrow(schema.to_arrow([row for part in parts for row in part], "test"))


def judged(frame, *, verdicts=None, **about):
    claim = Claim("a", "it is so", "table 1", **{"first": A, "at_least": 0.0, **about})
    return claims.judge_claims(frame, [Paper("paper-x", "X", (claim,))], verdicts).iloc[0]


def test_the_mean_has_the_interval_of_theory():
    values = np.random.default_rng(1).normal(0.3, 0.2, 400)
    row = judged(records(frame_of(values)), at_least=0.25)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert row["estimate"] == pytest.approx(values.mean()) and row["n"] == 400
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.002)


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"at_least": 0.4}, "agrees"), ({"at_least": 0.6}, "does not"), ({"at_least": 0.5}, "undecided"),
        ({"at_least": None, "at_most": 0.6}, "agrees"), ({"at_least": None, "at_most": 0.4}, "does not"),
        ({"at_least": 0.4, "at_most": 0.6}, "agrees"),
    ],
)  # fmt: skip
def test_the_whole_interval_decides(bounds, verdict):
    values = 0.5 + np.tile([-0.1, 0.1], 50)
    assert judged(records(frame_of(values)), **bounds)["verdict"] == verdict


def test_two_terms_are_compared_image_by_image():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 5, 60)
    one, other = common + 1 + rng.normal(0, 0.01, 60), common
    paired = judged(
        records(frame_of(one), frame_of(other, "other")), first=A, second=B, relation="difference", at_least=0.9
    )
    assert paired["verdict"] == "agrees" and paired["ci_high"] - paired["ci_low"] < 0.02
    elsewhere = [f"j/{place}" for place in range(60)]
    apart = records(frame_of(one), frame_of(other, "other", names=elsewhere))
    loose = judged(apart, second=B, relation="difference", at_least=0.9)
    assert loose["verdict"] == "undecided" and loose["ci_high"] - loose["ci_low"] > 1


def test_seeds_that_are_repeats_of_images_are_no_factor_of_their_own():
    """Two seeds say next to nothing of what all images share; two repeats per image say as much as their mean."""
    rng = np.random.default_rng(3)
    values = rng.normal(0.5, 0.1, (2, 40))
    both = records(*(frame_of(row, seed=seed) for seed, row in enumerate(values)))
    crossed = judged(both, at_least=0.3)
    own = judged(both, first=Term("m", "one", "c", "v", repeats=True), at_least=0.3)
    means = judged(records(frame_of(values.mean(0))), at_least=0.3)
    assert own["estimate"] == pytest.approx(crossed["estimate"]) and own["verdict"] == "agrees"
    assert [own["ci_low"], own["ci_high"]] == pytest.approx([means["ci_low"], means["ci_high"]])
    assert crossed["ci_high"] - crossed["ci_low"] > 3 * (own["ci_high"] - own["ci_low"])


def test_ratio_factor_and_median():
    one, other = [2.0, 4.0, 90.0], [1.0, 2.0, 3.0]
    frame = records(frame_of(one), frame_of(other, "other"))
    middle = [Term("m", name, "c", "v", statistic="median") for name in ("one", "other")]
    assert judged(frame, first=middle[0], second=middle[1], relation="ratio")["estimate"] == 2.0
    third = records(frame_of(one), frame_of(other, "other"), frame_of([0.0, 1.0, 2.0], measure="w"))
    base = Term("m", "one", "c", "w")
    left = judged(third, first=Term("m", "one", "c", "v", "median"), second=B, base=base, relation="ratio")
    assert left["estimate"] == (4.0 - 1.0) / (2.0 - 1.0)
    found = judged(frame, first=middle[0], second=middle[1], relation="difference", factor=1.5)
    assert (found["estimate"], found["first"], found["second"]) == (1.0, 4.0, 2.0)


def test_seeds_widen_the_interval():
    apart = records(*(frame_of([0.5 + shift] * 50, seed=seed) for seed, shift in enumerate([-0.2, 0.0, 0.2])))
    alike = records(*(frame_of([0.5] * 50, seed=seed) for seed in range(3)))
    assert judged(apart)["ci_high"] - judged(apart)["ci_low"] > 0.2
    assert judged(alike)["ci_high"] == judged(alike)["ci_low"] == 0.5


def test_few_images_widen_the_interval():
    few, many = [0.4, 0.6] * 2, [0.4, 0.6] * 200
    narrow = judged(records(frame_of(many)))
    row = judged(records(frame_of(few)))
    half = 3.182 * np.std(few, ddof=1) / 2  # Student's t with three degrees of freedom
    assert row["ci_high"] - 0.5 == pytest.approx(half, rel=0.25) and narrow["ci_high"] - 0.5 < 0.02


def test_a_number_about_a_set_brings_its_own_interval():
    rows = [
        row | {"image": None}
        for name, value in {"fid": 3.0, "fid-low": 2.0, "fid-high": 4.0}.items()
        for row in frame_of([value], measure=name)
    ]
    term = Term("m", "one", "c", "fid", low="fid-low", high="fid-high")
    row = judged(records(rows), first=term, at_least=None, at_most=3.5)
    assert (row["estimate"], row["ci_low"], row["ci_high"], row["verdict"]) == (3.0, 2.0, 4.0, "undecided")
    bare = judged(records(rows), first=Term("m", "one", "c", "fid"), at_least=None, at_most=3.5)
    assert bare["verdict"] == "agrees" and "no interval" in bare["reason"]


def test_what_was_not_measured_is_not_testable_and_says_why():
    absent = judged(records(frame_of([1.0])), first=B)
    assert absent["verdict"] == "not testable" and absent["reason"] == "no v of other on m (c)"
    empty = judged(records(frame_of([None, None])))
    assert empty["verdict"] == "not testable" and "2 not-applicable" in empty["reason"]
    said = judged(records(frame_of([1.0])), first=None, at_least=None, untestable="needs photographs")
    assert (said["verdict"], said["reason"], said["bound"]) == ("not testable", "needs photographs", "")


def test_a_claim_about_a_verdict():
    verdicts = pd.DataFrame([{"subject": "m", "explainer": "one", "check": "c", "n": 9, "estimate": 0.7, "ci_low": 0.6,
                              "ci_high": 0.8, "verdict": "PASS", "reason": "r"}])  # fmt: skip
    row = judged(schema.empty(), verdicts=verdicts, first=Term("m", "one", "c"), at_least=0.5)
    assert (row["verdict"], row["estimate"], row["n"]) == ("agrees", 0.7, 9)
    undefined = judged(schema.empty(), verdicts=verdicts.assign(estimate=np.nan), first=Term("m", "one", "c"))
    assert undefined["verdict"] == "not testable" and "PASS: r" in undefined["reason"]


@pytest.mark.parametrize(
    "about",
    [
        {"relation": "sum"}, {"relation": "ratio"}, {"first": None}, {"at_least": None},
        {"first": Term("m", "e", "c", "v", statistic="mode")}, {"second": B},
    ],
)  # fmt: skip
def test_claims_that_cannot_be_computed_are_refused(about):
    with pytest.raises(ValueError, match="claim 'a'"):
        Claim("a", "s", "w", **{"first": A, "at_least": 0.0, **about})


def test_run_folder_page_and_table(tmp_path):
    claim = Claim("a", "it is <so>", "table 1", "share | of images", first=A, at_least=0.4)
    paper = Paper("paper-x", "X & Y", (claim, Claim("b", "faces", "figure 2", untestable="needs photographs")))
    store = Store.create(tmp_path / "run", {}, {"name": "recommended", "hash": "0"}, {}, {})
    rows = [{name: value for name, value in row.items() if name != "cell"} for row in frame_of([0.5, 0.6, 0.7])]
    store.write_records("ab" * 32, rows)
    assert store.papers() == []
    store.write_papers([paper.record()])
    store.write_papers([paper.record() | {"suite": "paper-z"}])
    assert [each.suite for each in store.papers()] == ["paper-x", "paper-z"] and store.papers()[0] == paper
    assert paper_of(paper.record()) == paper
    page = reports.write_report(store.path)[0]
    text = page.read_text()
    assert "it is &lt;so&gt;" in text and "X &amp; Y" in text and 'v-not-testable">not testable' in text
    lines = (page.parent / "claims.md").read_text().splitlines()
    assert len(lines) == 6 and "0.600 [" in lines[2] and "not testable: needs photographs" in lines[3]
    assert len(pd.read_csv(page.parent / "claims.csv")) == 4
    merged = reports.merge_runs([store.path], tmp_path / "merged")
    assert len(Store.open(merged.path).papers()) == 2
    (store.path / "papers.json").write_text("{}")
    with pytest.raises(reports.RunFolderError, match="damaged"):
        store.papers()
