import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from scipy.stats import spearmanr

import explainers
import models
from explainers import morphs
from explainers.contrastive.exaggeration import fitting, losses, networks
from explainers.contrastive.exaggeration.explain import built, log_odds_of
from explainers.contrastive.exaggeration.fitting import Options, fit, with_profile
from explainers.contrastive.exaggeration.losses import midpoints
from explainers.contrastive.exaggeration.quality import quality, rank_correlation
from explainers.trajectory import Trajectory
from models.naming import UsageError

from . import toy_fits

TOY = "progressive-exaggeration[steps=260,width=8,bins=5]"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    subject = toy_fits.subject()
    folder = tmp_path_factory.mktemp("fits")
    return subject, explainers.get(TOY).fit(subject, folder=str(folder))


# bins and losses


def test_bins_and_their_midpoints():
    assert losses.bins_of(torch.tensor([0.0, 0.0999, 0.1, 0.3, 0.7, 0.9999, 1.0]), 10).tolist() == [0, 0, 1, 3, 7, 9, 9]
    assert torch.allclose(losses.midpoints(10), torch.arange(10) / 10 + 0.05)
    assert torch.equal(losses.bins_of(losses.midpoints(7), 7), torch.arange(7))
    # 100 bins: midpoints .005 and .995 would ask for certainty
    assert losses.midpoints(100)[0] == pytest.approx(0.02) and losses.midpoints(100)[-1] == pytest.approx(0.98)


def test_losses_by_hand():
    real, made = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 0.5])
    assert losses.discriminator_hinge(real, made) == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 1.5) / 3)
    assert losses.generator_hinge(made) == pytest.approx(2.5 / 3)
    assert losses.reconstruction(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.75]])) == pytest.approx(0.375)
    t, p = 0.3, 1 / (1 + math.exp(-1.2))
    wanted = t * math.log(t / p) + (1 - t) * math.log((1 - t) / (1 - p))
    assert float(losses.compatibility(torch.tensor([t]), torch.tensor([1.2]))) == pytest.approx(wanted, rel=1e-5)


def test_agreement_with_torch_and_no_overflow():
    draw = torch.Generator().manual_seed(0)
    t, odds = torch.rand(50, generator=draw) * 0.96 + 0.02, 4 * torch.randn(50, generator=draw)
    ours = losses.compatibility(t, odds)
    theirs = F.kl_div(torch.stack([F.logsigmoid(odds), F.logsigmoid(-odds)], 1), torch.stack([t, 1 - t], 1),
                      reduction="batchmean")  # fmt: skip
    assert ours == pytest.approx(float(theirs), rel=1e-5)
    assert losses.compatibility(t, torch.logit(t)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(losses.compatibility(t, torch.full((50,), 500.0)))


def test_the_divergence_moves_the_generator_and_a_cut_one_would_not():
    generator = networks.Exaggerator(1, 5, width=8)
    x, bins = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 3, 4])
    odds = 12 * (generator(x, bins).mean((1, 2, 3)) - 0.5)
    wanted = losses.midpoints(5)[bins]
    weights = list(generator.parameters())
    live = torch.autograd.grad(losses.compatibility(wanted, odds), weights, allow_unused=True)
    assert sum(float(each.norm()) for each in live if each is not None) > 1e-3
    # what the published program does: the classifier's answer is taken as a constant
    cut = losses.compatibility(wanted, odds.detach())
    assert not cut.requires_grad


def test_its_gradient_is_probability_minus_request():
    odds, t = torch.tensor([0.3, -2.0], requires_grad=True), torch.tensor([0.9, 0.1])
    (slope,) = torch.autograd.grad(losses.compatibility(t, odds), odds)
    assert torch.allclose(slope, (torch.sigmoid(odds.detach()) - t) / 2, atol=1e-6)


# networks


def test_ordinal_terms_have_separate_vectors():
    discriminator = networks.Discriminator(1, 6, width=8).eval()
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        features = discriminator.features(x)
        vectors = discriminator.steps.weight
        every = torch.stack([discriminator(x, torch.full((3,), k)) for k in range(6)], 1)
    assert vectors.shape == (5, 32) and torch.linalg.matrix_rank(vectors) == 5
    steps = every.diff(dim=1)
    assert torch.allclose(steps, features @ vectors.T, atol=1e-4)
    # one vector shared by all steps, as in the published program, would make them equal
    assert float((steps - steps[:, :1]).abs().max()) > 1e-3


def test_layers_of_the_discriminator_have_spectral_norm_one():
    discriminator = networks.Discriminator(1, 5, width=8)
    for _ in range(30):
        discriminator(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    found = [torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2) for module in discriminator.modules()
             if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]  # fmt: skip
    assert len(found) == 14 and all(abs(float(each) - 1) < 0.1 for each in found)


