"""A short campaign; the long one is run by hand."""

import pytest

from tests.faults import campaign

QUICK = ("cut at", "bit of a record", "swapped", "pack", "dead processes", "clock")
SLOW = (
    "SIGKILL of both",
    "hangs in native",
    "hangs in Python",
    "os._exit",
    "forks",
    "leaves threads",
    "twice",
    "at once",
)


@pytest.mark.parametrize(
    ("kinds", "scale"), [(QUICK, 0.1), pytest.param(SLOW, 0.2, marks=pytest.mark.slow)], ids=["files", "processes"]
)
def test_nothing_is_lost_wrong_or_stuck(kinds, scale, tmp_path):
    tallies = campaign.run(scale, kinds, tmp_path)
    assert len(tallies) == len(kinds) and all(tally.faults for tally in tallies.values())
    bad = {kind: tally for kind, tally in tallies.items() if tally.lost or tally.wrong or tally.hangs}
    assert not bad
