"""The page of figures on contrastive explainers: what it says of values that are known."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.contrastive import Piece, pieces
from bench.contrastive_page import page
from bench.contrastive_random import common_share
from bench.contrastive_wanted import AIMS, KINDS, Estimate, asked, estimate, estimated_share, met

ROOT = Path(__file__).parents[2]


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
    found = estimate(values)
    assert found.value == 49.5 and found.words(3).startswith("49.500 [")
    assert found.high - found.low == pytest.approx(4 * values.std() / 10, rel=0.1)
    assert estimate(np.array([1.0, np.nan, 3.0])).value == 2 and estimate(values, np.median).value == 49.5
    assert estimate(np.array([])).words() == "none"


def test_met_looks_at_the_figure_and_says_where_the_interval_goes_beyond():
    found = Estimate(0.5, 0.4, 0.6)
    answers = {wanted: met(found, wanted) for wanted in ("<= 0.6", ">= 0.4", "<= 0.5", ">= 0.55", "<= 0.4", "")}
    beyond = "yes; not all of the interval"
    assert list(answers.values()) == ["yes", "yes", beyond, "no", "no", ""]
    wanted = ">= 0.3 and the interval above 0"
    assert met(found, wanted) == "yes" and met(Estimate(0.5, -0.1, 0.6), wanted) == "no"
    assert met(Estimate(np.nan, np.nan, np.nan), "<= 0.6") == "no"


def test_everything_that_was_asked_of_searches_stands_in_one_table_with_its_answer():
    images = 400
    good = {"apart": 0.02, "pair": 0.9, "third": 0.0, "feasible": 1.0, "inside": 1.0, "after": 0.0}
    bad = {"apart": 0.2, "pair": 0.05, "third": 1.0, "feasible": 0.0, "inside": 0.0, "after": 1.0}
    for kept, other, answer in ((good, bad, "yes"), (bad, good, "no")):
        values, others = ({key: np.full(images, one) for key, one in each.items()} for each in (kept, other))
        names = {(aim.model, aim.explainer) for aim in AIMS}
        joined = {(model, name): others if "printed" in name else values for model, name in names}
        joined |= {
            (model, name.replace("cdeepex", "xgem-eq")): others for model, name in names if "printed" not in name
        }
        rows = [line for line in asked(joined).splitlines() if line.startswith("| ") and "fmnist" in line]
        assert len(rows) == len(AIMS) == 20 and all(row.endswith(f"| {answer} |") for row in rows), answer
    assert asked({}) == "" and {aim.kind for aim in AIMS} <= set(KINDS)


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
    assert "| `siamese-ae-vae` |" in text and "| >= 0.9 | yes; not all of the interval |" in text


def test_shares_without_variation_have_an_interval_with_width():
    # Wilson 1927 for none and for all of 64, from the quadratic: z^2 / (n + z^2)
    edge = 1.96**2 / (64 + 1.96**2)
    assert estimated_share(np.zeros(64)).words(4) == f"0.0000 [0.0000, {edge:.4f}]"
    assert estimated_share(np.ones(64)).words(4) == f"1.0000 [{1 - edge:.4f}, 1.0000]"
    some = np.array([1.0] * 16 + [0.0] * 48)
    assert estimated_share(some) == estimate(some) and estimated_share(np.array([])).words() == "none"


def test_costs_have_limits_where_there_are_some_and_beginnings_a_row_of_their_own():
    sought = {**search([0.0] * 8, [1.0] * 8, 0.7), "beginning": [0.25] * 8}
    found = {
        Piece("fmnist-lenet", "cdeepex[probe=random]", 1): search([0.0] * 8, [1.0] * 8, 0.5),
        Piece("fmnist-lenet", "cdeepex[generator=gan]", 1): sought,
        Piece("fmnist-lenet", "xgem-eq", 1): search([0.0] * 8, [1.0] * 8, 0.4),
    }
    text = page(found)
    assert "| `cdeepex[probe=random]` | fmnist-lenet | 8 | 0.500 | <= 0.6 | yes |" in text
    assert "| `cdeepex[generator=gan]` | fmnist-lenet | 8 | 0.700 |  |  |" in text
    assert "| `cdeepex[generator=gan]`, beginning | fmnist-lenet | 8 | 0.250 | <= 0.8 | yes |" in text
    assert "| `xgem-eq` | fmnist-lenet | 8 | 0.400 |  |  |" in text and "one training seed" in text


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


def test_what_the_page_points_to_is_there():
    text = page({Piece("m", "cdeepex", 1): search([0.0] * 8, [1.0] * 8)})
    told = text[text.index("found elsewhere") :]
    assert "6.5 CPU min" in told and "met: yes" in told
    named = re.findall(r"`(tests/[^`]+)`|\]\(([^)]+)\)", told)
    assert len(named) == 6 and all((ROOT / test if test else ROOT / "docs" / page_).is_file() for test, page_ in named)


def test_a_cut_piece_has_a_file_of_its_own_and_the_others_keep_theirs(tmp_path):
    plain, cut = (Piece("fmnist-lenet", "cdeepex", 1, cut=each) for each in (False, True))
    assert plain.file(tmp_path) != cut.file(tmp_path) and cut.label == "fmnist-lenet cdeepex cut seed 1"
    found = {plain: search([0.0] * 8, [1.0] * 8), cut: {"inside": [1.0] * 8, "after": [0.0] * 6 + [1.0] * 2}}
    text = page(found)
    assert "cut to [0, 1] during the search: images on the boundary | `cdeepex` | fmnist-lenet | 8 | 1.00 [" in text
    assert "cut after the search: images on the boundary | `cdeepex` | fmnist-lenet | 8 | 0.25 [" in text
