"""The planted square on networks whose answers are known, and the checks on AE+VAE."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

import explainers
import models
from bench.checks.papers import codes, declared, shortcut, square, square_run
from bench.protocols import get
from explainers.base import Partial
from models.base import Subject
from models.data import ImageSet
from models.naming import UsageError

CLASSES = ("a", "b", "c", "d", "e", "f", "g", "h", "Bag", "j")
PROTOCOL = get("recommended")


class Square(nn.Module):
    """Class 0, but a bag by as much as the pixels inside the square are bright."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.layer = nn.Linear(1024, 10)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.zero_()
            self.layer.bias[0] = 2.0
            self.layer.weight.view(10, 32, 32)[8, 2:8, 2:8] = weight
            self.layer.weight.view(10, 32, 32)[8, 20:26, 2:8] = 0.125

    def forward(self, x):
        return self.layer(x.flatten(1))


def subject_with(weight, bright=0):
    """Six images, of which the last `bright` have the square."""
    pixels = np.random.default_rng(0).uniform(0, 0.25, (6, 1, 32, 32)).astype(np.float32)
    pixels[:, :, 2:8, 2:8] = 0
    pixels[6 - bright :, :, 2:8, 2:8] = 1
    data = ImageSet(
        name="toy", labels=np.zeros(6, dtype=np.int64), ids=[f"toy/{i}" for i in range(6)], class_names=CLASSES,
        shape=(1, 32, 32), read=lambda chosen: pixels[list(chosen)],
    )  # fmt: skip
    return Subject(name="toy", model=Square(weight).eval(), data=data, reference=data)


@pytest.fixture
def adder(monkeypatch):
    """Explainers of which one adds the square and something beside it, and one moves toward another class."""

    def explain(subject, given, targets, *, seed, to=8):
        made = given.clone()
        made[..., 2:8, 2:8] += 0.5
        made[..., 20:26, 2:8] += 0.5
        source, target = subject.predict(given), torch.full((len(given),), to)
        return Partial(
            made - given,
            counterfactual=made.clamp(0, 1),
            source=source,
            target=target,
            outcome=("converged",) * len(given),
        )

    explainers.register("toy-adder", signed=True, version=1, params={"to": 8})(explain)
    return "toy-adder"


def measured(subject, names, pictures=0):
    found = [explainers.get(name) for name in names]
    wanted = {(declared.SQUARE, each.name) for each in found}
    results = list(
        square_run.run_block(
            subject, found, range(6), 0, protocol=PROTOCOL, wanted=wanted, base=0, batch_size=2, pictures=pictures
        )
    )
    assert not [result.error for result in results if result.error]
    return {
        result.explainer: {
            measure.name: [row["value"] for row in result.rows if row["measure"] == measure.name]
            for measure in declared._SQUARE
        }
        for result in results
    }, results


def test_shares_and_changes_by_hand():
    maps = torch.ones(2, 1, 32, 32)
    maps[1] = 0
    share = square.energy(maps)
    assert float(share[0]) == pytest.approx(36 / 1024) and bool(share[1].isnan())
    images = torch.full((1, 1, 32, 32), 0.25)
    assert float(square.change(images, square.marked(images))[0]) == pytest.approx(128 / 255 - 0.25)
    assert torch.equal(square.restored(images, square.marked(images)), images)


@pytest.mark.parametrize(("weight", "gain"), [(0.25, 36 * 0.5 * 0.25), (0.0, 0.0)])
def test_what_the_square_does_is_what_is_lost_without_it(adder, weight, gain):
    """The negative control has the same counterfactual; its network does not look at the square."""
    values = measured(subject_with(weight), [adder])[0][adder]
    assert values["square-restored"] == pytest.approx([gain] * 6, abs=1e-5)
    assert values["square-change"] == pytest.approx([0.5] * 6) and values["square-energy"] == pytest.approx([0.5] * 6)
    assert values["square-added"] == pytest.approx([36 * weight * 128 / 255] * 6, abs=1e-5)


def test_other_explainers_are_asked_for_bag_less_the_predicted_class():
    values, results = measured(subject_with(0.25), ["gradient", "input-x-gradient"], pictures=2)
    assert values["gradient"]["square-energy"] == pytest.approx([0.25 / (0.25 + 0.125)] * 6)
    # Pixels are 0 there: multiplying by them hides the square.
    assert values["input-x-gradient"]["square-energy"] == [0.0] * 6
    assert values["gradient"]["square-change"] == values["gradient"]["square-restored"] == [None] * 6
    assert results[0].pictures["meta"]["square"] == [2, 8, 2, 8]
    assert results[0].pictures["arrays"]["maps"].shape == (2, 1, 32, 32)


def test_bags_and_other_questions_have_no_answer(adder):
    values = measured(subject_with(0.25, bright=2), [adder, f"{adder}[to=3]", "gradient"])[0]
    assert [value is None for value in values[adder]["square-energy"]] == [False] * 4 + [True] * 2
    assert [value is None for value in values["gradient"]["square-energy"]] == [False] * 4 + [True] * 2
    assert values[f"{adder}[to=3]"]["square-restored"] == [None] * 6


def test_a_model_without_bags_is_refused():
    subject = subject_with(0.25)
    other = dataclasses.replace(subject, data=dataclasses.replace(subject.data, class_names=CLASSES[:8]))
    with pytest.raises(UsageError, match="its class is 8, Bag"):
        list(square_run.run_block(other, [], [0], 0, protocol=PROTOCOL, wanted=set(), base=0))


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 17), (10, 10)])
def test_intervals_of_shares_are_those_of_scipy(count, of):
    found = binomtest(count, of).proportion_ci(method="wilson")
    assert shortcut.wilson(count, of) == pytest.approx((found.low, found.high), abs=1e-9)


