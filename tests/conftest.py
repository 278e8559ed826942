"""The same draws in every test, whatever ran before it in the same process and on whatever machine."""

import random
import sys

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, and which examples are tried, is no matter of chance; `--hypothesis-profile default` looks further.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Set the global generators back, since which file comes before which depends on how quick each process is."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
