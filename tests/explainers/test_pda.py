import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import explainers
import models.adapters
from explainers.pda import Conditional, PatchGaussian, _starts, difference
from models.data import ImageSet
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


def held(images):
    pixels = images.numpy()
    count = len(pixels)
    names = [f"made/{i}" for i in range(count)]
    return ImageSet("made", np.zeros(count, np.int64), names, ("0",), pixels.shape[1:], lambda at: pixels[list(at)])


def planes(count, draw, side=16):
    """Images a + b y + c x: a patch is determined by what surrounds it."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    a, b, c = (torch.rand(count, 1, 1, 1, generator=draw) * 0.4 - 0.2 for _ in range(3))
    return 0.5 + a + b * y + c * x


@pytest.mark.parametrize("stride", ["0.125", "0.0625"])
def test_marginal_with_black_contents_is_the_occlusion_difference(subject, stride):
    black = replace(subject, reference=held(torch.zeros(4, 1, 32, 32)))
    x = subject.sample(2, seed=0)[0]
    t = subject.predict(x)
    found = explainers.get(f"pda[sampling=marginal,score=logit,stride={stride},samples=3]").explain(black, x, t)
    other = explainers.get(f"occlusion[stride={stride}]").explain(subject, x, t)
    assert (
        float((found.attribution - other.attribution).abs().max()) < 1e-5 * float(other.attribution.abs().max()) + 1e-5
    )


def test_marginal_contents_come_from_the_same_place_of_reference_images():
    draw = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    reference, x = torch.rand(6, 1, 8, 8, generator=draw), torch.rand(1, 1, 8, 8, generator=draw)
    subject = replace(models.adapters.from_tensor(net, x), reference=held(reference))
    found = explainers.get("pda[sampling=marginal,score=logit,patch=0.25,stride=0.25,samples=4000]").explain(
        subject, x, [0]
    )
    weights = net[1].weight[0].detach().view(8, 8)
    fall = weights * (x[0, 0] - reference.mean(0)[0])
    sums = nn.functional.avg_pool2d(fall[None], 2) * 4
    torch.testing.assert_close(
        found.attribution[0], sums.repeat_interleave(2, 1).repeat_interleave(2, 2), atol=0.02, rtol=0.02
    )


def test_the_conditional_gaussian_agrees_with_the_precision_matrix():
    draw = torch.Generator().manual_seed(0)
    mixing = torch.randn(18, 18, generator=draw)
    pieces = (torch.randn(4000, 18, generator=draw) @ mixing).view(-1, 2, 3, 3)
    fitted = PatchGaussian.fitted(pieces)
    hidden = torch.zeros(2, 3, 3, dtype=torch.bool)
    hidden[:, 1, 1] = True
    hidden = hidden.flatten()
    slope, factor = fitted.conditional(hidden)
    precision = torch.linalg.inv(fitted.covariance)
    inner = torch.linalg.inv(precision[hidden][:, hidden])
    torch.testing.assert_close(slope, -inner @ precision[hidden][:, ~hidden], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(factor @ factor.T, inner, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(fitted.mean, pieces.flatten(1).mean(0), atol=1e-5)


def test_contents_that_surroundings_determine_are_found_and_carry_no_evidence():
    draw = torch.Generator().manual_seed(0)
    reference, x = planes(200, draw), planes(3, draw)
    contents = Conditional(reference, 4)
    for place in ((0, 0), (6, 6), (12, 12), (0, 12), (5, 0)):
        made = contents(x[0], place, 20, torch.Generator().manual_seed(1))
        truth = x[0, :, place[0] : place[0] + 4, place[1] : place[1] + 4]
        assert float((made - truth).abs().max()) < 0.05
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    subject = replace(models.adapters.from_tensor(net, x), reference=held(reference))
    size = {
        kind: explainers.get(f"pda[sampling={kind},patch=0.25,stride=0.25,samples=8,score=logit]")
        .explain(subject, x, [0, 1, 2])
        .attribution.abs()
        .mean()
        for kind in ("conditional", "marginal")
    }
    assert float(size["conditional"]) < 0.2 * float(size["marginal"])


def test_large_patches_are_modelled_on_cells():
    draw = torch.Generator().manual_seed(0)
    reference, x = planes(80, draw, side=64), planes(1, draw, side=64)
    contents = Conditional(reference.repeat(1, 3, 1, 1), 12)
    assert (contents.cell, contents.cells, contents.gaussian.mean.shape) == (3, 4, (3 * 8 * 8,))
    made = contents(x[0].repeat(3, 1, 1), (52, 20), 5, torch.Generator().manual_seed(1))
    assert made.shape == (5, 3, 12, 12)
    assert float((made - x[0, :, 52:64, 20:32]).abs().max()) < 0.1


def test_evidence_by_hand():
    plain = torch.tensor([[1.0, 0.0, -1.0]])
    changed = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    p = math.exp(1) / (math.exp(1) + 1 + math.exp(-1))
    q = (1 / 3 + math.exp(2) / (math.exp(2) + 2)) / 2

    def odds(value):
        value = (value * 100 + 1) / 103
        return math.log2(value / (1 - value))

    assert float(difference(plain, changed, 0, "evidence", 100)) == pytest.approx(odds(p) - odds(q), rel=1e-6)
    assert float(difference(plain, changed, 0, "probability", 100)) == pytest.approx(p - q, rel=1e-6)
    assert float(difference(plain, changed, 0, "logit", 100)) == 0.0
    assert math.isfinite(float(difference(1e4 * plain, -1e4 * changed, 0, "evidence", 100)))


def test_patches_reach_the_end_of_every_axis():
    assert _starts(10, 4, 4) == [0, 4, 6]
    assert _starts(8, 4, 2) == [0, 2, 4]
    net = nn.Sequential(nn.Flatten(), nn.Linear(100, 2))
    x = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    found = explainers.get("pda[patch=0.4,stride=0.4,sampling=marginal]").explain(
        replace(models.adapters.from_tensor(net, x), reference=held(torch.rand(5, 1, 10, 10))), x, [0]
    )
    assert bool((found.attribution != 0).all())


@pytest.mark.parametrize(
    "text",
    ["pda[sampling=conditionl]", "pda[score=odds]", "pda[stride=0.5]", "pda[samples=0]", "pda[patch=1.0,stride=1.0]"],
)
def test_wrong_parameters_are_refused_with_what_is_allowed(subject, text):
    with pytest.raises(UsageError, match=r"allowed|needed|lower"):
        explainers.get(text).explain(subject, subject.sample(1, seed=0)[0])
