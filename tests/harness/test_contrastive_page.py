"""The page of figures on contrastive explainers: what it says of values that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.contrastive import Piece, pieces
from bench.contrastive_page import interval, page, share
from bench.contrastive_random import common_share


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
    assert (
        "| `cdeepex[probe=random]` | m | 16 | 0.94 [" in text and "| `cdeepex[probe=random]` | m | 16 | 0.500 |" in text
    )
    assert "0.00 [0.00, 0.19] |" in text and "[0.00, 0.00]" not in text
    assert "| probe=random | m | 16 | 0.75 [" in text and "6.0e-08" in text
    assert "| `siamese-ae-vae` |" in text and "0.900 [" in text and ">= 0.9" in text


def test_shares_without_variation_have_an_interval_with_width():
    # Wilson 1927 for none and for all of 64, from the quadratic: z^2 / (n + z^2)
    edge = 1.96**2 / (64 + 1.96**2)
    assert share(np.zeros(64), 4) == f"0.0000 [0.0000, {edge:.4f}]"
    assert share(np.ones(64), 4) == f"1.0000 [{1 - edge:.4f}, 1.0000]"
    some = np.array([1.0] * 16 + [0.0] * 48)
    assert share(some) == interval(some) and share(np.array([])) == "none"


def test_costs_have_limits_where_there_are_some_and_beginnings_a_row_of_their_own():
    sought = {**search([0.0] * 8, [1.0] * 8, 0.7), "beginning": [0.25] * 8}
    found = {
        Piece("fmnist-lenet", "cdeepex[probe=random]", 1): search([0.0] * 8, [1.0] * 8, 0.5),
        Piece("fmnist-lenet", "cdeepex[generator=gan]", 1): sought,
        Piece("fmnist-lenet", "xgem-eq", 1): search([0.0] * 8, [1.0] * 8, 0.4),
    }
    text = page(found)
    assert "| `cdeepex[probe=random]` | fmnist-lenet | 8 | 0.500 | <= 0.6 |" in text
    assert "| `cdeepex[generator=gan]` | fmnist-lenet | 8 | 0.700 |  |" in text
    assert "| `cdeepex[generator=gan]`, beginning | fmnist-lenet | 8 | 0.250 | <= 0.8 |" in text
    assert "| `xgem-eq` | fmnist-lenet | 8 | 0.400 |  |" in text and "one training seed" in text


def test_random_networks_have_a_table_of_their_own():
    values = {"feasible": [1.0, 0.0], "trivial": [0.0, 0.0]}
    found = {
        Piece("m", "cdeepex", 1): search([0.0] * 8, [1.0] * 8),
        **{Piece("m", "cdeepex", seed, 2, "he"): {**values, "common": [0.2 * seed]} for seed in (1, 2)},
    }
    text = page(found)
    assert "| He, zero bias (`recommended`) | 4 | 0.30 | 0.50 [" in text and "torch's default" not in text
    assert "| `cdeepex` | m | 8 | 1.00 [" in text and "| 0.00 [0.00, 0.49] |" in text


def test_common_share_of_logits_that_are_known():
    kept = torch.tensor([[1.0, -1.0]]).repeat(4, 1)
    turned = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 1)
    for logits, wanted in ((kept, 1.0), (turned, 0.0), (kept + turned, 0.5)):
        data = SimpleNamespace(load=lambda places: None)
        subject = SimpleNamespace(reference=data, predict_logits=lambda images, given=logits: given)
        assert common_share(subject) == pytest.approx(wanted)


def test_every_search_stands_beside_the_one_without_third_classes():
    names = {(piece.model, piece.explainer) for piece in pieces(seeds=2)}
    for model, name in names:
        if name.startswith("cdeepex") and "printed" not in name:
            assert (model, name.replace("cdeepex", "xgem-eq")) in names
    assert len(pieces(seeds=2)) == 2 * len(pieces()) and all("gan" in piece.label for piece in pieces("gan"))
