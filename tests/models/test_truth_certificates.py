"""Certificates on networks made by hand, whose use of the evidence is known."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import nn

from models.base import Subject
from models.data import ImageSet, fashion_mnist, load_data
from models.naming import UsageError
from models.truth import Certificate, Line, certify, mosaics_of, required
from models.truth.certificate import Pair, at_chance, read, wilson
from models.truth.cue import Cues, cue_set, patterns
from models.truth.mosaic import Mosaics, mosaic_set
from models.truth.sets import made_set

CLASSES = 8


def plain_items() -> ImageSet:
    """Images of one value each: class k has the value (k + 1) / 10."""
    labels = np.arange(40) % CLASSES
    pixels = np.broadcast_to(((labels + 1) / 10).astype(np.float32)[:, None, None, None], (40, 1, 16, 16))
    names = tuple(str(label) for label in range(CLASSES))
    return ImageSet("plain", labels, [f"plain/{i}" for i in range(40)], names, (1, 16, 16), lambda i: pixels[list(i)])


class Watching(nn.Module):
    """Ten for each watched quarter that holds the value of a class, plus a share of the mean of the whole image."""

    def __init__(self, quarters=(0, 1, 2, 3), everywhere: float = 0.0, outputs: int = CLASSES) -> None:
        super().__init__()
        self.quarters, self.everywhere = quarters, everywhere
        self.values = nn.Parameter(torch.arange(1, outputs + 1) / 10)

    def forward(self, x):
        means = F.adaptive_avg_pool2d(x, 2).flatten(1)[:, list(self.quarters), None]
        seen = 10 * torch.exp(-(((means - self.values) / 0.01) ** 2)).sum(1)
        return seen + self.everywhere * x.mean((1, 2, 3))[:, None] * self.values.sign()


def watched(model: nn.Module, count: int = 64) -> tuple[Subject, list[int]]:
    """A subject on mosaics of plain items, and the mosaics whose cells are the quarters."""
    data = mosaics_of(plain_items(), count=count)
    return Subject("hand-made", model, data, data), [i for i in range(count) if data.truth.scene(i).layout == "2x2"]


def test_a_network_that_looks_at_each_cell_is_certified():
    subject, indices = watched(Watching())
    found = certify(subject, indices, draws=2)
    assert found.verdict == "certified" and found.kept_share == 1 and found.reason == "" and found.found_share == 1
    for pair in found.pairs:
        doubles = len(subject.data.truth.scene(pair.index).holding(pair.label))
        assert pair.inside == pytest.approx(10 * doubles, rel=1e-3) and pair.outside < 1e-3
        assert pair.margin == pytest.approx(10 * doubles, rel=1e-3)
    assert {(p.index, p.label) for p in found.pairs} == {(i, c) for i in indices for c in subject.data.truth.present(i)}


def test_a_network_that_looks_at_one_cell_keeps_the_pairs_of_that_cell():
    subject, indices = watched(Watching(quarters=(1,)))
    found = certify(subject, indices, draws=2)
    for pair in found.pairs:
        assert found.keeps(pair.index, pair.label) == (1 in subject.data.truth.scene(pair.index).holding(pair.label))
    assert 0.15 < found.kept_share < 0.45 and found.holds


def test_a_network_that_looks_everywhere_is_refused():
    subject, indices = watched(Watching(quarters=(), everywhere=10.0))
    found = certify(subject, indices)
    assert found.verdict == "refused" and found.kept_share < 0.1 and "kept" in found.reason
    with pytest.raises(UsageError, match=r"refused \(kept: share of .* demanded is >= 0.1"):
        required(subject, indices)


def test_half_a_share_from_everywhere_spoils_the_ratio_and_not_the_class():
    subject, indices = watched(Watching(everywhere=120.0))
    found = certify(subject, indices)
    assert found.found_share == 1 and found.kept_share < 0.6


def test_no_cell_certified():
    subject, indices = watched(Watching(quarters=()))
    found = certify(subject, indices[:4])
    assert not any(pair.kept or pair.found or pair.inside for pair in found.pairs)
    assert found.kept_share == 0 and found.reason.startswith("kept: share of (image, class) pairs")


def test_two_classes_can_be_certified_by_emptying_cells():
    items = plain_items()
    two = ImageSet("two", items.labels % 2, items.ids, ("0", "1"), items.shape, items.read)
    labels = two.labels
    pixels = np.broadcast_to(((labels + 1) / 10).astype(np.float32)[:, None, None, None], (40, 1, 16, 16))
    data = mosaics_of(ImageSet("two", labels, items.ids, ("0", "1"), items.shape, lambda i: pixels[list(i)]), count=40)
    subject = Subject("hand-made", Watching(outputs=2), data, data)
    indices = [i for i in range(40) if data.truth.scene(i).layout == "2x2"]
    assert certify(subject, indices).kept_share == 1


def test_certificates_do_not_depend_on_batches_or_company():
    subject, indices = watched(Watching(everywhere=20.0))
    whole = certify(subject, indices, draws=2)
    for other in (certify(subject, indices[::-1], draws=2, batch_size=7), certify(subject, indices[3:5], draws=2)):
        for pair in other.pairs:
            assert whole.by_place[pair.index, pair.label] == pair


def test_a_certificate_leaves_model_and_random_state_alone():
    subject, indices = watched(Watching())
    before, state = subject.checksum(), torch.get_rng_state()
    certify(subject, indices[:2])
    assert subject.checksum() == before and torch.equal(torch.get_rng_state(), state)


def test_a_certificate_survives_json():
    subject, indices = watched(Watching(everywhere=20.0))
    found = certify(subject, indices, draws=2)
    again = read(json.loads(json.dumps(found.record())))
    assert (again.pairs, again.lines, again.verdict) == (found.pairs, found.lines, found.verdict)
    assert again.record() == found.record() and again.covers(indices) and not again.covers([*indices, 10_000])


def test_the_rule_of_a_pair():
    assert Pair(0, 0, 3.1, 1.0, 6.0).kept and not Pair(0, 0, 3.0, 1.0, 1.0).kept  # more than three times outside
    assert not Pair(0, 0, 3.1, 0.0, 6.3).kept  # more than half of the margin
    assert not Pair(0, 0, 0.0, 0.0, -1.0).kept and not Pair(0, 0, -1.0, 0.0, -3.0).kept
    assert Pair(0, 0, 1.0, 0.0, 1.0).found and not Pair(0, 0, 1.0, 0.0, 0.0).found


def test_bad_questions_are_refused():
    subject, indices = watched(Watching())
    with pytest.raises(UsageError, match="1 outputs"):
        certify(Subject("one class", Watching(outputs=1), subject.data, subject.data), indices)
    with pytest.raises(UsageError, match="no known evidence"):
        certify(Subject("none", Watching(), plain_items(), plain_items()), [0])
    with pytest.raises(UsageError, match="at least one index"):
        certify(subject, [])
    with pytest.raises(UsageError, match="image 64 does not exist"):
        certify(subject, [0, 64])
    with pytest.raises(UsageError, match="draws is 0"):
        certify(subject, indices, draws=0)
    with pytest.raises(UsageError, match="says nothing of class"):
        certify(subject, indices[:1], draws=1).keeps(indices[0], 99)


@pytest.mark.parametrize(("right", "count"), [(0, 20), (7, 50), (110, 1000), (50, 50)])
def test_the_interval_agrees_with_scipy(right, count):
    interval = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((interval.low, interval.high), abs=1e-7)


def test_a_share_may_not_lie_above_chance():
    assert at_chance("x", 100, 1000, 0.1, "").holds and not at_chance("x", 140, 1000, 0.1, "").holds
    assert at_chance("x", 60, 1000, 0.1, "").holds and at_chance("x", 0, 0, 0.1, "").holds


def test_the_reason_names_every_line_that_failed():
    lines = (Line("a", 0.5, ">= 0.9", False, "share"), Line("b", 1.0, ">= 0.9", True, "rest"))
    found = Certificate("mosaic", "m", "", "d", "", 8, lines, ())
    assert found.reason == "a: share is 0.5, demanded is >= 0.9" and np.isnan(found.kept_share)


class Quarters(nn.Module):
    """Class of the item by its value, counted per quarter; `leak` adds the mean of the whole image."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.leak, self.values = leak, nn.Parameter(torch.arange(1, CLASSES + 1) / 10)

    def forward(self, x):
        means = F.avg_pool2d(x, 8).flatten(1)[:, :, None]
        seen = (10 * torch.exp(-(((means - self.values) / 0.01) ** 2))).flatten(1)
        return seen + self.leak * x.mean((1, 2, 3))[:, None] if self.leak else seen


