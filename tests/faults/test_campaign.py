"""A short campaign, and what it counts; the long one is run by hand."""

import pytest

import reports
from tests.faults import campaign

QUICK = ("cut at", "bit of a record", "swapped", "pack", "dead processes", "clock set")
FILES = ("record file", "pack", "clock set", "dead processes")
TOGETHER = "toy-sleeper,toy-quitter,toy-broken,toy-meddler,toy-loud,toy-leaky,toy-forking"
"""Explainers that misbehave and let their process live; those that end it cost a new process for each of their cells."""


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A campaign that has injected nothing yet."""
    made = campaign.Campaign(tmp_path_factory.mktemp("campaign"))
    yield made
    made.again.end()


def bad(tallies):
    """The kinds that did harm, or were not injected."""
    return {
        kind: tally
        for kind, tally in tallies.items()
        if tally.lost or tally.wrong or tally.hangs or not (tally.faults or tally.note)
    }


@pytest.mark.parametrize("kinds", [QUICK, pytest.param(FILES, marks=pytest.mark.slow)], ids=["some", "all"])
def test_nothing_is_lost_wrong_or_stuck_after_damage_to_files(kinds, tmp_path):
    tallies = campaign.run(0.01, kinds, tmp_path)
    assert len(tallies) == (len(campaign.DAMAGE) if kinds is FILES else len(kinds)) and not bad(tallies)


@pytest.mark.slow
def test_nothing_is_lost_wrong_or_stuck_after_harm_to_processes(short):
    tally = campaign.Tally()
    campaign.killed(short, tally, "the parent,Ctrl-C twice", 2)
    assert not bad({"in turn": tally})


@pytest.mark.slow
def test_nothing_is_lost_wrong_or_stuck_beside_explainers_that_misbehave(short):
    tally = campaign.Tally()
    campaign.guilty(short, tally, TOGETHER, 1, 3)
    assert not bad({"together": tally})


def test_a_command_that_takes_too_long_is_ended_and_counted(short, monkeypatch):
    tally, again = campaign.Tally(), campaign.Again({**campaign.SMALL, "explainers": "toy-slow"})
    monkeypatch.setattr(campaign, "LIMIT", 0.05)
    monkeypatch.setattr(short, "again", again)
    monkeypatch.setenv("TOY_SLEEP", "1000")
    short.go_on(short.fresh(finished=False), tally)
    assert (tally.hangs, tally.lost, tally.wrong) == (1, 0, 0) and again._process is None


def test_what_is_lost_and_what_is_wrong_is_counted(short):
    tally, out = campaign.Tally(), short.fresh()
    store = reports.Store.open(out)
    key, other = sorted(store.done())[:2]
    frame = store.records()
    rows = frame[frame["cell"] == key].astype(object).where(lambda part: part.notna(), None).to_dict("records")
    store.write_records(key, [{**row, "target": 77} for row in rows])
    (out / "records" / other[:2] / f"{other}.parquet").unlink()
    short.compare(out, tally)
    assert (tally.lost, tally.wrong) == (1, 2)


def test_a_command_that_ends_with_an_error_loses_its_cells(short):
    tally, out = campaign.Tally(), short.fresh()
    (out / "config.json").write_text("{}")
    short.go_on(out, tally)
    assert tally.lost >= len(short.keys)


@pytest.mark.parametrize("inject", [campaign.full_disk, campaign.read_only])
def test_what_this_machine_does_not_allow_is_said_in_the_table(inject, short, monkeypatch):
    tally = campaign.Tally()
    monkeypatch.setattr(campaign, "mounted", lambda *given: False)
    inject(short, tally, 1)
    assert "| disk full | not injected: this user may not mount a file system | 0 |" in campaign.table(
        {"disk full": tally}
    )
