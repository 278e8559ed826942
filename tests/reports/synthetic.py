"""Records of explainers whose behaviour is planted, so that every verdict is known beforehand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from reports.store import Store

LAYERS = ("fc3", "fc2", "fc1", "conv6", "conv5")
MEASURES = ("ssim", "spearman")
SUBJECT = "toy-vgg"
SUITE = "randomization"

# name: similarity at stage 1, decline per stage, ceiling, floor; None where special
PLANTED = {
    "edge-detector": (1.0, 0.0, 1.0, 1.0),
    "guided": (0.98, 0.01, 1.0, 0.1),
    "sensitive": (0.3, 0.05, 1.0, 0.05),
    "random": (0.02, 0.0, 0.02, 0.02),
    "random-by-model": (0.02, 0.0, 1.0, 0.02),
    "borderline": (0.82, 0.0, 1.0, 0.1),
}
EXPECTED = {
    "edge-detector": "FAIL",
    "guided": "FAIL",
    "sensitive": "PASS",
    "random": "UNRELIABLE",
    "random-by-model": "PASS",
    "borderline": "INCONCLUSIVE",
    "constant": "UNDEFINED",
    "failing": "UNDEFINED",
}
CHECKS = ("cascading", "independent", "ceiling", "floor")


def key_of(*parts: object) -> str:
    """A key as the harness makes them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def image_name(number: int) -> str:
    """The stable id of an image."""
    return f"fashion-mnist/test/{number:04d}"


def base_row(explainer: str, check: str, seed: int, suite: str = SUITE) -> dict[str, object]:
    """The columns that all rows of one cell share."""
    return {
        "suite": suite,
        "check": check,
        "subject": SUBJECT,
        "explainer": explainer,
        "seed": seed,
        "stage": None,
        "layer": None,
        "image": None,
        "target": None,
        "measure": None,
        "value": None,
        "status": "ok",
        "seconds": 0.01,
        "cell": key_of(explainer, check, seed, suite),
    }


def cell_rows(explainer: str, check: str, seed: int, images: int, planted=None) -> list[dict[str, object]]:
    """Rows of one cell of one explainer."""
    planted = planted or PLANTED.get(explainer, (0.5, 0.0, 1.0, 0.1))
    first, decline, ceiling, floor = planted
    noise = np.random.default_rng(int(key_of(explainer)[:8], 16))
    by_image = noise.normal(0, 0.05, images)
    own = np.random.default_rng(int(key_of(explainer, check, seed)[:8], 16))
    by_seed = own.normal(0, 0.04)
    stages = {"cascading": range(len(LAYERS) + 1), "independent": range(len(LAYERS) + 1)}
    rows = []
    for stage in stages.get(check, [0 if check == "ceiling" else len(LAYERS)]):
        centre = {"ceiling": ceiling, "floor": floor}.get(check, first - decline * max(stage - 1, 0))
        if stage == 0 and check != "ceiling":
            centre = 1.0
        for image in range(images):
            # What is exactly 1 stays exactly 1.
            spread = 0.0 if centre == 1.0 else by_image[image] + by_seed + own.normal(0, 0.03)
            if explainer in ("random", "random-by-model"):
                spread = own.normal(0, 0.02) if centre != 1.0 else 0.0
            for measure in MEASURES:
                row = base_row(explainer, check, seed)
                row.update(stage=stage, image=image_name(image), target=image % 10, measure=measure)
                row.update(layer=LAYERS[stage - 1] if stage else None, value=min(1.0, centre + spread))
                if explainer == "constant":
                    row.update(value=None, status="degenerate-constant")
                rows.append(row)
    return rows


def health_rows(check: str, seed: int) -> list[dict[str, object]]:
    """Rows about the random models."""
    rows = []
    for stage in range(len(LAYERS) + 1):
        values = {"dead-relu-share": 0.02 * stage, "logit-sd": 2.0, "accuracy": 0.9 if not stage else 0.1}
        for measure, value in {**values, "healthy": 1.0}.items():
            row = base_row("(model)", check, seed)
            row.update(stage=stage, layer=LAYERS[stage - 1] if stage else None, measure=measure, value=value)
            rows.append(row)
    return rows


def cells(explainers=tuple(EXPECTED), images: int = 32, seeds: int = 10) -> list[dict[str, object]]:
    """The plan."""
    counts = {"cascading": seeds, "independent": seeds, "ceiling": 3, "floor": 5}
    names = [image_name(number) for number in range(images)]
    return [
        {
            "key": key_of(explainer, check, seed, SUITE),
            "suite": SUITE,
            "check": check,
            "subject": SUBJECT,
            "explainer": explainer,
            "seed": seed,
            "images": names,
            "rows": None,
        }
        for explainer in explainers
        for check in CHECKS
        for seed in range(counts[check])
    ]


def build(path: Path, explainers=tuple(EXPECTED), images: int = 32, seeds: int = 10) -> Store:
    """A run folder with the planted explainers; `failing` has failures only."""
    protocol = {
        "name": "recommended",
        "hash": "ab" * 32,
        "parameters": {"init": "he", "batchnorm": "recalibrate"},
    }
    measures = {
        "ssim": {
            "check": ["cascading", "independent"],
            "unit": "none",
            "direction": "1 = same map",
            "range": [-1, 1],
            "null": 0,
            "description": "structural similarity, Gaussian window",
        }
    }
    groups = {
        "guided": "modified-backprop",
        "sensitive": "gradient",
        "borderline": "gradient",
        "failing": "relevance",
    }
    cards = {
        name: {
            "signed": True,
            "group": groups.get(name, "reference"),
            "stochastic": name == "random",
            "summary": f"a planted explainer called {name}",
        }
        for name in explainers
    }
    config = {"suite": ["randomization"], "model": ["toy-vgg"], "images": images, "seeds": seeds, "seed": 0}
    store = Store.create(path, config, protocol, measures, cards)
    plan = cells(explainers, images, seeds)
    store.write_plan(plan)
    for cell in plan:
        if cell["explainer"] == "failing":
            info = {
                "type": "UnsupportedOperation",
                "message": "no rule for <b>aten::cumsum</b>",
                "attempt": 1,
            }
            store.write_failure(cell["key"], info)
        else:
            rows = cell_rows(cell["explainer"], cell["check"], cell["seed"], images)
            store.write_records(cell["key"], rows)
    for check in ("health-cascading", "health-independent"):
        for seed in range(seeds):
            store.write_records(key_of("(model)", check, seed, SUITE), health_rows(check, seed))
    store.write_provenance(
        "worker-0",
        {
            "packages": {"torch": "2.14.1"},
            "git": {"commit": "c0ffee", "dirty": False},
            "hardware": {"cpu": "test"},
        },
    )
    return store
