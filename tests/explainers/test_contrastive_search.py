"""The search under constraints: multipliers, oracles by hand, signs, clamping, independence of images."""

import pytest
import torch

from explainers.contrastive.cdeepex import GOAL, SOUGHT
from explainers.contrastive.lagrangian import FAST, PAPER, Multipliers, Schedule, Tolerance, search
from explainers.contrastive.morph import Morph, clamped, conditions
from tests.explainers.toy_generators import Squashed, Waves, classifier

LONG = Schedule(outer=40, inner=40, rate=0.1, last_rate=1e-4, gate=0.0, ceiling=10.0, settled=0.0)
NEVER = Tolerance(equality=-1.0, inequality=-1.0)


def none(h, columns=1):
    return torch.full((len(h), columns), float("-inf"))


def test_multipliers_of_a_quadratic_by_hand():
    """min z^2 with z = 1, c = 1: the inner minimum is z = (1 - lambda) / 3, and h = z - 1 moves lambda by h."""
    found = Multipliers(1, 1, torch.zeros(1))
    hold = Schedule(growth=1.0)
    expected = 0.0
    for _ in range(30):
        z = (1 - float(found.equality)) / 3
        h = torch.tensor([z - 1])
        expected += z - 1
        found.update(h, none(h), hold)
        assert float(found.equality) == pytest.approx(expected, abs=1e-6)
    assert float(found.equality) == pytest.approx(-2.0, abs=1e-4)  # 2 z + lambda = 0 at z = 1
    assert z == pytest.approx(1.0, abs=1e-4)


def test_multipliers_of_an_inequality_by_hand():
    """min (z - 2)^2 with z <= 1, c = 2: the inner minimum of an active constraint is z = (4 + 2 - mu) / 4; mu tends to 2."""
    found = Multipliers(1, 1, torch.zeros(1))
    found.penalty = torch.tensor([2.0])
    for _ in range(40):
        z = (6 - float(found.inequality)) / 4
        found.update(torch.zeros(1), torch.tensor([[z - 1]]), Schedule(growth=1.0))
    assert z == pytest.approx(1.0, abs=1e-4) and float(found.inequality) == pytest.approx(2.0, abs=1e-3)
    found.update(torch.zeros(1), torch.tensor([[-5.0]]), FAST)
    assert float(found.inequality) == 0.0


def test_the_penalty_grows_on_the_largest_violation_and_only_above_the_gate():
    found = Multipliers(3, 1, torch.zeros(3))
    h = torch.tensor([0.01, 0.0, 1.0])
    found.update(h, torch.tensor([[-1.0], [3.0], [-1.0]]), FAST)
    assert found.penalty.tolist() == [1.0, 2.0, 2.0]  # within the gate; a third class alone; the equality alone
    found.update(h * 0.1, torch.tensor([[-1.0], [3.0], [-1.0]]), FAST)
    assert found.penalty.tolist() == [1.0, 4.0, 2.0]  # the last made progress
    for _ in range(9):
        found.update(h, torch.tensor([[-1.0], [3.0], [-1.0]]), FAST)
    assert float(found.penalty.max()) == FAST.ceiling
    found.update(h, torch.tensor([[-1.0], [3.0], [-1.0]]), PAPER)
    assert float(found.penalty[0]) == pytest.approx(1.01)


def test_the_nearest_point_of_a_plane():
    """min ||z - z0||^2 with w z = b: z = z0 - w (w z0 - b) / |w|^2 and lambda = 2 (w z0 - b) / |w|^2, for any shape of z."""
    draw = torch.Generator().manual_seed(1)
    w, z0, b = torch.randn(2, 3, generator=draw), torch.randn(4, 2, 3, generator=draw), 0.5

    def plane(z, rows):
        h = (z * w).flatten(1).sum(1) - b
        return h, none(h)

    off = (z0 * w).flatten(1).sum(1) - b
    found = search(plane, z0, LONG, NEVER)
    torch.testing.assert_close(found.z, z0 - off.view(-1, 1, 1) * w / w.square().sum(), atol=2e-3, rtol=0)
    torch.testing.assert_close(found.multiplier, 2 * off / w.square().sum(), atol=2e-2, rtol=0)
    assert not found.feasible.any() and found.finite.all()


def test_the_feasible_point_nearest_to_the_start_is_kept():
    def half_plane(z, rows):
        return torch.zeros(len(z)) * z[:, 0], 1 - z[:, :1]

    z0 = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    found = search(half_plane, z0, FAST, Tolerance(0.1, 0.01))
    assert found.feasible.all() and found.steps.tolist()[1] == 0 and torch.equal(found.z[1], z0[1])
    assert 0.98 < float(found.z[0, 0]) < 1.05 and abs(float(found.z[0, 1])) < 1e-6