def separate(model: nn.Module) -> Subject:
    items = plain_items()
    small = ImageSet(
        "small", items.labels, items.ids, items.class_names, (1, 8, 8), lambda i: items.read(i)[..., :8, :8]
    )
    made = Mosaics(small, lambda item: small.read([item])[0], (16, 16), "quarters", per_place=True)
    data = mosaic_set(made, 24, made.explained, "difull", tuple(str(k) for k in range(4 * CLASSES)))
    return Subject("hand-made", model, data, data)


def test_separate_heads_are_certified_and_a_leak_of_a_thousandth_is_not():
    found = certify(separate(Quarters()), range(24), draws=2)
    assert found.holds and found.kept_share == 1 and [line.value for line in found.lines] == [1, 0, 1]
    leaky = certify(separate(Quarters(leak=1e-3)), range(24), draws=2)
    assert leaky.kept_share == 1  # the ratio alone would not see it
    assert not leaky.holds and "nan-outside" in leaky.reason


class Matched(nn.Module):
    """Finds each pattern by its matched filter: positive only where it stands exactly; `carrier` adds the image's mean."""

    def __init__(self, carrier: float = 0.0) -> None:
        super().__init__()
        white = torch.from_numpy(patterns() > 0).float()[:, None]
        self.filter = nn.Conv2d(1, 10, 5)
        with torch.no_grad():
            self.filter.weight.copy_(2 * white - 1)
            self.filter.bias.copy_(0.5 - white.sum((1, 2, 3)))
        self.carrier = carrier

    def forward(self, x):
        return 10 * self.filter(x).amax((2, 3)) + self.carrier * x.mean((1, 2, 3))[:, None]


