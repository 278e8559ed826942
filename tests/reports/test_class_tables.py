"""Tables of class discrimination: means with and without the certificate, and how many pairs it keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports import schema
from reports.class_tables import certificates, discrimination
from reports.render import suite_tables

IMAGES = 10
KEPT = np.array([1, 1, 1, 1, 1, 1, 0, 0, np.nan, np.nan])
"""Six pairs are certified, two are not, two images cannot be asked about."""


def rows(explainer, measure, values, check="grid-localisation", status=None):
    told = ["not-applicable" if np.isnan(value) else status or "ok" for value in values]
    return [
        {"suite": "class-discrimination", "check": check, "subject": "toy", "explainer": explainer, "seed": 0,
         "stage": None, "layer": None, "image": f"toys/{number:04d}", "target": 1, "measure": measure,
         "value": float(value) if state == "ok" else None, "status": state, "seconds": 0.0, "cell": "x"}
        for number, (value, state) in enumerate(zip(values, told, strict=True))
    ]  # fmt: skip


def records():
    mass = np.where(KEPT == 1, 0.9, np.where(KEPT == 0, 0.3, np.nan))
    found = [*rows("e", "mass", mass), *rows("e", "certified", KEPT), *rows("e", "abstains", KEPT * 0)]
    return schema.check(pd.DataFrame(found))


def test_means_with_and_without_the_certificate():
    row = discrimination(records()).set_index("measure").loc["mass"]
    assert row["certified"] == pytest.approx(0.9) and row["kept"] == 6
    assert row["all"] == pytest.approx((6 * 0.9 + 2 * 0.3) / 8) and row["n"] == 8
    assert row["all_low"] < row["all"] < row["all_high"]


def test_a_map_without_positive_relevance_counts_as_nothing_on_the_evidence():
    silent = [*rows("e", "mass", np.full(IMAGES, 0.5), status="degenerate-zero"),
              *rows("e", "abstains", np.ones(IMAGES)), *rows("e", "certified", np.ones(IMAGES))]  # fmt: skip
    row = discrimination(schema.check(pd.DataFrame(silent))).set_index("measure").loc["mass"]
    assert row["certified"] == 0 and row["kept"] == IMAGES


def test_kept_shares_count_what_was_left_out():
    (row,) = certificates(records()).to_dict("records")
    assert (row["images"], row["left_out"], row["asked"], row["kept"], row["share"]) == (10, 2, 8, 6, 0.75)


def test_without_certificates_there_is_no_share_and_no_certified_mean():
    frame = schema.check(pd.DataFrame(rows("e", "ssim", np.full(IMAGES, 0.5), "class-similarity-top2")))
    assert len(certificates(frame)) == 0
    (row,) = discrimination(frame).to_dict("records")
    assert row["kept"] == 0 and np.isnan(row["certified"]) and row["all"] == 0.5 and row["n"] == IMAGES


def test_a_report_holds_the_tables_of_the_suites_that_ran():
    assert set(suite_tables(records())) == {"class-discrimination", "certificates"}
