"""Pairs of explainers: signs, adjustment, agreement with a direct computation."""

from __future__ import annotations

import pytest
import synthetic

import reports
from reports import paired
from reports.contrasts import differences
from reports.grid import blocks


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    names = ("guided", "sensitive", "random-by-model")
    return reports.load(synthetic.build(tmp_path_factory.mktemp("runs") / "a", names, images=6, seeds=4).path)


def test_every_pair_stands_once_and_the_p_are_adjusted(frame):
    table = differences(frame, "cascading", "ssim")
    pairs = [("guided", "random-by-model"), ("guided", "sensitive"), ("random-by-model", "sensitive")]
    assert list(zip(table["first"], table["second"], strict=True)) == pairs
    assert (table["stage"] == 1).all() and (table["n"] == 24).all()
    assert table["difference"].tolist() == pytest.approx([0.02 - 0.98, 0.3 - 0.98, 0.28], abs=0.1)
    found = {
        group[1]: block.at([1]).values[0] for group, block in blocks(frame, "ssim").items() if group[3] == "cascading"
    }
    alone = [paired.difference(found[second] - found[first]).p for first, second in pairs]
    assert table["p"].tolist() == pytest.approx(paired.holm(alone).tolist())


def test_another_stage_can_be_asked_for(frame):
    table = differences(frame, "cascading", "ssim", stage=0)
    assert (table["difference"] == 0).all() and (table["p"] == 1).all()
    assert not len(differences(frame, "cascading", "ssim", stage=99))
