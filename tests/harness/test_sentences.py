"""Sentences in a run: cascading randomisation of maps of words, and no check that needs pixels."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

import explainers
import models
from bench import protocols
from bench.checks.randomization import run_block
from bench.cli import app

NAMES = ("word-gradient", "word-contrast", "word-contrast[map=edits]", "input", "random", "saliency")


@pytest.mark.slow
def test_a_cascade_compares_values_and_edits_of_words():
    subject = models.load("text:reviews")
    wanted = {("cascading", name) for name in NAMES} | {("health-cascading", "(model)")}
    given = [explainers.get(name) for name in NAMES]
    protocol = protocols.get("recommended")
    found = {
        each.explainer: each
        for each in run_block(subject, given, range(4), 0, protocol=protocol, wanted=wanted, base=0)
    }
    rows = pd.concat([pd.DataFrame(found[name].rows) for name in NAMES[:-1]])
    assert set(rows.loc[rows["measure"].isin(["ssim", "ssim-7", "hog"]), "status"]) == {"not-applicable"}
    same = rows[(rows["stage"] == 0) & rows["measure"].isin(["spearman", "cosine"])]
    # A sentence of which no word is edited has a map of edits that is zero everywhere.
    fine = same[same["status"] == "ok"]
    assert len(same) == 2 * 4 * 5 and len(fine) >= 34 and (fine["value"] == 1).all()
    assert set(same.loc[same["status"] != "ok", "status"]) <= {"degenerate-zero"}
    assert rows.loc[rows["layer"].notna(), "layer"].unique().tolist() == ["output", "embedding"]
    late = rows[(rows["stage"] == 2) & (rows["measure"] == "spearman")].groupby("explainer")["value"].mean()
    assert late["input"] == 1 and late["word-gradient"] < 0.9 and late["word-contrast"] < 0.9
    assert abs(late["random"]) < 0.5 and late["word-contrast[map=edits]"] < 0.9
    health = pd.DataFrame(found["(model)"].rows)
    assert (health.loc[health["measure"] == "healthy", "value"] == 1).all()
    assert "explains pixels, and text:reviews reads sentences" in found["saliency"].error["message"]


def test_checks_of_pixels_are_refused_for_sentences(tmp_path):
    for suite in ("pixel-perturbation", "class-discrimination", "generative"):
        words = ["plan", "--suite", suite, "--model", "text:reviews", "--explainers", "word-gradient"]
        done = CliRunner().invoke(app, [*words, "--images", "4", "--out", str(tmp_path)])
        assert done.exit_code == 2 and "no check for sentences" in done.output, (suite, done.output)
