"""The fits that ship for the check `refit`: to the same classifier again and to a random one."""

import pytest

import explainers
import models
from bench import protocols
from bench.checks.fitted import run_block
from explainers.contrastive import fits
from reports import judge_fitted, schema

SHIPPED = [
    # About half of the maps of AE+VAE is there whatever classifier it was fitted to.
    ("fmnist-lenet", "ae-vae", {"random above other"}, {"PASS", "FAIL", "INCONCLUSIVE"}),
    # Those of Progressive Exaggeration have no more in common with the fit to a random classifier than with other images.
    ("fmnist-tshirt-shirt", "progressive-exaggeration", set(), {"PASS"}),
]
IMAGES = 32


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name", "order", "verdicts"), SHIPPED)
def test_shipped_fits_are_judged_without_fitting(model, name, order, verdicts, tmp_path, monkeypatch):
    monkeypatch.setenv(fits.CACHE, str(tmp_path))
    subject = models.load(model)
    indices = subject.select(IMAGES, seed=0)
    (found,) = run_block(
        subject, [explainers.get(name)], indices, 0,
        protocol=protocols.get("recommended"), wanted={("refit", name)}, base=0,
    )  # fmt: skip
    assert found.error is None, found.error
    means = {
        measure: sum(row["value"] for row in found.rows if row["measure"] == f"refit-{measure}") / IMAGES
        for measure in ("same", "random", "other")
    }
    assert means["same"] > 0.2 + max(means["random"], means["other"]), means
    assert (means["random"] > means["other"]) == ("random above other" in order), means
    frame = schema.from_arrow(schema.to_arrow([{**row, "cell": "c"} for row in found.rows], "x"))
    (judged,) = judge_fitted.judge(frame).to_dict("records")
    share = (means["random"] - means["other"]) / (means["same"] - means["other"])
    assert judged["estimate"] == pytest.approx(share, abs=1e-6) and judged["verdict"] in verdicts
