from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import explainers
import models
from explainers import paired, pictures
from explainers.contrastive.embedding import explain, fitting, networks, pairs
from explainers.contrastive.embedding.fitting import Options, fit
from explainers.contrastive.embedding.vectors import embedder, subject_of
from models.naming import UsageError

from . import toy_fits

SMALL = "steps=60,vae_steps=150"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    subject = toy_fits.subject()
    folder = str(tmp_path_factory.mktemp("fits"))
    return subject, {name: explainers.get(f"{name}[{SMALL},layer=features]").fit(subject, folder=folder)
                     for name in ("ae-vae", "siamese-ae-vae")}  # fmt: skip


# losses and networks


def test_divergence_agrees_with_torch():
    mean, spread = torch.randn(6, 35), torch.randn(6, 35)
    both = torch.distributions.Normal(mean, (spread / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    wanted = torch.distributions.kl_divergence(*both).sum(1).mean()
    assert float(fitting.divergence(mean, spread)) == pytest.approx(float(wanted), rel=1e-5)


def test_layers_are_the_papers():
    pair = networks.AeVae(1, (32, 32), 20)
    dense = [layer for layer in pair.vectors.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in dense] == [50] * 5 + [35, 35] + [50] * 5 + [20]
    assert not any(isinstance(layer, nn.ReLU) for layer in pair.vectors.modules())
    kinds = [type(layer).__name__ for layer in pair.images.encoder]
    assert kinds.count("Conv2d") == kinds.count("MaxPool2d") == 3 and kinds[-1] == "Tanh"
    kinds = [type(layer).__name__ for layer in pair.images.decoder]
    assert kinds.count("Conv2d") == kinds.count("Upsample") == 3 and kinds[-1] == "Sigmoid"


def test_codes_without_noise_are_the_centre_and_noise_has_the_posteriors_spread():
    pair = networks.AeVae(1, (8, 8), 4)
    h = torch.randn(3, 4)
    with torch.no_grad():
        still = pair.codes(h, torch.zeros(2, networks.LATENT))
        assert torch.allclose(still, pair.centres(h).repeat_interleave(2, 0), atol=1e-6)
        pair.vectors.spread.weight.zero_()
        pair.vectors.spread.bias.fill_(-100.0)
        assert torch.allclose(pair.codes(h, torch.ones(1, networks.LATENT)), pair.centres(h), atol=1e-2)
        assert torch.allclose(pair.aligned(pair.centre[None]), torch.zeros(1, 4))


# maps


def test_heat_maps_by_hand():
    drawn = torch.tensor([0.0, 0.2, 1.0]).view(3, 1, 1, 1)
    centre, image = torch.full((1, 1, 1), 0.3), torch.full((1, 1, 1), 0.9)
    found = {kind: float(explain.heat(drawn, centre, image, kind)) for kind in explain.MAPS}
    assert found == pytest.approx({"mad": (0.4 + 0.2 + 0.6) / 3, "signed-recon": 0.1, "signed-input": -0.5})
    maps = torch.tensor([[0.1, -0.6, 1.0], [0.4, 0.5, 0.9]])
    assert explain.above(maps, 0.5).tolist() == [[0, pytest.approx(-0.6), 1], [0, 0.5, pytest.approx(0.9)]]
    assert torch.equal(explain.above(maps, 0.0), maps)


def test_maps_are_deterministic_at_a_seed_and_do_not_depend_on_the_batch(toy):
    subject, made = toy
    images, _ = subject.sample(4, seed=2)
    before = torch.get_rng_state()
    for explainer in made.values():
        whole, again = explainer.explain(subject, images, seed=1), explainer.explain(subject, images, seed=1)
        alone = explainer.explain(subject, images, seed=1, batch_size=1)
        assert torch.equal(whole.attribution, again.attribution)
        assert torch.allclose(whole.attribution, alone.attribution, atol=1e-5)
        assert not torch.equal(whole.attribution, explainer.explain(subject, images, seed=2).attribution)
    assert torch.equal(torch.get_rng_state(), before)


def test_there_is_no_explained_class(toy):
    subject, made = toy
    images, _ = subject.sample(3, seed=0)
    for explainer in made.values():
        assert not explainer.info.class_sensitive and explainer.info.amortised
        maps = [explainer.explain(subject, images, [target] * 3).attribution for target in (0, 1)]
        assert torch.equal(*maps)


def test_the_three_maps_agree_with_their_definitions(toy):
    subject, made = toy
    images, _ = subject.sample(2, seed=0)
    params = dict(made["ae-vae"].resolved.params)
    found = {}
    for kind in explain.MAPS:
        spec = models.Spec("ae-vae", tuple(sorted({**params, "map": kind}.items())))
        found[kind] = explainers.get(spec).explain(subject, images)
    assert float(found["mad"].attribution.min()) >= 0
    assert torch.allclose(found["mad"].attribution.flatten(1).amax(1), found["mad"].extra["largest"])
    gap = found["signed-recon"].attribution - found["signed-input"].attribution
    assert torch.allclose(gap, images - found["mad"].reconstruction, atol=1e-6)
    with pytest.raises(UsageError, match="did you mean 'mad'"):
        explainers.get("ae-vae[map=mda]").explain(subject, images)


# fitting


def test_a_fit_reconstructs_aligns_and_repeats():
    subject = toy_fits.subject()
    images = torch.from_numpy(subject.reference.read(range(200)))
    embed = embedder(subject, "features")
    options = Options(steps=150, vae_steps=400)
    before = torch.get_rng_state()
    pair, report = fit(embed, images, options)
    again, _ = fit(embed, images, options)
    other, _ = fit(embed, images, replace(options, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    states = [list(each.state_dict().values()) for each in (pair, again, other)]
    assert all(torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(states[0], states[2], strict=True))
    x = subject.data.load(range(64))
    with torch.no_grad():
        wanted, codes = pair.aligned(embed(x)), pair.images.encode(x)
        assert float((pair.decode(codes) - x).square().mean()) < 0.01 and report["error"] < 0.02
        # the toy embedding has four equal dimensions
        assert float(torch.corrcoef(torch.stack([wanted[:, 0], codes[:, 0]]))[0, 1]) > 0.85


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UsageError, match="the same for all training images"):
        fit(lambda x: torch.ones(len(x), 3), torch.rand(5, 1, 8, 8), Options())
    with pytest.raises(UsageError, match="multiples of 8"):
        fit(lambda x: x.flatten(1), torch.rand(5, 1, 10, 8), Options())


# embeddings


def test_where_the_embedding_comes_from():
    subject = toy_fits.subject()
    x = subject.data.load(range(5))
    assert torch.allclose(embedder(subject, "features")(x), subject.model.mean(x.flatten(1)))
    assert torch.allclose(embedder(subject, "output")(x), subject.logits(x))
    assert subject.checksum() == toy_fits.subject().checksum()
    with pytest.raises(UsageError, match="features, output"):
        embedder(subject, "feature")


class WithFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 3, 3), nn.Linear(3, 2)

    def features(self, x):
        return self.conv(x).amax((2, 3))

    def forward(self, x):
        return self.last(self.features(x))


def test_a_networks_own_features_come_first_and_maps_of_places_are_pooled_away():
    subject = toy_fits.subject().with_model(WithFeatures().eval())
    x = subject.data.load(range(2))
    assert torch.allclose(embedder(subject, "features")(x), subject.model.features(x))

    class Plain(WithFeatures):
        features = None

        def forward(self, x):
            return self.last(self.conv(x).amax((2, 3)))

    plain = subject.with_model(Plain().eval())
    assert torch.allclose(embedder(plain, "features")(x), plain.model.conv(x).amax((2, 3)))


# pairs


def test_kept_codes_by_hand():
    codes, goal = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-3.0, 0.0]]), torch.tensor([0.0, 1.9])
    assert pairs.kept_codes(codes, goal, 2, "similar").tolist() == [[0, 2], [1, 1]]
    assert pairs.kept_codes(codes, goal, 1, "dissimilar").tolist() == [[-3, 0]]


