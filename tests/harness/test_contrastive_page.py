"""The page of figures on contrastive explainers: what it says of values that are known."""

import numpy as np
import pytest

from bench.contrastive import Piece, pieces
from bench.contrastive_page import interval, page


def search(third, feasible, seconds=0.5):
    n = len(third)
    return {
        "apart": [0.02] * n,
        "pair": [0.9] * n,
        "third": third,
        "feasible": feasible,
        "residual": [6e-8] * n,
        "seconds": [seconds] * n,
    }


def test_the_interval_is_that_of_a_bootstrap_over_images():
    values = np.arange(100.0)
    words = interval(values, digits=3)
    low, high = (float(part) for part in words[words.index("[") + 1 : -1].split(", "))
    assert words.startswith("49.500") and high - low == pytest.approx(4 * values.std() / 10, rel=0.1)
    assert interval(np.array([1.0, np.nan, 3.0])).startswith("2.00")
    assert interval(np.array([])) == "none" and interval(values, np.median).startswith("49.50")


def test_rows_pairs_and_fits():
    found = {
        Piece("m", "cdeepex[probe=random]", 1): search([0.0] * 8, [1.0] * 7 + [0.0]),
        Piece("m", "cdeepex[probe=random]", 2): search([0.0] * 8, [1.0] * 8),
        Piece("m", "xgem-eq[probe=random]", 1): search([1.0] * 8, [1.0] * 8),
        Piece("m", "xgem-eq[probe=random]", 2): search([1.0] * 4 + [0.0] * 4, [1.0] * 8),
        Piece("m", "siamese-ae-vae", 1): {"nearer": [1.0] * 9 + [0.0], "seconds": [0.1] * 10},
    }
    text = page(found)
    assert "| `cdeepex[probe=random]` | m | 16 | 0.94 [" in text and "| 0.50 |" in text
    assert "| probe=random | m | 16 | 0.75 [" in text and "6.0e-08" in text
    assert "| `siamese-ae-vae` |" in text and "0.900 [" in text and ">= 0.9" in text


def test_every_search_stands_beside_the_one_without_third_classes():
    names = {(piece.model, piece.explainer) for piece in pieces(seeds=2)}
    for model, name in names:
        if name.startswith("cdeepex") and "printed" not in name:
            assert (model, name.replace("cdeepex", "xgem-eq")) in names
    assert len(pieces(seeds=2)) == 2 * len(pieces()) and all("gan" in piece.label for piece in pieces("gan"))
