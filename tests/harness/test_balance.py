"""The errors that explainers find when they check their own balance are on record, whether the check holds or not."""

import math

import torch

import bench
import reports
from bench import balance
from reports import balance as read
from reports.answers import answers
from reports.page import completeness, failure_rows
from tests.harness.support import SMALL


def test_largest_errors_and_failed_maps_stand_in_the_provenance_and_on_the_page(tmp_path):
    done = bench.run(**{**SMALL, "seeds": 1}, explainers="toy-gradient,toy-unbalanced,lrp-a1b0", out=tmp_path / "a")
    assert done.complete
    store = reports.Store.open(done.path)
    rows = read.errors(store.provenance())
    assert {row["explainer"] for row in rows} == {"toy-unbalanced", "lrp-a1b0"}
    frame = reports.load(done.path)
    cells = frame[(frame["explainer"] == "toy-unbalanced") & frame["image"].notna()]
    for row in rows:
        own = cells[(cells["check"] == row["check"]) & (cells["stage"] == row["stage"])]
        if row["explainer"] == "lrp-a1b0":
            assert row["failed"] == 0 and 0 <= row["residual"] < 1e-5
        elif row["stage"]:
            lost = own[own["status"] == "failed"].drop_duplicates(["seed", "image"])
            assert row["failed"] == len(lost) > 0 and row["residual"] == 0.25
        else:
            assert row["failed"] == 0 and row["residual"] == 1e-7 and set(own["status"]) <= {"ok"}
        assert row["maps"] >= 3
    walked = {(row["check"], row["stage"]) for row in rows if row["explainer"] == "lrp-a1b0"}
    assert {("cascading", 0), ("cascading", 1), ("cascading", 2)} <= walked
    (said,) = read.sentences(store.provenance())
    assert said.startswith("toy-unbalanced: ") and "largest error of their balance 0.25" in said
    shown = answers(done.verdicts(), store.explainers, {}, failure_rows(store), completeness(store, frame))
    assert dict(shown)["What failed?"] == [said]


def test_a_second_part_of_a_shard_adds_to_the_first(tmp_path):
    store = reports.Store.create(tmp_path / "a", {}, {}, {}, {})
    for residual, failed in ((torch.tensor([1e-6, 0.5]), 1), (torch.tensor([0.125, 1e-6]), 0)):
        with balance.booked(store, "1", ["floor"]), balance.at(["cascading"], 3):
            balance.note("a", 2, failed, residual)
            balance.note("without", 2, 0, None)
    (row,) = read.errors(store.provenance())
    assert row == {"explainer": "a", "check": "cascading", "stage": 3, "maps": 4, "failed": 1, "residual": 0.5}


def test_an_error_that_is_no_number_and_maps_that_serve_several_checks():
    book = balance.Book(["ceiling", "floor"])
    book.note("a", 1, 1, torch.tensor([math.nan]))
    book.note("b", 2, 1, None)
    assert book.entries() == {
        "a": {"ceiling": [[None, 1, 1, None]], "floor": [[None, 1, 1, None]]},
        "b": {"ceiling": [[None, 2, 1, None]], "floor": [[None, 2, 1, None]]},
    }
    lines = read.sentences({"x": {"balance": book.entries()}})
    assert lines == ["a: 2 of 2 maps failed (ceiling; floor).", "b: 2 of 4 maps failed (ceiling; floor)."]
    many = {f"e{n}": {"floor": [[1, 1, 1, None]]} for n in range(7)}
    assert read.sentences({"x": {"balance": many}})[-1] == "So it was with 2 further explainers."


def test_without_a_book_nothing_is_noted():
    with balance.at(["cascading"], 1):
        balance.note("a", 1, 1, None)
