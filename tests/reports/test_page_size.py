"""The page of a run at the standard profile stays small enough to be sent around."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic

import reports

EXPLAINERS, PICTURES, STAGES = 24, 4, 13


@pytest.mark.slow
def test_the_page_of_a_standard_run_is_below_15_megabytes(tmp_path, monkeypatch):
    """Maps of noise as large as those of the zoo, as nothing compresses worse; a curve per explainer."""
    layers = tuple(f"features.{number}" for number in range(STAGES))
    monkeypatch.setattr(synthetic, "LAYERS", layers)
    monkeypatch.setattr(synthetic, "CHECKS", ("cascading", "independent"))
    names = [f"explainer-{number:02d}" for number in range(EXPLAINERS)]
    store = synthetic.build(tmp_path / "run", tuple(names), images=PICTURES, seeds=1)
    draw = np.random.default_rng(0)
    images = [synthetic.image_name(number) for number in range(PICTURES)]
    for name in names:
        arrays = {
            "maps": draw.normal(size=(PICTURES, STAGES + 1, 32, 32)).astype(np.float16),
            "images": draw.random((PICTURES, 3, 32, 32)),
        }
        meta = {"subject": synthetic.SUBJECT, "explainer": name, "check": "cascading", "seed": 0, "signed": True}
        key = synthetic.key_of(name, "cascading", 0, synthetic.SUITE)
        store.write_picture(key, arrays, {**meta, "images": images, "layers": list(layers)})
    page, *files = reports.write_report(store.path)
    text = page.read_text()
    grids = sum(f"{image}, {kind} relevance" in text for image in images for kind in ("all", "positive"))
    assert grids == 2 * PICTURES and all(name in text for name in names) and len(files) > grids
    # The maps are there: noise of so many tiles cannot be told in less.
    size = page.stat().st_size
    assert 2e6 < size < 15e6, size
