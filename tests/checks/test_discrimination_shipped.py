"""The shipped classifiers with known evidence: what is known of each explainer there, and of the references."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import explainers
import models
from bench import protocols
from bench.checks.discrimination import run_block
from models.base import Subject
from models.truth import stored
from reports import schema, stats
from reports.judge_class import judge

pytestmark = pytest.mark.slow

LRP = ("lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "lrp-a5b4")
MAPS = ("gradient", "input-x-gradient", "gradcam", "guided-backprop", *LRP)
COSTLY = ("integrated-gradients", "occlusion")
BLIND = ("input", "edge-detector", "centre")
NOISE = ("random", "random-by-model")


def scored(subject: Subject, indices: list[int], names: tuple[str, ...], checks: tuple[str, ...]) -> pd.DataFrame:
    """Records of some checks on some images."""
    members = [explainers.get(name) for name in names]
    wanted = {(check, name) for check in checks for name in names}
    protocol = protocols.get("recommended")
    results = list(run_block(subject, members, indices, 0, protocol=protocol, wanted=wanted, base=0))
    assert not [result.error for result in results if result.error]
    return schema.check(pd.DataFrame([row for result in results for row in result.rows]).assign(cell="x"))


@cache
def mosaics() -> pd.DataFrame:
    """Mosaics of four classes under all explainers; the costly ones on fewer."""
    subject = models.load("fmnist-mosaic")
    truth = subject.data.truth
    assert truth is not None
    four = [index for index in subject.select(100, 0) if len(truth.present(index)) == 4]
    checks = ("grid-localisation", "class-similarity", "class-ceiling", "class-floor")
    cheap = scored(subject, four[:32], (*MAPS, *BLIND, *NOISE, "oracle"), checks)
    return pd.concat([cheap, scored(subject, four[:8], COSTLY, ("grid-localisation",))], ignore_index=True)


def mean(frame: pd.DataFrame, explainer: str, check: str, measure: str) -> float:
    """Mean over the certified pairs."""
    own = frame[(frame["explainer"] == explainer) & (frame["check"] == check)]
    kept = own[(own["measure"] == "certified") & (own["value"] == 1)]["image"]
    return float(own[(own["measure"] == measure) & own["image"].isin(kept)]["value"].mean())


def test_the_certificate_keeps_most_pairs_that_the_model_finds() -> None:
    certificate = stored(models.load("fmnist-mosaic"))
    assert certificate is not None and certificate.verdict == "certified"
    assert certificate.kept_share >= 0.85
    found = [pair for pair in certificate.pairs if pair.found]
    assert np.mean([pair.kept for pair in found]) >= 0.85
    truth = models.load("fmnist-mosaic").data.truth
    assert truth is not None
    four = [pair for pair in found if len(truth.present(pair.index)) == 4]
    assert np.mean([pair.kept for pair in four]) >= 0.85


@pytest.mark.parametrize(
    ("explainer", "least"),
    [("occlusion", 0.75), ("lrp-a3b2", 0.6), ("gradient", 0.4), ("input-x-gradient", 0.4), ("integrated-gradients", 0.4),
     ("gradcam", 0.4)],
)  # fmt: skip
def test_where_the_relevance_lies(explainer: str, least: float) -> None:
    assert mean(mosaics(), explainer, "grid-localisation", "mass") >= least


def test_where_the_relevance_of_a2b1_lies_on_many_mosaics() -> None:
    # 0.61, interval 0.58 to 0.64: 32 mosaics are too few to tell it from 0.6.
    subject = models.load("fmnist-mosaic")
    truth = subject.data.truth
    assert truth is not None
    four = [index for index in subject.select(320, 0) if len(truth.present(index)) == 4][:160]
    blocks = [four[start : start + 16] for start in range(0, 160, 16)]
    found = pd.concat([scored(subject, block, ("lrp-a2b1",), ("grid-localisation",)) for block in blocks])
    assert mean(found, "lrp-a2b1", "grid-localisation", "mass") >= 0.6


@pytest.mark.parametrize("explainer", ["lrp-a1b0", "input", *NOISE])
def test_what_is_blind_to_the_class_is_at_chance(explainer: str) -> None:
    assert mean(mosaics(), explainer, "grid-localisation", "mass") == pytest.approx(0.25, abs=0.05)


def test_the_maps_of_two_classes() -> None:
    same = {name: mean(mosaics(), name, "class-similarity", "ssim") for name in (*MAPS, *BLIND, "random-by-model")}
    assert same["lrp-a1b0"] >= 0.95 and same["guided-backprop"] >= 0.7
    assert same["gradient"] <= 0.45 and same["gradcam"] <= 0.45
    for before, later in pairwise(LRP):
        assert same[later] <= same[before] + 0.02, (before, later)
    assert same["edge-detector"] == same["input"] == same["centre"] == same["random-by-model"] == 1.0


def test_the_gate() -> None:
    table = judge(mosaics()).set_index(["explainer", "check"])["verdict"]
    found = table.xs("grid-localisation", level="check").to_dict()
    assert {found[name] for name in ("lrp-a1b0", *BLIND, "random-by-model")} == {"FAIL"}
    assert found["random"] != "PASS" and found["oracle"] == "PASS"
    assert {found[name] for name in ("gradient", "input-x-gradient", "gradcam", "lrp-a2b1")} == {"PASS"}


def test_the_oracle_is_exactly_right_and_noise_holds_chance_in_its_interval() -> None:
    own = mosaics()
    located = own[(own["check"] == "grid-localisation") & (own["status"] == "ok")]
    for measure in ("mass", "hit", "auprc"):
        values = located[(located["explainer"] == "oracle") & (located["measure"] == measure)]["value"]
        assert (values == 1.0).all()
    for name in NOISE:
        values = located[(located["explainer"] == name) & (located["measure"] == "mass")]["value"].to_numpy()
        (interval,) = stats.mean_over_images(values[None])
        assert interval.low < 0.25 < interval.high, (name, interval)


def test_separate_heads_leave_exactly_nothing_outside() -> None:
    subject = models.load("fmnist-difull")
    names = (
        "gradient",
        "input-x-gradient",
        "integrated-gradients",
        "deeplift",
        *LRP,
        "guided-backprop",
        "edge-detector",
    )
    found = judge(scored(subject, subject.select(8, 0), names, ("exact-zero",))).set_index("explainer")["verdict"]
    assert found["edge-detector"] == "FAIL"
    assert set(found.drop("edge-detector")) == {"PASS"}, found.to_dict()


def test_planted_cues() -> None:
    subject = models.load("fmnist-cue")
    names = ("gradient", "input-x-gradient", "edge-detector", "input", "centre", "random", "oracle")
    frame = scored(subject, subject.select(48, 0), names, ("planted-cue", "class-similarity"))
    found = judge(frame[frame["check"] == "planted-cue"]).set_index("explainer")["verdict"]
    assert found["oracle"] == "PASS" and found["gradient"] == "PASS"
    assert {found[name] for name in ("edge-detector", "input", "centre")} == {"FAIL"} and found["random"] != "PASS"
    mass = frame[(frame["check"] == "planted-cue") & (frame["explainer"] == "oracle") & (frame["measure"] == "mass")]
    answered = mass[mass["status"] == "ok"]["value"]
    assert len(answered) >= 40 and (answered == 1.0).all()
