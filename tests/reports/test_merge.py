"""Joining runs: nothing lost, nothing doubled, disagreement told."""

from __future__ import annotations

import pandas as pd
import pytest
import synthetic
from typer.testing import CliRunner

import reports
from reports.files import RunFolderError

NAMES = ("guided", "sensitive")


def half(path, part):
    """A run that lacks the cells of the other part."""
    store = synthetic.build(path, NAMES, images=3, seeds=4)
    for cell in store.plan():
        if cell["seed"] % 2 != part:
            (path / "records" / cell["key"][:2] / f"{cell['key']}.parquet").unlink()
    return reports.Store.open(path)


def test_two_halves_are_the_whole(tmp_path):
    whole = synthetic.build(tmp_path / "whole", NAMES, images=3, seeds=4)
    one, two = half(tmp_path / "a", 0), half(tmp_path / "b", 1)
    one.write_picture(next(iter(one.done())), {"maps": [[[[1.0]]]], "images": [[[[1.0]]]]}, {"subject": "m"})
    two.write_provenance("worker-2", {"host": "b"})
    merged = reports.merge_runs([one.path, two.path], tmp_path / "out")
    health = 2 * 4
    assert (merged.planned, merged.missing, merged.shared) == (2 * (4 + 4 + 3 + 5), 0, health)
    assert not len(merged.disagreements)
    joined, known = reports.load(tmp_path / "out"), reports.load(whole.path)
    pd.testing.assert_frame_equal(joined.sort_values([*joined.columns[:9], "measure"], ignore_index=True),
                                  known.sort_values([*known.columns[:9], "measure"], ignore_index=True))  # fmt: skip
    pd.testing.assert_frame_equal(reports.verdicts(joined), reports.verdicts(known))
    assert len(reports.Store.open(tmp_path / "out").read_pictures()) == 1
    assert {"worker-0", "worker-2"} <= reports.Store.open(tmp_path / "out").provenance().keys()
    assert reports.merge_runs([one.path, two.path], tmp_path / "out") is not None, "it can be repeated"


def test_cells_that_disagree_are_named_and_the_first_is_kept(tmp_path):
    one, two = (synthetic.build(tmp_path / name, NAMES, images=3, seeds=2) for name in "ab")
    key = synthetic.key_of("guided", "cascading", 1, synthetic.SUITE)
    rows = two.records([key])
    values, statuses = rows["value"].to_numpy().copy(), rows["status"].to_list()
    values[3] += 0.25
    values[5] += 1e-9
    values[7], statuses[7] = float("nan"), "non-finite"
    two.write_records(key, rows.assign(value=values, status=statuses))
    merged = reports.merge_runs([one.path, two.path], tmp_path / "out")
    found = merged.disagreements.iloc[0]
    assert len(merged.disagreements) == 1 and (found["explainer"], found["check"], found["seed"]) == (
        "guided",
        "cascading",
        1,
    )
    assert found["values"] == 1 and found["largest"] == pytest.approx(0.25) and found["statuses"] == 1
    kept = reports.Store.open(tmp_path / "out").records([key])
    pd.testing.assert_frame_equal(kept, one.records([key]))


def test_missing_cells_and_failures_stay_visible(tmp_path):
    from bench.cli import app

    one = half(tmp_path / "a", 0)
    lost = synthetic.key_of("guided", "cascading", 1, synthetic.SUITE)
    one.write_failure(lost, {"type": "E", "message": "m"})
    done = CliRunner().invoke(app, ["merge", str(one.path), str(one.path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 3 and "cells" in done.stdout
    assert reports.Store.open(tmp_path / "out").failures()[lost]["type"] == "E"


def test_what_does_not_belong_together_is_refused(tmp_path, monkeypatch):
    one = synthetic.build(tmp_path / "a", NAMES, images=2, seeds=2)
    other = reports.Store.create(tmp_path / "b", {"images": 9}, one.protocol, {}, {})
    with pytest.raises(RunFolderError, match=r"a and .*b cannot be joined.*another configuration each.*images") as told:
        reports.merge_runs([one.path, other.path], tmp_path / "out1")
    assert "out1" not in str(told.value) and not (tmp_path / "out1").exists()
    with pytest.raises(RunFolderError, match="is one of the runs"):
        reports.merge_runs([one.path], one.path)
    real = synthetic.key_of
    monkeypatch.setattr(synthetic, "key_of", lambda *parts: real("other weights", *parts))
    third = synthetic.build(tmp_path / "c", NAMES, images=2, seeds=2)
    with pytest.raises(RunFolderError, match="under other weights"):
        reports.merge_runs([one.path, third.path], tmp_path / "out2")
    assert not (tmp_path / "out2").exists()