def test_what_cannot_be_met_is_not_feasible_and_the_least_violation_is_kept():
    def never(z, rows):
        h = 3 + z[:, 0].square()
        return h, none(h)

    found = search(never, torch.tensor([[1.0], [0.2]]), FAST, SOUGHT)
    assert not found.feasible.any() and found.finite.all()
    assert float(found.violation.max()) < 3.01 and found.steps.tolist() == [300, 300]


def test_what_is_not_a_number_is_given_up_at_once():
    def broken(z, rows):
        h = torch.where(rows == 1, float("nan"), z[:, 0])
        return h, none(h)

    found = search(broken, torch.ones(3, 1), FAST, SOUGHT)
    assert found.finite.tolist() == [True, False, True] and found.feasible.tolist() == [True, False, True]
    assert found.steps[1] == 0 and torch.isfinite(found.z).all()


def test_no_image_notices_another():
    subject, images = classifier(count=12)
    logits = subject.predict_logits(images)
    order = logits.argsort(1, descending=True)
    made = Squashed(1, 4, 4).requires_grad_(False)
    z0 = made.encode(images)

    def find(rows):
        left = (images - made.decode(z0))[rows]
        morph = Morph(made.decode, subject.logits, left, order[rows, 0], order[rows, 3])
        return search(morph.constraints, z0[rows], FAST, SOUGHT)

    everything = torch.arange(12)
    whole, parts = find(everything), [find(rows) for rows in everything.split(5)]
    assert torch.equal(whole.feasible, torch.cat([part.feasible for part in parts]))
    torch.testing.assert_close(whole.z, torch.cat([part.z for part in parts]), atol=1e-3, rtol=0)


def run(subject, images, made, rank, third, inside=True):
    order = subject.predict_logits(images).argsort(1, descending=True)
    z0 = made.encode(images)
    source, probe = order[:, 0], order[:, rank]
    morph = Morph(made.decode, subject.logits, images - made.decode(z0), source, probe, third, inside)
    found = search(morph.constraints, z0, FAST, SOUGHT)
    final = morph.image(found.z).detach().clamp(0, 1)
    h, g = conditions(subject.predict_logits(final), source, probe)
    pair = subject.predict_logits(final).softmax(1).gather(1, torch.stack([source, probe], 1)).sum(1)
    return h, g.amax(1), pair, final


def test_printed_signs_do_the_opposite_of_the_text():
    subject, images = classifier(count=48)
    made = Squashed(1, 4, 4).requires_grad_(False)
    _, third, pair, _ = run(subject, images, made, 3, "printed")
    assert float((third > 0).float().mean()) >= 0.95 and float(pair.median()) <= 0.1
    h, third, pair, _ = run(subject, images, made, 3, "corrected")
    assert float((third > 1e-3).float().mean()) <= 0.02 and float(pair.median()) > 0.3
    assert float((h.abs() <= GOAL.equality).float().mean()) >= 0.95
    _, third, _, _ = run(subject, images, made, 3, "none")
    assert float((third > 0).float().mean()) >= 0.5


def test_clamping_inside_the_search_keeps_images_on_the_boundary():
    """Images of dark and bright pixels, whose morphs leave [0, 1]: cutting only the result moves it off the boundary."""
    subject, images = classifier(count=48)
    images = (images > 0.5).float()
    made = Waves(1, 4, 4).requires_grad_(False)
    inside, after = (run(subject, images, made, 1, "corrected", kind) for kind in (True, False))
    share = [float((h.abs() <= 0.1).float().mean()) for h, *_ in (inside, after)]
    assert share[0] >= 0.9 and share[1] <= 0.5, share


def test_the_clamp_lets_every_gradient_through():
    x = torch.tensor([-0.2, 0.3, 1.4], requires_grad=True)
    (slope,) = torch.autograd.grad((clamped(x) * torch.tensor([1.0, 2.0, 3.0])).sum(), x)
    assert clamped(x).tolist() == pytest.approx([0.0, 0.3, 1.0]) and slope.tolist() == [1.0, 2.0, 3.0]
    assert torch.isnan(clamped(torch.tensor([float("nan")]))).all()


def test_conditions_by_hand():
    logits = torch.tensor([[3.0, 1.0, 2.0]])
    h, g = conditions(logits, torch.tensor([0]), torch.tensor([1]))
    assert h.tolist() == [2.0] and g.amax(1).tolist() == [1.0]  # the third class, 2, is one above the probe class
    assert conditions(logits, torch.tensor([0]), torch.tensor([1]), "printed")[1].amax(1).tolist() == [1.0]
    for source, probe, third in ((0, 1, "none"), (2, 2, "corrected")):
        h, g = conditions(logits, torch.tensor([source]), torch.tensor([probe]), third)
        assert g.isneginf().all()
    assert h.tolist() == [0.0]
