"""Maps that are too small for the windows of a measure, such as those of sentences, are judged by rank correlation."""

from __future__ import annotations

import synthetic

import reports


def test_without_windows_ranks_decide_and_the_reason_says_so(tmp_path):
    explainers = ("edge-detector", "sensitive", "random")
    frame = reports.load(synthetic.build(tmp_path / "run", explainers, images=8, seeds=4).path)
    usual = reports.verdicts(frame)
    assert not usual["reason"].str.contains("by spearman").any()
    small = frame.copy()
    small.attrs = frame.attrs
    rows = small["measure"] == "ssim"
    small.loc[rows, "value"], small.loc[rows, "status"] = None, "not-applicable"
    found = reports.verdicts(small)
    expected = reports.verdicts(frame, measure="spearman")
    assert found["verdict"].tolist() == expected["verdict"].tolist()
    assert found["estimate"].equals(expected["estimate"])
    assert found["reason"].str.endswith("by spearman: the maps are too small for windows").all()
    # Without any values there is nothing to fall back to, and the reason is the usual one.
    small["value"], small["status"] = None, "not-applicable"
    assert set(reports.verdicts(small)["verdict"]) == {"N/A"}
    assert not reports.verdicts(small)["reason"].str.contains("by spearman").any()
