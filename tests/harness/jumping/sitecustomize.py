"""On PYTHONPATH, this makes the time of day jump by years at every look; CLOCK_LOG gets a line per process that looked."""

import os
import random
import time

_real, _draw, _seen = time.time, random.Random(os.getpid()), []
YEAR = 365.25 * 86_400


def _jumping() -> float:
    if not _seen:
        _seen.append(os.getpid())
        with open(os.environ["CLOCK_LOG"], "a") as file:
            file.write(f"{os.getpid()}\n")
    return _real() + YEAR * _draw.uniform(-20.0, 20.0)


if "CLOCK_LOG" in os.environ:  # and nowhere else, whoever imports this file
    time.time = _jumping