def test_images_do_not_depend_on_their_batch_and_only_the_decoder_sees_the_bin():
    generator = networks.Exaggerator(3, 4, width=8).eval()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "scale" in name or "shift" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
        x, bins = torch.rand(5, 3, 16, 8), torch.tensor([0, 1, 2, 3, 3])
        together = generator(x, bins)
        alone = torch.cat([generator(x[i : i + 1], bins[i : i + 1]) for i in range(5)])
        assert torch.allclose(together, alone, atol=1e-6)
        assert together.shape == x.shape and float(together.min()) >= 0 and float(together.max()) <= 1
        assert float((generator(x[:1], bins[:1]) - generator(x[:1], bins[1:2])).abs().max()) > 1e-3
    names = {name.split(".")[0] for name, _ in generator.named_parameters() if ".scale" in name or ".shift" in name}
    assert names == {"middle", "up1", "up2", "norm"}


# fitting


def test_sampling_is_even_over_the_bins_that_have_images():
    members = [torch.arange(2), torch.arange(0), torch.arange(2, 500), torch.tensor([777])]
    chosen, bins = fitting._balanced(members, 6000, torch.Generator().manual_seed(0))
    counts = torch.bincount(bins, minlength=4)
    assert counts[1] == 0 and all(1850 < int(counts[index]) < 2150 for index in (0, 2, 3))
    assert all(int(image) in members[int(b)] for image, b in zip(chosen[:200], bins[:200], strict=True))


def test_profiles():
    paper = with_profile(Options(), "paper")
    assert (paper.adversarial, paper.kl, paper.reconstruction) == (1, 1, 100)
    assert asdict(replace(paper, kl=10.0, reconstruction=50.0)) == asdict(Options())
    with pytest.raises(UsageError, match="default, paper"):
        with_profile(Options(), "papre")


