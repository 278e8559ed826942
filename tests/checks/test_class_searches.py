"""Class discrimination of explainers that search between two classes, and of those that were fitted beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch

import explainers
from bench import protocols
from bench.checks import CHECKS, class_answers
from bench.checks.discrimination import run_block
from bench.checks.perturbation import run_block as perturbed
from explainers import probes
from explainers.base import Explainer
from models.seeds import derive
from reports import schema
from reports.judge_class import judge
from reports.leaderboard import gate_rows
from tests.explainers import toy_fits

TOY = "generator=tests/explainers/toy_generators.py:sampled_waves"
NAME = f"cdeepex[{TOY}]"
CHECK = "class-similarity-probes"
INDICES = range(16)
PROTOCOL = protocols.get("recommended")
SEARCH_CHECKS = (CHECK, "class-similarity-top2", "class-similarity-least")


def searched():
    """The network of the conformance tests with more images."""
    subject = probes.subject("chain")
    return replace(subject, data=probes._images("conformance/test", 16))


def asked(members, checks=SEARCH_CHECKS, subject=None, indices=INDICES):
    """All rows of the checks with ceiling and floor."""
    subject = subject or searched()
    members = [explainers.get(each) if isinstance(each, str) else each for each in members]
    wanted = {(check, each.name) for check in (*checks, "class-ceiling", "class-floor") for each in members}
    found = list(run_block(subject, members, list(indices), 0, protocol=PROTOCOL, wanted=wanted, base=3))
    rows, errors = [row for each in found for row in each.rows], [each.error for each in found if each.error]
    assert not errors, errors[0]["traceback"]
    return schema.check(pd.DataFrame(rows).assign(cell="x"))


@pytest.fixture(scope="module")
def found():
    return asked([NAME, "saliency", "counterfactual-identity"])


def cosines(frame, check, who):
    rows = frame[(frame.check == check) & (frame.explainer == who) & (frame.measure == "cosine")]
    return rows.set_index("image")


def test_the_two_probes_are_asked_about_one_class_by_hand(found):
    subject = searched()
    images = subject.data.load(INDICES)
    targets, seed = subject.predict(images), derive(3, "explain", 0)
    ways = [
        explainers.get(f"cdeepex[{TOY},probe={probe}]").explain(subject, images, targets, seed=seed)
        for probe in ("second", "random")
    ]
    assert (ways[0].target != ways[1].target).all() and torch.equal(ways[0].source, ways[1].source)
    rows = cosines(found, CHECK, explainers.get(NAME).name).loc[[subject.data.ids[index] for index in INDICES]]
    assert rows.target.tolist() == targets.tolist()
    wanted = torch.cosine_similarity(*(each.map().flatten(1).double() for each in ways))
    trivial = [any("trivial" in words for words in pair) for pair in zip(*(each.outcome for each in ways), strict=True)]
    assert [status == "degenerate-zero" for status in rows.status] == trivial and not all(trivial)
    kept = [not each for each in trivial]
    assert rows.value[kept].tolist() == pytest.approx(wanted[torch.tensor(kept)].tolist(), abs=1e-5)


def test_searches_are_calibrated_by_other_beginnings_and_random_moves(found):
    name = explainers.get(NAME).name
    again, moved = (cosines(found, check, name) for check in ("class-ceiling", "class-floor"))
    assert (again.status == "ok").any() and (again.value.dropna() < 1).all()
    assert again.value.mean() > cosines(found, CHECK, name).value.mean() > moved.value.abs().mean() - 0.3
    assert moved.value.mean() < again.value.mean() - 0.3
    assert (cosines(found, "class-ceiling", "saliency").value == 1).all()


def test_the_verdict_follows_from_the_probes_and_not_from_swapping_the_classes(found):
    table = judge(found).set_index(["explainer", "check"])
    name = explainers.get(NAME).name
    assert table.loc[(name, CHECK), "verdict"] == "PASS", table.loc[(name, CHECK), "reason"]
    swapped = table.loc[(name, "class-similarity-top2")]
    assert swapped.verdict == "N/A" and "swaps the two classes" in swapped.reason
    assert cosines(found, "class-similarity-top2", name).value.mean() > 0.99
    for other in ("saliency", "counterfactual-identity"):
        assert (
            table.loc[(other, CHECK), "verdict"] == "N/A" and "does not search" in table.loc[(other, CHECK), "reason"]
        )
    assert table.loc[("saliency", "class-similarity-top2"), "verdict"] != "N/A"
    gate = gate_rows(judge(found), "class-discrimination", ("class-similarity", "class-similarity-top2"))
    chosen = gate.set_index("explainer")["check"]
    assert chosen[name] == CHECK and chosen["saliency"] == "class-similarity-top2" and chosen.index.is_unique


@dataclass(frozen=True)
class SameForEveryProbe(Explainer):
    """It says that it was asked about another probe and answers as for its own."""

    def raw(self, subject, images, targets, seed):
        made = super().raw(subject, images, targets, seed)
        return replace(made, target=(made.target + 1) % subject.num_classes)


def test_a_search_that_does_not_hear_the_probe_fails(monkeypatch):
    deaf = lambda each: SameForEveryProbe(each.name, each.info, each.resolved)  # noqa: E731
    monkeypatch.setattr(class_answers, "towards_another", deaf)
    frame = asked([NAME], (CHECK,))
    row = judge(frame).set_index("check").loc[CHECK]
    assert (cosines(frame, CHECK, row.explainer).value.dropna() > 1 - 1e-6).all()
    assert row.verdict == "FAIL" and "two probes are alike" in row.reason
    # where both questions are the same there is nothing to compare
    monkeypatch.setattr(class_answers, "towards_another", lambda each: each)
    same = asked([NAME], (CHECK,), indices=range(2))
    assert set(same.query("check == @CHECK").status) == {"not-applicable"}


def test_the_check_is_planned_for_searches_alone():
    assert CHECKS[CHECK].searching and not CHECKS["class-similarity-top2"].searching
    assert CHECKS["class-ceiling"].version == CHECKS["class-floor"].version == 2


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A series of a fit of a few steps, on images that are large enough for every measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_fits, "SIDE", 16)
        subject = toy_fits.subject()
        made = explainers.get("progressive-exaggeration[steps=10,width=8,bins=3]")
        yield subject, made.fit(subject, folder=str(tmp_path_factory.mktemp("fits")))


def test_fitted_explainers_have_no_floor_which_is_no_failure(series):
    subject, explainer = series
    frame = asked([explainer, "saliency"], ("class-similarity-top2", "class-similarity-least", CHECK), subject)
    own = frame[frame.explainer == explainer.name]
    assert set(own[own.check == "class-floor"].status) == {"not-applicable"}
    assert (own[own.check == "class-similarity-top2"].status == "ok").any()
    table = judge(frame)
    table = table[table.explainer == explainer.name].set_index("check")
    assert set(table.verdict) == {"N/A"} and len(table) == 3
    assert "no fit to random ones" in table.reason["class-similarity-top2"]
    wanted = {("grid-localisation", each) for each in (explainer.name, "saliency")}
    members = [explainer, explainers.get("saliency")]
    for result in run_block(subject, members, list(INDICES), 0, protocol=PROTOCOL, wanted=wanted, base=3):
        assert result.error is None, result.error["traceback"]
        mass = [row["status"] for row in result.rows if row["measure"] == "mass"]
        assert result.explainer == "saliency" or set(mass) == {"not-applicable"}


def test_counterfactuals_of_searches_and_of_series_go_through_perturbation(series):
    search = searched()
    labelled = replace(search.data, labels=search.predict(search.data.load(range(len(search.data)))).numpy())
    checks = ("perturbation-uniform", "perturbation-black", "perturbation-counterfactual")
    for subject, explainer in ((replace(search, data=labelled), explainers.get(NAME)), series):
        wanted = {(check, explainer.name) for check in checks}
        for result in perturbed(subject, [explainer], range(6), 0, protocol=PROTOCOL, wanted=wanted, base=3):
            assert result.error is None, result.error["traceback"]
            scores = [row["value"] for row in result.rows if row["measure"] == "abpc" and row["status"] == "ok"]
            assert len(scores) >= 3 and any(score != 0 for score in scores), (explainer.name, result.check)
