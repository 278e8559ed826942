"""A short campaign; the long one is run by hand."""

import pytest

from tests.faults import campaign

FILES = ("cut at", "bit of a record", "swapped", "pack", "dead processes", "clock")
PROCESSES = ("SIGKILL of both", "Ctrl-C twice")


@pytest.mark.parametrize("kinds", [FILES, pytest.param(PROCESSES, marks=pytest.mark.slow)], ids=["files", "processes"])
def test_nothing_is_lost_wrong_or_stuck(kinds, tmp_path):
    tallies = campaign.run(0.1, kinds, tmp_path)
    assert len(tallies) == len(kinds) and all(tally.faults for tally in tallies.values())
    bad = {kind: tally for kind, tally in tallies.items() if tally.lost or tally.wrong or tally.hangs}
    assert not bad
