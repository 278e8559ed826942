"""Fleiss' kappa and majority votes: by hand, against statsmodels, and where they are not defined."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa as other

from reports.study.agreement import agreement, fleiss_kappa, words
from reports.study.results import Answer, Result


def people(votes):
    """One result per person from {image: (truth, [answers])}."""
    count = len(next(iter(votes.values()))[1])
    rows = [
        tuple(Answer(image, truth, answers[person], 1.0) for image, (truth, answers) in votes.items())
        for person in range(count)
    ]
    return [Result(str(i), "s", ("g",), "g", len(row), row, None, Path("x")) for i, row in enumerate(rows)]


def test_kappa_by_hand():
    # Fleiss' own example has mean agreement 0.378 and chance 0.213 (10 things, 14 people, 5 names).
    counts = np.array(
        [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
         [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    )  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_kappa_agrees_with_statsmodels():
    random = np.random.default_rng(1)
    for names, raters in ((2, 15), (3, 4), (5, 7)):
        counts = random.multinomial(raters, random.dirichlet(np.ones(names)), size=20)
        assert fleiss_kappa(counts) == pytest.approx(other(counts))


def test_people_who_all_agree_and_people_who_guess():
    assert fleiss_kappa(np.array([[5, 0], [0, 5]])) == 1.0
    guesses = np.random.default_rng(2).binomial(10, 0.5, 4000)
    assert fleiss_kappa(np.stack([guesses, 10 - guesses], axis=1)) == pytest.approx(0.0, abs=0.02)


def test_kappa_is_not_defined_for_one_name_or_one_person():
    assert math.isnan(fleiss_kappa(np.array([[4, 0], [4, 0]]))) and math.isnan(fleiss_kappa(np.array([[1, 0]])))


def test_majorities_right_wrong_and_tied():
    found = agreement(
        people({"a": ("x", ["x", "x", "x", "y"]), "b": ("x", ["y", "y", "y", "x"]), "c": ("y", ["x", "x", "y", "y"])})
    )
    assert (found.pictures, found.right, found.tied) == (3, 1, 1) and found.accuracy == pytest.approx(1 / 3)
    assert found.accuracy_low < 1 / 3 < found.accuracy_high and found.low <= found.kappa <= found.high


def test_the_order_of_the_people_changes_nothing():
    group = people({str(i): ("x", list(np.random.default_rng(i).choice(["x", "y"], 6))) for i in range(20)})
    assert agreement(group) == agreement(group[::-1])


def test_nobody_agrees_with_nobody():
    found = agreement([])
    assert found.pictures == 0 and math.isnan(found.kappa) and words(found.kappa) == "undefined"


@pytest.mark.parametrize(
    ("kappa", "word"), [(-0.1, "poor"), (0.2, "slight"), (0.5, "moderate"), (0.9, "almost perfect")]
)
def test_words(kappa, word):
    assert words(kappa) == word