def test_a_pair_is_explained_both_ways(toy):
    subject, made = toy
    settings = {key: value for key, value in dict(made["siamese-ae-vae"].resolved.params).items() if key != "pair"}
    x, z = subject.data.load(range(3)), subject.data.load(range(10, 13))
    found = pairs.explain_pairs(subject, x, z, seed=4, **settings)
    turned = pairs.explain_pairs(subject, z, x, seed=4, **settings)
    assert torch.equal(found.first, turned.second) and torch.equal(found.second_images, turned.first_images)
    assert found.first_images.shape == (3, 15, 1, 8, 8) and found.distance.shape == (3,)
    assert torch.allclose(found.first, found.first_images.mean(1) - found.first_centre, atol=1e-6)
    with pytest.raises(UsageError, match="did you mean 'keep'"):
        pairs.explain_pairs(subject, x, z, kepp=3)
    with pytest.raises(UsageError, match="both must agree"):
        pairs.explain_pairs(subject, x, z[:2])
    with pytest.raises(UsageError, match="1 to 20 candidates"):
        pairs.explain_pairs(subject, x, z, samples=20, keep=21)


def test_partners_come_from_the_reference_images_and_are_not_the_image_itself():
    subject = toy_fits.subject()
    images = subject.reference.load(range(6))
    near = pairs.partners_of(subject, images, "features", "similar", 0)
    far = pairs.partners_of(subject, images, "features", "dissimilar", 0)
    embed = embedder(subject, "features")
    assert not bool((near == images).flatten(1).all(1).any())
    gaps = [(embed(images) - embed(each)).norm(dim=1) for each in (near, far)]
    assert bool((gaps[0] < gaps[1]).all())
    alone = torch.cat([pairs.partners_of(subject, image[None], "features", "dissimilar", 0) for image in images])
    assert torch.equal(far, alone)


