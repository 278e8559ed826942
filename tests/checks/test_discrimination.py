"""Class discrimination on toy mosaics: known answers, what is left out, what fails apart, what never matters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench import protocols
from bench.checks import CHECKS, CellResult
from bench.checks.asked import ask
from bench.checks.discrimination import run_block
from models.base import Subject
from models.data import ImageSet
from reports import schema
from reports.judge_class import judge

from .fakes import copied, gradient, noise
from .scenery import CLASSES, ClassCard, Plain, broken, by_image, finder, items, mosaics, oracle, plain, vandal

RECOMMENDED = protocols.get("recommended")
INDICES = list(range(16))
PAIRED = ("class-similarity", "class-similarity-top2", "class-similarity-least")


def asked(
    members: Iterable[Plain],
    checks: Collection[str],
    model: Subject | None = None,
    indices: Sequence[int] = INDICES,
    seed: int = 0,
    **more: Any,
) -> dict[tuple[str, str], CellResult]:
    members = list(members)
    wanted = {(check, member.name) for member in members for check in checks}
    results = run_block(model or finder(), members, indices, seed, protocol=RECOMMENDED, wanted=wanted, base=9, **more)  # type: ignore[arg-type]
    found = {(result.check, result.explainer): result for result in results}
    assert set(found) == wanted
    return found


def frame(result: CellResult) -> pd.DataFrame:
    assert result.error is None, result.error
    return schema.check(pd.DataFrame(result.rows).assign(cell="x"))


def values(result: CellResult, measure: str) -> np.ndarray:
    rows = frame(result)
    rows = rows[(rows["measure"] == measure) & (rows["status"] == "ok")]
    return rows["value"].to_numpy()


def test_the_toy_model_finds_every_item_from_its_own_cell_alone() -> None:
    rows = frame(asked([Plain("o", oracle)], ["grid-localisation"])["grid-localisation", "o"])
    certified = rows[rows["measure"] == "certified"]
    assert (certified["status"] == "ok").all() and (certified["value"] == 1).all()


def test_the_oracle_is_exactly_right_and_a_copy_of_the_image_exactly_blind() -> None:
    found = asked([Plain("o", oracle), Plain("copy", copied)], ["grid-localisation", "class-similarity"])
    for measure in ("mass", "mass-abs", "hit", "auprc", "contrast"):
        assert (values(found["grid-localisation", "o"], measure) == 1.0).all(), measure
    for measure in ("ssim", "ssim-7", "spearman", "spearman-abs", "hog", "cosine"):
        assert (values(found["class-similarity", "copy"], measure) == 1.0).all(), measure
    assert (values(found["grid-localisation", "copy"], "contrast") == 0.0).all()
    assert (values(found["class-similarity", "o"], "ssim") < 0.9).all()


def test_the_gradient_of_a_local_model_is_local() -> None:
    found = asked([Plain("g", gradient), Plain("n", by_image)], ["grid-localisation"])
    assert (values(found["grid-localisation", "g"], "mass-abs") == 1.0).all()
    assert abs(values(found["grid-localisation", "n"], "mass").mean() - 0.28) < 0.06
    chance = values(found["grid-localisation", "n"], "chance")
    assert set(chance) <= {0.25, 0.5, 0.75}


def test_rows_are_as_declared() -> None:
    checks = ["grid-localisation", *PAIRED, "class-ceiling", "class-floor"]
    found = asked([Plain("g", gradient)], checks)
    for (check, _), result in found.items():
        rows = frame(result)
        assert set(rows["measure"]) == {measure.name for measure in CHECKS[check].measures}
        assert len(rows) == len(CHECKS[check].measures) * len(INDICES)
        assert rows["stage"].isna().all() and set(rows["suite"]) == {"class-discrimination"}
        assert rows.groupby("measure")["image"].nunique().eq(len(INDICES)).all()
    for check in PAIRED:
        assert (values(found[check, "g"], "ssim") < 0.95).all()


def test_what_the_model_gets_wrong_is_left_out_and_counted() -> None:
    data = mosaics()
    rows = frame(asked([Plain("o", oracle)], ["grid-localisation"], finder(data, blind=2))["grid-localisation", "o"])
    mass = rows[rows["measure"] == "mass"]
    labels = [int(data.labels[index]) for index in INDICES]
    assert 2 in labels
    assert [status == "not-applicable" for status in mass["status"]] == [label == 2 for label in labels]
    assert mass["target"].isna().tolist() == [label == 2 for label in labels]


def test_the_other_class_is_one_that_is_shown_and_found() -> None:
    data = mosaics()
    assert data.truth is not None
    model = finder(data, blind=4)
    scores = model.predict_logits(data.load(INDICES))
    labels = [int(data.labels[index]) for index in INDICES]
    shown = [data.truth.present(index) for index in INDICES]
    names = [data.ids[index] for index in INDICES]
    found = ask(scores, labels, names, shown, ["shown", "other", "first", "second", "least"])
    for label, other, classes in zip(labels, found.of("other"), shown, strict=True):
        if other is not None:
            assert other in classes and other not in (label, 4)
    assert len(set(zip(found.places, found.classes, strict=True))) == len(found.places), "each is explained once"
    backwards = ask(scores.flip(0), labels[::-1], names[::-1], shown[::-1], ["other"])
    assert backwards.of("other")[::-1] == found.of("other")


def test_the_ceiling_of_what_repeats_itself_is_one_and_the_floor_is_below() -> None:
    members = [Plain("g", gradient), Plain("n", noise, ClassCard(stochastic=True))]
    found = asked(members, ["class-ceiling", "class-floor"])
    assert (values(found["class-ceiling", "g"], "ssim") == 1.0).all()
    assert values(found["class-ceiling", "n"], "ssim").mean() < 0.5
    assert values(found["class-floor", "g"], "ssim").mean() < 0.9
    other = asked(members, ["class-floor"], seed=1)
    assert not np.array_equal(values(other["class-floor", "g"], "ssim"), values(found["class-floor", "g"], "ssim"))


def test_neither_the_other_explainers_nor_the_block_matter() -> None:
    checks = ["grid-localisation", "class-similarity", "class-floor"]
    together = asked([Plain("n", by_image), Plain("c", copied), Plain("g", gradient)], checks)
    alone = asked([Plain("g", gradient)], checks, batch_size=3)
    part = asked([Plain("g", gradient)], checks, indices=INDICES[4:8])
    for check in checks:
        whole = frame(together[check, "g"]).drop(columns="seconds")
        pd.testing.assert_frame_equal(whole, frame(alone[check, "g"]).drop(columns="seconds"), atol=1e-6)
        few = frame(part[check, "g"]).drop(columns="seconds")
        same = whole[whole["image"].isin(few["image"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(same, few, atol=1e-6)


def test_one_explainer_that_fails_or_meddles_leaves_the_others_alone() -> None:
    members = [Plain("bad", broken), Plain("vandal", vandal), Plain("g", gradient)]
    model = finder()
    before = model.checksum()
    found = asked(members, ["grid-localisation", "class-floor"], model)
    error = found["grid-localisation", "bad"].error
    assert error is not None and error["message"] == "no rule for this network"
    error = found["grid-localisation", "vandal"].error
    assert error is not None and "changed the model" in error["message"]
    assert found["grid-localisation", "g"].error is None and model.checksum() == before


def test_a_model_of_ones_own_is_asked_on_its_images_and_on_mosaics_of_them() -> None:
    model = plain()
    members = [Plain("o", oracle, ClassCard(requires="evidence")), Plain("g", gradient), Plain("c", copied)]
    found = asked(
        members, ["class-similarity-top2", "class-similarity-least", "class-floor", "grid-localisation"], model
    )
    assert (values(found["class-similarity-least", "c"], "ssim") == 1.0).all()
    assert len(values(found["class-similarity-top2", "g"], "ssim")) == len(INDICES)
    assert set(frame(found["class-similarity-top2", "o"])["status"]) == {"not-applicable"}
    rows = frame(found["grid-localisation", "g"])
    assert rows["image"].str.startswith("plain/mosaic/").all()
    mass = values(found["grid-localisation", "o"], "mass")
    assert (mass == 1.0).all()


def doubled() -> ImageSet:
    """The toy items at twice their size, with nothing known of them: the tiles of their mosaics have the size of the items."""
    source = items()

    def read(indices: Sequence[int]) -> np.ndarray:
        return source.read(indices).repeat(2, axis=2).repeat(2, axis=3)

    return ImageSet("doubled", source.labels, source.ids, source.class_names, (1, 16, 16), read)


def test_the_certificate_of_mosaics_of_ones_own_images_tells_use_from_a_fixed_preference() -> None:
    data = doubled()
    assert data.truth is None
    members = [Plain("g", gradient), Plain("c", copied)]
    used = frame(asked(members, ["grid-localisation"], finder(data))["grid-localisation", "g"])
    assert used["image"].str.startswith("doubled/mosaic/").all()
    assert (used[used["measure"] == "certified"]["value"] == 1).sum() >= 12
    # It ranks the classes in one order, whatever it sees: where its favourite is shown it is found, and no cell is needed.
    blind = finder(data)
    with torch.no_grad():
        blind.model.head.weight.zero_()  # type: ignore[operator,union-attr]
        blind.model.head.bias.copy_(torch.arange(float(CLASSES)))  # type: ignore[operator,union-attr]
    rows = frame(asked(members, ["grid-localisation"], blind)["grid-localisation", "c"])
    flags = rows[(rows["measure"] == "certified") & (rows["status"] == "ok")]["value"]
    assert len(flags) and (flags == 0).all()
    (row,) = judge(rows).to_dict("records")
    assert row["verdict"] == "UNDEFINED" and "no cell is certified" in row["reason"]


def test_a_model_that_does_not_use_the_evidence_is_refused_with_the_line_that_fails() -> None:
    model = finder()
    with torch.no_grad():
        model.model.head.weight.zero_()  # type: ignore[operator,union-attr]
    error = asked([Plain("g", gradient)], ["grid-localisation"], model)["grid-localisation", "g"].error
    assert error is not None and "certificate is refused (kept: share of" in error["message"]


@pytest.mark.parametrize("check", ["class-similarity-top2", "grid-localisation"])
def test_a_model_with_one_class_has_nothing_to_tell_apart(check: str) -> None:
    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(256, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.flatten(1))

    model = plain().with_model(One().eval())
    error = asked([Plain("g", gradient)], [check], model)[check, "g"].error
    assert error is not None and "has one class" in error["message"]


def test_images_of_one_class_make_no_mosaics() -> None:
    source = items()
    same = ImageSet("same", source.labels * 0, source.ids, source.class_names, source.shape, source.read)
    model = Subject("finder", finder().model, same, same)
    error = asked([Plain("g", gradient)], ["grid-localisation"], model, [0, 1])["grid-localisation", "g"].error
    assert error is not None and "images of at least two classes" in error["message"]


def test_with_one_head_per_cell_the_gradient_leaves_nothing_outside() -> None:
    members = [Plain("g", gradient), Plain("c", copied)]
    found = asked(members, ["exact-zero"], finder(mosaics(per_place=True), per_place=True))
    assert (values(found["exact-zero", "g"], "exact") == 1.0).all()
    assert (values(found["exact-zero", "g"], "outside") == 0.0).all()
    assert (values(found["exact-zero", "c"], "exact") == 0.0).all()
    assert (values(found["exact-zero", "c"], "outside") > 0.5).all()


def test_pictures_hold_both_maps_and_both_places() -> None:
    found = asked([Plain("g", gradient)], ["class-similarity", "grid-localisation"], pictures=3)
    assert found["grid-localisation", "g"].pictures is None
    kept = found["class-similarity", "g"].pictures
    assert kept is not None
    assert kept["arrays"]["maps"].shape == (3, 2, 16, 16) == kept["arrays"]["masks"].shape
    assert (kept["arrays"]["maps"][kept["arrays"]["masks"] == 0] == 0).all()
    boxes = kept["arrays"]["boxes"]
    assert boxes.shape == (3, 4, 4) and boxes.dtype == np.int16
    for masks, cells in zip(kept["arrays"]["masks"], boxes, strict=True):
        covered = np.zeros((16, 16), bool)
        for top, left, height, width in cells[cells[:, 0] >= 0]:
            covered[top : top + height, left : left + width] = True
        assert covered[masks.max(0) > 0].all() and covered.sum() in (128, 256)
    assert len(kept["meta"]["classes"]) == 3 and max(max(pair) for pair in kept["meta"]["targets"]) < CLASSES


@pytest.mark.parametrize(
    ("check", "explainer", "verdict", "faults"),
    [("grid-localisation", "oracle", "FAIL", 1), ("grid-localisation", "oracle", "UNDEFINED", 0),
     ("class-similarity", "edge-detector", "PASS", 1), ("planted-cue", "centre", "FAIL", 0),
     ("grid-localisation", "gradient", "FAIL", 0)],
)  # fmt: skip
def test_a_reference_with_the_opposite_verdict_spoils_the_run(
    check: str, explainer: str, verdict: str, faults: int
) -> None:
    from bench.runner import reference_faults

    row = {"check": check, "explainer": explainer, "subject": "toy", "verdict": verdict, "reason": "so"}
    assert len(reference_faults(pd.DataFrame([row]))) == faults
