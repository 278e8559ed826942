"""Suites of papers: their parts are run and filed as they say, and their claims are computed from the records."""

import pytest

from bench import suites
from bench.config import resolve
from bench.runner import execute
from bench.sized import Size, Suite
from models.naming import UsageError
from reports.papers import Claim, Paper, Term
from tests.harness.support import MODEL, TOY

SIZES = dict.fromkeys(suites.PROFILES, Size(3, 2))


def part(name, checks, explainers, **about):
    return Suite(f"paper-toy {name}", "", checks, explainers, sizes=SIZES, models=(MODEL,), **about)


@pytest.fixture
def toy_paper(monkeypatch):
    term = Term("toy.py:model", "toy-gradient", "cascading", "ssim", stage=1)
    made = Suite(
        "paper-toy", "a toy",
        parts=(
            part("one", ("cascading",), ("toy-gradient",), label="smoke"),
            part("two", ("ceiling",), ("toy-gradient", "constant"), label="randomization"),
        ),
        paper=Paper("paper-toy", "Toy, 2000", (
            Claim("below", "similar", "p. 1", "mean SSIM", first=term, at_most=1.0),
            Claim("absent", "other", "p. 2", "mean SSIM", first=Term("m", "toy-gradient", "floor", "ssim"), at_most=1.0),
        )),
        choices={"floor_draws": 2},
    )  # fmt: skip
    monkeypatch.setattr(suites, "_SUITES", (*suites._SUITES, made))
    return made


def test_parts_are_run_filed_and_judged(toy_paper, tmp_path, capsys):
    from bench.cli.tables import show_claims

    finished = execute(
        resolve({"suite": "paper-toy", "plugin": TOY, "jobs": 1, "out": str(tmp_path / "run"), "quiet": True})
    )
    frame = finished.frame()
    filed = set(zip(frame["check"], frame["suite"], frame["explainer"], strict=True))
    assert filed == {
        ("cascading", "smoke", "toy-gradient"), ("ceiling", "randomization", "toy-gradient"),
        ("ceiling", "randomization", "constant"),
    }  # fmt: skip
    table = finished.claims().set_index("claim")
    assert table.loc["absent", "verdict"] == "not testable"
    assert table.loc["below", "n"] == 3 and table.loc["below", "verdict"] == "agrees"
    show_claims(finished.claims())
    printed = capsys.readouterr().out
    assert "claims of paper-toy" in printed and "not testable" in printed
    assert (
        execute(
            resolve({"suite": "paper-toy", "plugin": TOY, "jobs": 1, "out": str(tmp_path / "run"), "quiet": True})
        ).computed
        == 0
    )


@pytest.mark.parametrize("option", ["model", "data", "explainers"])
def test_what_a_paper_fixes_cannot_be_changed(toy_paper, option):
    with pytest.raises(UsageError, match=f"--{option}.*fixed"):
        resolve({"suite": "paper-toy", option: "saliency"})


@pytest.mark.parametrize("suite", [suite for suite in suites.suites() if suite.paper is not None], ids=lambda s: s.name)
def test_every_claim_names_what_its_suite_runs(suite):
    import explainers
    import models
    from bench.checks import CHECKS

    subjects = {model: models.load(model).name for each in suite.parts for model in each.models}
    ran = {
        (subjects[model], check, explainers.expand(name)[0])
        for each in suite.parts for model in each.models for check in each.checks
        for name in (*each.explainers, *each.references)
    } | {
        (subjects[model], check, "(model)")
        for each in suite.parts for model in each.models for check in each.checks if CHECKS[check].about_model
    }  # fmt: skip
    names = [claim.name for claim in suite.paper.claims]
    assert len(names) == len(set(names)) and suite.paper.suite == suite.name
    for claim in suite.paper.claims:
        for term in claim.terms:
            name = term.explainer if term.explainer == "(model)" else explainers.expand(term.explainer)[0]
            base = term.check if term.check in CHECKS else "cascading"
            assert (term.subject, base, name) in ran, (claim.name, term)
            known = {measure.name for measure in CHECKS[base].measures} | {""}
            assert {term.measure, term.low, term.high} <= known, (claim.name, term)
