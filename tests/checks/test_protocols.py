"""Protocols: declared choices, stable hashes, near names."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest

from bench import protocols
from bench.checks import CHECKS
from bench.checks.similarity import MEASURES
from models.naming import UsageError

HASHES = {
    "recommended": "2cdee17ec3bd27f5c8fe3259570fdf43ef5150372d5a2b2bb5995a5e21dbb4de",
    "nuzzo2020": "f00a884c353c975a0c85bcf6e04ee4b9dc1a4c5b55fec8d781c4a083f7abed7e",
    "adebayo2018": "ed96977901becf1906bfd9fc0ac456f501ced2c50fbc4c1e99e1908c5a6d7e94",
    "sixt2020": "8fa18200083e612984dbe3ec5d935e8ad94502a36c1343265693e242aef83566",
}


@pytest.mark.parametrize("name", list(HASHES))
def test_hashes_are_frozen(name: str) -> None:
    assert protocols.get(name).hash == HASHES[name], "raise the checks' version and freeze the new hash"


def test_every_choice_that_changes_a_number_is_hashed() -> None:
    base = protocols.get("recommended")
    prose = {"source", "unstated", "departures"}
    # Features are in the hash where they are others than the usual ones, by what is in their file.
    assert set(base.parameters()) == {field.name for field in fields(base)} - prose - {"features"}
    assert base.with_(features="inception").hash != base.hash
    assert base.with_(source="elsewhere").hash == base.hash
    others = {
        "name": "x", "init": "permute", "batchnorm": "keep", "target": "label", "reduction": "abs-sum",
        "normalisation": "max-abs", "ssim_window": "uniform", "ssim_size": 7, "ssim_sigma": 1.0, "ssim_range": 2.0,
        "ssim_covariance": "sample", "ssim_flip": True, "floor_draws": 6, "ceiling_repeats": 3, "threshold": 0.3,
        "statistic": "mean-over-seeds",
    }  # fmt: skip
    assert set(others) == set(base.parameters())
    hashes = {base.with_(**{choice: value}).hash for choice, value in others.items()}
    assert len(hashes | {base.hash}) == len(others) + 1


def test_what_a_source_does_not_say_is_as_recommended() -> None:
    base = protocols.get("recommended").parameters()
    for name in protocols.names():
        protocol = protocols.get(name)
        assert set(protocol.unstated) <= set(base)
        for choice in protocol.unstated:
            assert protocol.parameters()[choice] == base[choice], (name, choice)


def test_sources_differ_where_they_are_known_to() -> None:
    batchnorms = [protocols.get(name).batchnorm for name in ("recommended", "adebayo2018", "sixt2020")]
    assert batchnorms == ["recalibrate", "keep", "reset"]
    assert protocols.get("adebayo2018").target == "randomised-prediction"
    assert protocols.get("sixt2020").ssim_size == 5


def test_unknown_names_and_choices() -> None:
    with pytest.raises(UsageError, match="did you mean 'nuzzo2020'"):
        protocols.get("nuzo2020")
    with pytest.raises(UsageError, match="allowed are he, default"):
        protocols.get("recommended").with_(init="xavier")
    with pytest.raises(UsageError, match="did you mean 'floor_draws'"):
        protocols.get("recommended").with_(floor_draw=2)
    with pytest.raises(UsageError, match="odd number"):
        protocols.get("recommended").with_(ssim_size=6)
    with pytest.raises(UsageError, match="affine-pQ"):
        protocols.get("recommended").with_(normalisation="affine-p0")


def test_protocols_are_frozen_and_json_able() -> None:
    protocol = protocols.get("recommended")
    with pytest.raises(FrozenInstanceError):
        protocol.init = "permute"  # type: ignore[misc]
    assert json.loads(json.dumps(protocol.parameters())) == protocol.parameters()


def test_the_table_of_checks_matches_the_measures() -> None:
    for name in ("cascading", "independent", "ceiling", "floor"):
        declared = [measure.name for measure in CHECKS[name].measures if measure.per == "image"]
        assert tuple(declared) == MEASURES
        assert CHECKS[name].per_image == len(MEASURES)
    assert CHECKS["cascading"].per_stage == 1
    assert CHECKS["floor"].per_stage == 0
    assert CHECKS["health-cascading"].per_stage == 4
    for info in CHECKS.values():
        for measure in info.measures:
            assert measure.record()["range"] == [measure.low, measure.high]


def test_tables_and_protocols_are_free_of_torch() -> None:
    code = "import sys, bench.checks, bench.protocols; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