def test_same_seed_same_fit_and_global_randomness_untouched():
    subject = toy_fits.subject()
    images, odds = torch.from_numpy(subject.reference.read(range(200))), log_odds_of(subject)
    before = torch.get_rng_state()
    options = Options(bins=5, steps=6, warmup=2, width=8)
    first, second, other = (fit(odds, images, replace(options, seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.first.weight, other.first.weight)


def test_a_toy_fit_learns_the_classifier(toy):
    subject, explainer = toy
    images, _ = subject.sample(32, seed=0)
    checksum = subject.checksum()
    found = explainer.explain(subject, images)
    assert subject.checksum() == checksum
    achieved, asked = found.trajectory.probabilities, found.trajectory.requested
    towards = achieved.gather(2, found.target[:, None, None].expand(-1, 5, 1))[:, :, 0]
    assert float(rank_correlation(towards).mean()) > 0.9 and float((towards - asked).abs().mean()) < 0.15
    assert set(found.outcome) == {"converged"} and found.trajectory.kind == "exaggeration"
    assert torch.allclose(achieved.sum(2), torch.ones(32, 5)) and torch.equal(
        found.source + found.target, torch.ones(32).long()
    )
    # a light image is darkened, a dark one lightened
    change = found.map("signed").mean((1, 2))
    assert bool(((change > 0) == (found.targets == 0)).all())
    assert torch.allclose(
        found.map("abs"), (found.trajectory.images[:, -1] - found.trajectory.images[:, 0]).abs().sum(1)
    )
    assert torch.equal(found.counterfactual, found.trajectory.images[:, -1])
    assert float((found.reconstruction - images).abs().mean()) < 0.1
    assert torch.allclose(subject.module(found.counterfactual).softmax(1), achieved[:, -1], atol=1e-5)


def test_results_do_not_depend_on_the_batch_or_the_seed(toy):
    subject, explainer = toy
    images, _ = subject.sample(6, seed=3)
    whole = explainer.explain(subject, images)
    parts = explainer.explain(subject, images, batch_size=1, seed=9)
    assert torch.allclose(whole.attribution, parts.attribution, atol=1e-5)
    assert torch.allclose(whole.trajectory.images, parts.trajectory.images, atol=1e-5)


def test_pictures_show_every_request_with_what_was_asked_and_achieved(toy):
    subject, explainer = toy
    image = subject.data.load([0])
    found = explainer.explain(subject, image)
    wide = Trajectory(*(torch.cat([part, part], 1) for part in (found.trajectory.images, found.trajectory.probabilities,
                                                               found.trajectory.requested)), "exaggeration")  # fmt: skip
    asked = midpoints(10)[None]
    made = replace(found, trajectory=replace(wide, requested=asked))
    probe = int(made.target[0])
    figure = Figure()
    morphs.story(figure, image[0], made, "series", subject.class_names)
    shown = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert shown == [morphs.caption(made, frame, subject.class_names) for frame in range(10)]
    for frame, text in enumerate(shown):
        share = float(made.trajectory.probabilities[0, frame, probe])
        assert f"asked {0.05 + frame / 10:.2f}" in text and f"{subject.class_names[probe]} {share:.2f}" in text
    # other morphs are blends of their ends, of which eight say as much
    blend = replace(made, trajectory=replace(wide, requested=None, kind="morph"))
    figure = Figure()
    morphs.story(figure, image[0], blend, "morph", subject.class_names)
    assert len([axis for axis in figure.axes if axis.texts]) == 8 == morphs.columns_of(blend)


def test_the_explained_class_decides_the_direction(toy):
    subject, explainer = toy
    images, _ = subject.sample(4, seed=0)
    up, down = (explainer.explain(subject, images, [target] * 4) for target in (0, 1))
    assert torch.equal(up.attribution, -down.attribution)
    assert torch.equal(up.counterfactual, down.trajectory.images[:, 0])
    said = subject.predict(images)
    for found in (up, down):
        assert [word == "trivial" for word in found.outcome] == (said != found.targets).tolist()


def test_the_map_against_the_image(toy):
    subject, explainer = toy
    images, _ = subject.sample(4, seed=0)
    spec = {**dict(explainer.resolved.params), "map": "input"}
    other = explainers.get(models.Spec("progressive-exaggeration", tuple(sorted(spec.items()))))
    found = other.explain(subject, images)
    assert torch.allclose(found.attribution, found.counterfactual - images)


def test_classifiers_that_do_not_suit_are_refused(tmp_path):
    explainer = explainers.get(TOY)
    with pytest.raises(UsageError, match="binary classifiers, and brightness has 3 classes"):
        explainer.fit(toy_fits.subject(classes=3), folder=str(tmp_path))
    images = torch.rand(10, 1, 8, 8)
    with pytest.raises(UsageError, match="one of 5 bins"):
        fit(lambda x: torch.full((len(x),), 9.0), images, Options(bins=5))
    with pytest.raises(UsageError, match="12x12; height and width must be multiples of 8"):
        fit(lambda x: x.mean((1, 2, 3)), torch.rand(10, 1, 12, 12), Options())
    assert not list(tmp_path.iterdir())


def test_unknown_map():
    with pytest.raises(UsageError, match="extremes"):
        explainers.get("progressive-exaggeration[map=extreme]").explain(toy_fits.subject(), torch.rand(1, 1, 8, 8))


# quality


def test_rank_correlation_agrees_with_scipy():
    draw = torch.Generator().manual_seed(0)
    values = torch.randint(0, 6, (20, 10), generator=draw).float()
    ours = rank_correlation(values)
    assert all(
        float(o) == pytest.approx(spearmanr(range(10), v).statistic) for o, v in zip(ours, values.tolist(), strict=True)
    )
    assert bool(rank_correlation(torch.ones(1, 5)).isnan().all())


def test_quality_of_a_generator_known_by_hand():
    class Flat(torch.nn.Module):
        bins = 4

        def encode(self, x):
            return x

        def decode(self, code, bins):
            return losses.midpoints(4)[bins][:, None, None, None].expand_as(code)

        def forward(self, x, bins):
            return self.decode(x, bins)

    images = torch.full((3, 1, 2, 2), 0.5)
    found = quality(Flat(), lambda x: torch.logit(x.mean((1, 2, 3))), images)
    assert torch.allclose(found.error, torch.zeros(3), atol=1e-6) and torch.allclose(found.span, torch.full((3,), 0.75))
    assert found.spearman.tolist() == pytest.approx([1, 1, 1]) and torch.allclose(found.itself, torch.full((3,), 0.125))
    against = quality(Flat(), lambda x: torch.logit(x.mean((1, 2, 3))), images, lambda x: -x.mean((1, 2, 3)))
    assert against.spearman.tolist() == pytest.approx([-1, -1, -1])


# the shipped weights


@pytest.fixture(scope="module")
def shipped():
    subject = models.load("fmnist-tshirt-shirt")
    return subject, explainers.get("progressive-exaggeration")


def test_the_shipped_fit_needs_no_fitting(shipped, monkeypatch):
    monkeypatch.setattr("explainers.contrastive.exaggeration.explain.fit", None)
    subject, explainer = shipped
    assert explainer.fit(subject) is not None
    found = explainer.explain(subject, subject.sample(2, seed=0)[0])
    assert found.trajectory.images.shape == (2, 10, 1, 32, 32)


@pytest.mark.slow
def test_the_shipped_fit_on_held_out_images(shipped):
    from explainers.contrastive.exaggeration.explain import NAME
    from explainers.contrastive.fits import load

    subject, explainer = shipped
    fitted = built(load(NAME, subject, dict(explainer.resolved.params)))
    images, _ = subject.sample(200, seed=1)
    odds = log_odds_of(subject)
    found = quality(fitted, odds, images)
    assert float(found.spearman.mean()) >= 0.9 and float(found.error.mean()) <= 0.15
    assert float(found.span.mean()) >= 0.7
    assert float(found.itself.mean()) <= 0.05 and float(found.cycle.mean()) <= 0.06
    oracle = models.load("fmnist-oracle")

    def judge(x):
        logits = oracle.logits(x)
        return logits[:, 6] - logits[:, 0]

    assert float(quality(fitted, odds, images, judge).spearman.mean()) >= 0.8