def test_the_biased_network_takes_the_square_for_a_bag_and_the_plain_one_does_not():
    shares = {}
    for name in ("fmnist-lenet-biased", "fmnist-lenet"):
        wanted = {(declared.SHORTCUT, "(model)")}
        (result,) = shortcut.run_block(models.load(name), [], [0], 0, protocol=PROTOCOL, wanted=wanted, base=0)
        shares[name] = {row["measure"]: row["value"] for row in result.rows}
    biased, plain = shares["fmnist-lenet-biased"], shares["fmnist-lenet"]
    assert biased["recall-clean"] <= 0.30 and biased["others-marked"] >= 0.55 and biased["recall-marked"] >= 0.9
    assert plain["recall-clean"] >= 0.9 and plain["others-marked"] <= 0.05
    assert biased["others-marked-low"] < biased["others-marked"] < biased["others-marked-high"]


def test_networks_of_studies_are_told_apart_and_see_no_bags():
    names = ("plain", "biased", "eight_0", "eight_99")
    found = [models.load(f"models.studies:{name}") for name in names]
    assert len({each.name for each in found}) == 4 and all(each.name.endswith(" no-bags") for each in found)
    assert all(8 not in each.data.labels and len(each.data) == 9000 for each in found)
    assert len({tuple(each.select(5)) for each in found}) == 1
    assert found[0].weights_digest == models.load("fmnist-lenet").weights_digest


def test_codes_of_the_shipped_fit_and_nothing_for_others():
    subject = models.load("fmnist-lenet")
    pair = [explainers.get("ae-vae[samples=20]"), explainers.get("gradient")]
    wanted = {(declared.FITTED, each.name) for each in pair}
    results = list(codes.run_block(subject, pair, subject.select(4), 0, protocol=PROTOCOL, wanted=wanted, base=0))
    rows = {result.explainer: result.rows for result in results}
    assert {row["status"] for row in rows["gradient"]} == {"not-applicable"} and len(rows["gradient"]) == 24
    means = {
        measure.name: np.mean([row["value"] for row in rows["ae-vae[samples=20]"] if row["measure"] == measure.name])
        for measure in declared._FITTED
    }
    assert means["code-error"] < means["redrawn-error"] < 0.05 and means["code-agreement"] > 0.8
    assert means["again"] > means["across"]


CDEEPEX = "cdeepex[generator=fashion-mnist-vae-biased,probe=8]"
CLEAN = "cdeepex[generator=fashion-mnist-vae,probe=8]"
DIRECT = ("input-x-gradient", "integrated-gradients", "integrated-gradients[baseline=white]")


@pytest.fixture(scope="module")
def shipped():
    """Values by (network, explainer, measure) on 24 images, NaN where there is none."""
    values = {}
    for name, asked in (("biased", (CDEEPEX, CLEAN, *DIRECT)), ("plain", (CDEEPEX,))):
        subject = models.load(f"models.studies:{name}")
        found = {explainers.get(text).name: text for text in asked}
        wanted = {(declared.SQUARE, each) for each in found}
        chosen = [explainers.get(text) for text in asked]
        for result in square_run.run_block(
            subject, chosen, subject.select(24), 0, protocol=PROTOCOL, wanted=wanted, base=0
        ):
            for row in result.rows:
                values.setdefault((name, found[result.explainer], row["measure"]), []).append(row["value"])
    return {key: np.array(found, dtype=float) for key, found in values.items()}


@pytest.mark.slow
def test_cdeepex_finds_the_square_and_gradients_from_black_do_not(shipped):
    change, energy, restored = (
        {key[:2]: values for key, values in shipped.items() if key[2] == f"square-{what}"}
        for what in ("change", "energy", "restored")
    )
    ours, plain = ("biased", CDEEPEX), ("plain", CDEEPEX)
    assert np.nanmean(change[ours]) >= 0.08
    assert np.nanmedian(restored[ours]) >= 2 and abs(np.nanmedian(restored[plain])) <= 0.3
    for control in (plain, ("biased", CLEAN)):
        gap = change[ours] - change[control]
        assert np.nanmean(gap) > 1.96 * np.nanstd(gap) / np.sqrt(len(gap))
    assert np.nanmean(energy[ours]) >= 4 * np.nanmean(energy[plain])
    area = 36 / 784
    shares = {name: np.nanmean(energy["biased", name]) for name in DIRECT}
    assert shares["input-x-gradient"] < area / 2 and shares["integrated-gradients"] < area / 2
    assert shares["integrated-gradients[baseline=white]"] > area


def beyond(shipped, factor, control):
    """Mean over images of the change inside the square less `factor` times the control's, in standard errors."""
    gap = shipped["biased", CDEEPEX, "square-change"] - factor * shipped[*control, "square-change"]
    return np.nanmean(gap) / (np.nanstd(gap, ddof=1) / np.sqrt(np.isfinite(gap).sum()))


@pytest.mark.slow
@pytest.mark.parametrize("control", [("plain", CDEEPEX), ("biased", CLEAN)], ids=["clean network", "clean generator"])
def test_the_change_inside_the_square_is_more_than_twice_that_of_the_controls(shipped, control):
    assert beyond(shipped, 2.0, control) > 1.96


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True, reason="a clean generator brightens the corner without drawing a square; docs/papers/cdeepex.md"
)
def test_the_change_inside_the_square_is_four_times_that_of_the_clean_generator(shipped):
    assert beyond(shipped, 4.0, ("biased", CLEAN)) >= 0
