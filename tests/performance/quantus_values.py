"""Write what Quantus' PixelFlipping says of a toy and of fmnist-vgg, so that the agreement is tested where it is not installed.

    pip install quantus==0.6.0
    PYTHONPATH=. python tests/performance/quantus_values.py

The numbers go into tests/checks/data/quantus-pixel-flipping.json, with the versions that made them. Orders are random and without
ties; they follow from a seed, so they are not stored.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench.checks.perturbation.curves import Scene
from tests.checks.perturbed import QUANTUS, flipped

STORED = Path(__file__).parents[1] / "checks" / "data" / "quantus-pixel-flipping.json"


def quantus(scene: Scene, maps: torch.Tensor) -> list[list[float]]:
    """Probability of the class after every step, most relevant pixels first, replaced by black."""
    from quantus import PixelFlipping

    pixels = scene.images[0, 0].numel()
    flip = PixelFlipping(
        features_in_step=pixels // scene.steps, perturb_baseline="black", normalise=False, disable_warnings=True
    )
    found = flip(
        model=scene.module.eval(), x_batch=scene.images.numpy().copy(), y_batch=scene.targets.numpy(),
        a_batch=maps[:, None].numpy(), device="cpu", softmax=True, channel_first=True,
    )  # fmt: skip
    return [[round(float(value), 8) for value in curve] for curve in found]


def main() -> None:
    """Ask Quantus about both models."""
    record: dict[str, Any] = {
        "made by": "tests/performance/quantus_values.py", "quantus": version("quantus"), "torch": torch.__version__,
        "metric": "PixelFlipping(perturb_baseline='black', normalise=False), softmax",
    }  # fmt: skip
    for name in QUANTUS:
        scene, maps = flipped(name)
        record[name] = {"steps": scene.steps, "targets": scene.targets.tolist(), "curves": quantus(scene, maps)}
    STORED.parent.mkdir(exist_ok=True)
    STORED.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {STORED}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