# the shipped weights


def test_pictures_of_a_pair_show_both_images_and_what_is_kept(toy, tmp_path):
    subject, made = toy
    image = subject.data.load([3])
    found = made["siamese-ae-vae"].explain(subject, image)
    assert paired.has_story(found) and not paired.has_story(made["ae-vae"].explain(subject, image))
    figure = Figure()
    paired.story(figure, image[0], found, "siamese-ae-vae", ("dark", "light"))
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    wanted = [
        (who, what) for who in ("input", "partner") for what in ("", ", decoded", ", map", ", kept 1", ", kept 5")
    ]
    assert len(titles) == 16 and {who + what for who, what in wanted} <= set(titles)
    shown = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes}
    for title, picture in (
        ("partner", "partner"),
        ("partner, decoded", "partner_reconstruction"),
        ("partner, map", "partner_map"),
    ):
        assert torch.equal(torch.from_numpy(shown[title].data), found.extra[picture][0, 0])
    # an embedding's numbers are no classes: none is named, and no explainer that asks for one is let in
    vectors = replace(subject, spec={"kind": "embedding", "name": "toy"})
    said = pictures.draw(vectors, "3", [made["siamese-ae-vae"]], tmp_path / "pair.png")
    assert "image 3" in said and "class" not in said and (tmp_path / "pair.png").stat().st_size > 0
    for explainer, target in ((explainers.get("saliency"), None), (made["siamese-ae-vae"], 1)):
        with pytest.raises(UsageError, match="without classes"):
            pictures.draw(vectors, "3", [explainer], tmp_path / "no.png", target=target)


@pytest.fixture(scope="module")
def lenet():
    return models.load("fmnist-lenet")


def correlations(a, b):
    return torch.stack(
        [torch.corrcoef(torch.stack([p, q]))[0, 1] for p, q in zip(a.flatten(1), b.flatten(1), strict=True)]
    )


def test_shipped_fits_need_no_fitting(lenet, monkeypatch):
    monkeypatch.setattr(explain, "fit", None)
    found = explainers.get("ae-vae").explain(lenet, lenet.sample(2, seed=0)[0])
    assert found.status == ("ok", "ok") and found.reconstruction.shape == (2, 1, 32, 32)


@pytest.mark.slow
def test_shipped_fit_of_the_lenet_on_held_out_images(lenet):
    explainer = explainers.get("ae-vae")
    images, _ = lenet.sample(64, seed=0)
    params = dict(explainer.resolved.params)
    pair, embed = explain.fitted(lenet, "ae-vae", params), embedder(lenet, "features")
    with torch.no_grad():
        h, codes = embed(images), pair.images.encode(images)
        assert float((pair.decode(codes) - images).square().mean()) <= 0.02
        assert float(correlations(pair.aligned(h).T, codes.T).nanmean()) >= 0.85
    maps = explainer.explain(lenet, images).map().flatten(1)
    across = torch.corrcoef(maps)[~torch.eye(64, dtype=torch.bool)]
    assert float(across.median()) <= 0.6
    assert float(correlations(maps, explainer.explain(lenet, images, seed=1).map()).median()) >= 0.95


@pytest.mark.slow
def test_siamese_pairs_on_held_out_images():
    embedding = models.load_embedding("fmnist-siamese")
    subject = subject_of(embedding)
    images, _ = subject.sample(128, seed=1)
    x, z = images[:64], images[64:]
    near, far = (pairs.explain_pairs(embedding, x, z, pair=kind) for kind in ("similar", "dissimilar"))

    def gap(found):
        one = (found.first_images - found.second_centre[:, None]).flatten(2).norm(dim=2).mean(1)
        two = (found.second_images - found.first_centre[:, None]).flatten(2).norm(dim=2).mean(1)
        return one + two

    assert float((gap(near) < gap(far)).float().mean()) >= 0.9
