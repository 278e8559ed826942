"""What is known of perturbation on the shipped classifier, with intervals over images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import explainers
import models
from bench import protocols
from bench.checks.perturbation import run_block

pytestmark = pytest.mark.slow

IMAGES = 48
AHEAD = {
    "perturbation-black": ("input-x-gradient", "integrated-gradients", "occlusion", "input"),
    "perturbation-uniform": ("integrated-gradients[baseline=blur]",),
    "perturbation-mean": ("integrated-gradients[baseline=blur]",),
    "perturbation-blur": ("integrated-gradients[baseline=blur]",),
    "perturbation-road": ("integrated-gradients[baseline=blur]", "input"),
}
CHANCE = ("random", "random-by-model")


@pytest.fixture(scope="module")
def differences() -> dict[tuple[str, str], np.ndarray]:
    """ABPC minus that of random order per image, by check and explainer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    subject = models.load("fmnist-vgg")
    found: dict[tuple[str, str], np.ndarray] = {}
    for check, ahead in AHEAD.items():
        names = (*ahead, *CHANCE)
        members = [explainers.get(name) for name in names]
        wanted = {(check, name) for name in names}
        protocol = protocols.get("recommended")
        for result in run_block(subject, members, subject.select(IMAGES), 0, protocol=protocol, wanted=wanted, base=0):
            assert result.error is None, result.error
            columns: dict[str, list[float]] = {"abpc": [], "abpc-random": []}
            for row in result.rows:
                if row["measure"] in columns and row["status"] == "ok":
                    columns[row["measure"]].append(row["value"])
            found[check, result.explainer] = np.subtract(columns["abpc"], columns["abpc-random"])
    torch.set_num_threads(threads)
    return found


def bounds(values: np.ndarray, z: float = 1.96) -> tuple[float, float]:
    reach = z * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


@pytest.mark.parametrize(("check", "name"), [(check, name) for check, ahead in AHEAD.items() for name in ahead])
def test_these_are_ahead_of_random_order(differences: dict[tuple[str, str], np.ndarray], check: str, name: str) -> None:
    assert len(differences[check, name]) >= 0.85 * IMAGES
    assert bounds(differences[check, name])[0] > 0


@pytest.mark.parametrize("check", AHEAD)
def test_random_maps_are_random_orders(differences: dict[tuple[str, str], np.ndarray], check: str) -> None:
    for name in CHANCE:
        # Wider than 95%: ten intervals are asked at once.
        low, high = bounds(differences[check, name], z=3.0)
        assert low < 0 < high


def test_a_replacement_rewards_the_baseline_that_it_shares(differences: dict[tuple[str, str], np.ndarray]) -> None:
    blur, black = "integrated-gradients[baseline=blur]", "integrated-gradients"
    assert differences["perturbation-blur", blur].mean() > 0.3 + differences["perturbation-uniform", blur].mean()
    # The brightness of the image, which knows nothing of the model, is ahead of both under black.
    assert bounds(differences["perturbation-black", "input"] - differences["perturbation-black", black])[0] > 0
