"""Keeping maps: what the run measured can be measured again from them, within a bound, and not unless asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bench
import reports
from models.naming import UsageError
from reports.maps import read_maps

TOY = Path(__file__).parent / "toy.py"
OPTIONS = {
    "suite": "smoke", "model": f"{TOY}:model", "data": "fashion-mnist", "plugin": str(TOY), "jobs": 1,
    "explainers": "toy-gradient,toy-noisy", "images": 5, "seeds": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return bench.run(**OPTIONS, keep_maps="50MB", out=str(tmp_path_factory.mktemp("runs") / "a"))


def test_the_recommended_choice_gives_the_run_again(kept):
    frame = kept.frame()
    found = reports.rescore(kept.path)
    table = kept.verdicts()
    for name in ("toy-gradient", "toy-noisy", "random", "edge-detector"):
        first = found.universes[found.universes["explainer"] == name].iloc[0]
        row = table[(table["explainer"] == name) & (table["check"] == "cascading")].iloc[0]
        # The draws depend on where the toy lies; an interval of so few images that ends near the threshold may fall either way.
        ends = (first["ci_low"], first["ci_high"], row["ci_low"], row["ci_high"])
        assert first["verdict"] == row["verdict"] or any(abs(end - 0.2) < 0.3 for end in ends), name
        assert (np.isnan(first["estimate"]) and np.isnan(row["estimate"])) or first["estimate"] == pytest.approx(
            row["estimate"], abs=0.02
        )
        assert first["images"] == 5 and first["seeds"] == 2
    assert len(frame) and found.summary["share"].between(0, 1).all()


@pytest.mark.slow
def test_pictures_of_the_page_stay_as_they_are(kept, tmp_path):
    plain = bench.run(**OPTIONS, out=str(tmp_path / "b"))
    assert read_maps(plain.path) == [] and not (plain.path / "maps").exists()
    one, other = (reports.Store.open(run.path).read_pictures() for run in (kept, plain))
    assert [each.key for each in one] == [each.key for each in other] and one
    for first, second in zip(one, other, strict=True):
        assert first.meta == second.meta and len(first.meta["images"]) == 4
        np.testing.assert_array_equal(first.arrays["maps"], second.arrays["maps"])
    for first, second in zip(kept.frame()["value"], plain.frame()["value"], strict=True):
        assert first == second or (np.isnan(first) and np.isnan(second))


def test_a_bound_is_kept(tmp_path):
    cells = 7 * (2 + 2 + 2)
    limit = 2 * 2 * cells * 28 * 28 * 3 + 100
    run = bench.run(**OPTIONS, keep_maps=f"{limit / 1000}KB", out=str(tmp_path / "a"))
    found = read_maps(run.path)
    assert found and {len(each.meta["images"]) for each in found} <= {1, 2, 3}
    assert sum(each.arrays["maps"].nbytes for each in found) <= limit
    with pytest.raises(UsageError, match="--keep-maps 'all'"):
        bench.run(**OPTIONS, keep_maps="all")