def lines_of(model: nn.Module, data: ImageSet, count: int = 120) -> dict[str, Line]:
    return {line.name: line for line in certify(Subject("hand-made", model, data, data), range(count), draws=2).lines}


def test_a_matched_filter_is_certified_and_ignores_the_carrier_exactly():
    lines = lines_of(Matched(), load_data("fmnist-cue"))
    assert all(line.holds for line in lines.values()), lines
    assert lines["with-cue"].value == lines["moved"].value == lines["counterfactual"].value == lines["kept"].value == 1
    assert lines["carrier"].value == 0


def test_a_network_that_also_reads_the_carrier_is_refused_by_that_line():
    lines = lines_of(Matched(carrier=3.0), load_data("fmnist-cue"))
    assert [name for name, line in lines.items() if not line.holds] == ["carrier"]


def test_a_blind_network_finds_no_cue():
    lines = lines_of(nn.Sequential(nn.Flatten(), nn.Linear(1024, 10)), load_data("fmnist-cue"))
    assert not any(lines[name].holds for name in ("with-cue", "moved", "counterfactual", "kept"))


class Telling(Cues):
    """Cues on carriers of the class of the same number: the carrier gives the label away."""

    def scene(self, labels, draws):
        of_class = np.flatnonzero(self.carriers.labels == labels[0])
        scene = super().scene(labels[:1], draws)
        return type(scene)("cue", scene.cells, int(of_class[draws.below(len(of_class))]))


def test_carriers_that_tell_the_label_are_refused():
    data = cue_set(Telling(fashion_mnist("test"), "telling"), 240)
    lines = lines_of(Matched(), data, 240)
    assert not lines["probe"].holds and lines["probe"].value > 0.5
    assert lines["with-cue"].holds and lines_of(Matched(), load_data("fmnist-cue"), 240)["probe"].holds


def test_a_certificate_of_other_weights_or_images_is_not_taken(monkeypatch, tmp_path):
    from models.truth import shipped as module

    data = made_set("fmnist-cue")
    subject = Subject("hand-made", Matched(), data, data)
    record = certify(subject, range(12), draws=1).record()
    monkeypatch.setattr(module, "path_of", lambda name: tmp_path / "certificate.json")
    assert module.stored(subject) is None
    (tmp_path / "certificate.json").write_text(json.dumps(record))
    assert module.stored(subject).pairs == read(record).pairs
    assert required(subject, range(12)).record() == record
    changed = Matched()
    with torch.no_grad():
        changed.filter.bias.add_(1e-3)
    assert module.stored(Subject("hand-made", changed, data, data)) is None
    assert module.stored(Subject("hand-made", Matched(), made_set("fmnist-cue", 1, 40), data)) is None


def test_lines_do_not_depend_on_the_images_asked_for():
    data = made_set("fmnist-cue", 0, 300)
    subject = Subject("hand-made", Matched(), data, data)
    one, other = required(subject, [280, 299]), required(subject, [0])
    assert one.lines == other.lines and one.covers([0, 255, 280, 299]) and not other.covers([280])
