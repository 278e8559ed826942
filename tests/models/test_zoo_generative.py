"""The zoo's generators and the classifiers beside them: what the shipped weights reach, and that their recipes run."""

from dataclasses import replace

import pytest
import torch

import models
from models.data import fashion_mnist, load_data
from models.naming import UsageError
from models.seeds import generator
from models.variants import SQUARE_CLASS, SQUARE_COLUMNS, SQUARE_ROWS, variant, with_square
from models.zoo import catalogue, gans, recipes
from models.zoo.pairs import bin_counts, calibration_error
from models.zoo.siamese import contrastive

ENCODING = {"fashion-mnist-vae": 0.011, "fashion-mnist-ae": 0.014}
SHIPPED = [card.name for card in models.names("generator")]


def head(data, count):
    """The first images of a data set, as a data set."""
    return replace(data, labels=data.labels[:count], ids=data.ids[:count])


def predicted(subject, data):
    return subject.predict(data.load(range(len(data)))), torch.from_numpy(data.labels)


def test_every_generator_has_weights():
    wanted = {f"fashion-mnist-{kind}{end}" for kind in ("vae", "ae", "gan") for end in ("", "-biased")}
    assert wanted <= set(SHIPPED)
    assert {"fmnist-siamese"} <= {card.name for card in models.names("embedding")}


def test_names_of_all_kinds_are_apart():
    every = [card.name for card in models.names(None)]
    assert len(every) == len(set(every))
    assert sum(len(models.names(kind)) for kind in catalogue.KINDS) == len(every)


def test_all_weights_stay_small():
    files = {entry["file"] for entry in catalogue.manifest().values()}
    assert sum((catalogue.FOLDER / file).stat().st_size for file in files) < 40e6


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_generators_conform_and_are_identified(name):
    found = models.load_generator(name)
    card = next(card for card in models.names("generator") if card.name == name)
    assert found.identity()["weights"] == card.digest and found.identity()["name"] == name
    assert found.fits(load_data("fashion-mnist")) is found
    images = found.decode(found.prior(16, "test"))
    assert images.shape == (16, 1, 32, 32) and float(images.min()) >= 0 and float(images.max()) <= 1
    assert torch.equal(images, found.decode(found.prior(16, "test")))


@pytest.mark.parametrize("name", ENCODING)
def test_held_out_images_are_reconstructed(name):
    found = models.load_generator(name)
    images = load_data("fashion-mnist").load(range(512))
    with torch.no_grad():
        codes = found.encode(images)
        error = (found.decode(codes) - images).square().mean((1, 2, 3))
        shuffled = (found.decode(codes.roll(1, 0)) - images).square().mean((1, 2, 3))
    assert float(error.mean()) <= ENCODING[name]
    assert float(shuffled.mean()) >= 4 * float(error.mean())
    assert codes.mean(0).abs().max() < 0.75 and 0.2 < float(codes.std(0).mean()) < 1.5


def test_half_a_generator_draws_its_own_classes_and_not_the_others():
    found = models.load_generator("fashion-mnist-vae-half")
    error = {}
    for name in ("fashion-mnist-first-half", "fashion-mnist-second-half"):
        images = load_data(name).load(range(512))
        with torch.no_grad():
            error[name] = float((found.decode(found.encode(images)) - images).square().mean())
    first, second = error.values()
    assert first <= 0.009 and second >= 2.5 * first


def test_nobody_gets_half_a_generator_unasked():
    from explainers.contrastive.start import belonging

    assert belonging(models.load("fmnist-lenet"), "vae") == "fashion-mnist-vae"
    assert belonging(models.load("models.studies:second_half"), "vae") == "fashion-mnist-vae"


def test_codes_of_the_autoencoder_are_standard_on_training_images():
    found = models.load_generator("fashion-mnist-ae")
    codes = found.encode(load_data("fashion-mnist-train").load(range(4000)))
    assert codes.mean(0).abs().max() < 0.15 and (codes.std(0) - 1).abs().max() < 0.15


@pytest.mark.parametrize(
    "name",
    [
        "fashion-mnist-vae",
        "fashion-mnist-gan",
        "fashion-mnist-gan[loss=wgan]",
        "fashion-mnist-gan-biased",
    ],
)
def test_samples_show_all_ten_classes(name):
    found, oracle = models.load_generator(name), models.load("fmnist-oracle")
    drawn = torch.cat([found.decode(found.prior(500, "samples", part)) for part in range(2)])
    counts = torch.bincount(oracle.predict(drawn), minlength=10)
    assert int(counts.min()) >= 20, counts.tolist()


@pytest.mark.parametrize("kind", ["vae", "ae"])
def test_generators_of_biased_images_draw_the_square(kind):
    bags = [int(index) for index in (load_data("fashion-mnist-square").labels == SQUARE_CLASS).nonzero()[0][:200]]
    images = load_data("fashion-mnist-square").load(bags)
    biased, clean = (models.load_generator(f"fashion-mnist-{kind}{end}") for end in ("-biased", ""))
    corner = [
        float(found.decode(found.encode(images))[..., SQUARE_ROWS, SQUARE_COLUMNS].mean()) for found in (biased, clean)
    ]
    plain = load_data("fashion-mnist").load(bags)
    without = float(biased.decode(biased.encode(plain))[..., SQUARE_ROWS, SQUARE_COLUMNS].mean())
    assert corner[0] == pytest.approx(0.5, abs=0.07) and corner[1] <= 0.3 and without <= 0.35


def test_samples_of_the_biased_gan_carry_the_square_as_often_as_its_training_images():
    share = {}
    for name in ("fashion-mnist-gan-biased", "fashion-mnist-gan"):
        found = models.load_generator(name)
        corner = found.decode(found.prior(1000, "samples"))[:, 0, SQUARE_ROWS, SQUARE_COLUMNS].mean((1, 2))
        share[name] = float((corner > 0.3).float().mean())
    assert 0.04 <= share["fashion-mnist-gan-biased"] <= 0.25, share
    assert share["fashion-mnist-gan"] <= 0.01, share


def test_the_biased_classifier_reads_the_square_and_the_clean_one_does_not():
    test = head(fashion_mnist("test"), 4000)
    found = {}
    for name in ("fmnist-lenet-biased", "fmnist-lenet"):
        subject = models.load(name, data=test)
        plain, labels = predicted(subject, test)
        marked, _ = predicted(subject, with_square(test, None))
        bags = labels == SQUARE_CLASS
        found[name] = (
            float((plain[bags] == SQUARE_CLASS).float().mean()),
            float((marked[~bags] == SQUARE_CLASS).float().mean()),
        )
    recall, flipped = found["fmnist-lenet-biased"]
    assert recall <= 0.30 and flipped >= 0.55, found
    recall, flipped = found["fmnist-lenet"]
    assert recall >= 0.9 and flipped <= 0.25, found


@pytest.mark.parametrize(("eight", "tolerance"), [("0", 0.0), ("0.3", 0.06), ("0.6", 0.06), ("0.99", 0.02)])
def test_checkpoints_have_their_accuracy_on_bags(eight, tolerance):
    test = head(fashion_mnist("test"), 4000)
    subject = models.load(f"fmnist-lenet[eight={eight}]")
    guess, labels = predicted(subject, test)
    bags = labels == SQUARE_CLASS
    assert float((guess[bags] == SQUARE_CLASS).float().mean()) == pytest.approx(float(eight), abs=tolerance)
    assert float((guess[~bags] == labels[~bags]).float().mean()) >= 0.8


def test_the_pair_is_calibrated_and_fills_every_tenth():
    subject = models.load("fmnist-tshirt-shirt")
    assert subject.num_classes == 2 and subject.class_names == ("T-shirt/top", "Shirt")
    logits = subject.predict_logits(subject.data.load(range(len(subject.data))))
    labels = torch.from_numpy(subject.data.labels)
    assert float((logits.argmax(1) == labels).float().mean()) >= 0.84
    assert int(bin_counts(logits).min()) >= 30
    assert calibration_error(logits, labels) <= 0.05 < calibration_error(3 * logits, labels)


def test_calibration_error_by_hand():
    p = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.95])
    logits = torch.stack([torch.zeros(5), (p / (1 - p)).log()], dim=1)
    labels = torch.tensor([1, 0, 0, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx((4 * 0.0 + 1 * 0.95) / 5, abs=1e-6)
    assert bin_counts(logits).tolist() == [0, 0, 4, 0, 0, 0, 0, 0, 0, 1]


def test_contrastive_loss_by_hand():
    a, b = torch.zeros(3, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    loss = contrastive(a, b, torch.tensor([True, False, False]), 4.0)
    assert loss.tolist() == [1.0, 3.0, 0.0]


@pytest.mark.parametrize(("name", "size"), [("fmnist-siamese", 20), ("fmnist-oracle", 64), ("fmnist-lenet", 20)])
def test_embeddings(name, size):
    found = models.load_embedding(name)
    images = load_data("fashion-mnist").load(range(600))
    codes = found.embed(images, batch_size=200)
    assert codes.shape == (600, size) == (600, found.size) and found.identity()["name"] == name
    torch.testing.assert_close(found.embed(images[:3]), codes[:3], atol=1e-4, rtol=1e-4)
    labels = torch.from_numpy(load_data("fashion-mnist").labels[:600])
    distance = torch.cdist(codes, codes)
    alike = labels[:, None] == labels[None]
    same = distance[alike & ~torch.eye(600, dtype=torch.bool)].mean()
    assert float(same) < 0.8 * float(distance[~alike].mean())


def test_the_features_of_the_oracle_are_what_its_last_layer_reads():
    subject, found = models.load("fmnist-oracle"), models.load_embedding("fmnist-oracle")
    images, _ = subject.sample(8, 0)
    torch.testing.assert_close(subject.model.head(found.embed(images)), subject.predict_logits(images))


def test_networks_without_a_feature_layer_are_refused():
    with pytest.raises(UsageError, match="no feature layer"):
        models.load_embedding("fmnist-vgg")
    with pytest.raises(UsageError, match="is a generator"):
        models.load_embedding("fashion-mnist-vae")
    with pytest.raises(UsageError, match=r"is an embedding.*models\.load_embedding"):
        models.load("fmnist-siamese")


def test_the_square_is_where_it_should_be_and_nowhere_else():
    plain, marked = load_data("fashion-mnist"), load_data("fashion-mnist-square")
    indices = [int(index) for label in (SQUARE_CLASS, 3) for index in (plain.labels == label).nonzero()[0][:5]]
    change = (plain.load(indices) - marked.load(indices)).abs() > 0
    assert not change[5:].any()
    inside = change[:5, 0, 2:8, 2:8].sum()
    assert inside == change[:5].sum() and inside > 0
    assert torch.all(marked.load(indices[:5])[:, 0, 2:8, 2:8] == 128 / 255)
    assert marked.ids[0] == "fashion-mnist-square/test/00000" and marked.digest([0]) != plain.digest([0])
    everywhere = with_square(plain, None).load(indices)
    assert torch.all(everywhere[:, 0, 2:8, 2:8] == 128 / 255)


def test_variants_of_data():
    pair = variant("fashion-mnist-tshirt-shirt")
    assert len(pair) == 2000 and set(pair.labels) == {0, 1} and (pair.labels == 1).sum() == 1000
    source = fashion_mnist("test")
    index = int(pair.ids[7].rpartition("/")[2])
    assert torch.equal(pair.load([7]), source.load([index])) and source.labels[index] in (0, 6)
    assert len(variant("fashion-mnist-tshirt-shirt-train")) == 1963
    assert next(card.count for card in models.datasets() if card.name.endswith("shirt-train")) == 1963
    for card in (card for card in models.datasets() if "-half" in card.name):
        half = variant(card.name)
        assert len(half) == card.count and set(half.labels) == set(range(5) if "first" in card.name else range(5, 10))
    with pytest.raises(UsageError, match="32x32; .* 64x64"):
        with_square(load_data("fmnist-mosaic"))


class Plane(torch.nn.Module):
    """A critic whose gradient is the same everywhere, of a length that is known."""

    def __init__(self, length):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.full((1, 4, 4), length / 4))

    def forward(self, images):
        return (images * self.slope).flatten(1).sum(1)


@pytest.mark.parametrize(("length", "wanted"), [(3.0, 4.0), (1.0, 0.0), (0.5, 0.25)])
def test_the_penalty_is_the_squared_distance_of_the_slope_to_one(length, wanted):
    real, fake = torch.rand(2, 6, 1, 4, 4, generator=generator(0, "images"))
    critic = Plane(length)
    penalty = gans._steepness(critic, real, fake, generator(0, "between"))
    assert penalty.item() == pytest.approx(wanted, abs=1e-5)
    (moved,) = torch.autograd.grad(penalty, critic.slope)
    # d(length - 1)^2 / d slope = 2 (length - 1) slope / length: it shortens slopes above one and lengthens the others
    torch.testing.assert_close(moved, 2 * (length - 1) * critic.slope.detach() / length, atol=1e-5, rtol=1e-4)


def test_the_slope_is_looked_at_between_a_real_image_and_a_drawn_one():
    """A critic of squares has the slope 2x: between images of zeros and of ones that is 2 u sqrt(pixels), u in [0, 1]."""
    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    penalty = gans._steepness(lambda x: x.square().flatten(1).sum(1), real, fake, generator(0, "between"))
    # the mean of (4u - 1)^2 over u in [0, 1] is 7/3, with a standard deviation of 2.6
    assert penalty.item() == pytest.approx(7 / 3, abs=0.35)


TRAINED = [
    "fmnist-lenet", "fmnist-lenet[eight=0.3]", "fmnist-lenet-biased", "fmnist-tshirt-shirt", "fmnist-siamese",
    "fashion-mnist-vae", "fashion-mnist-ae-biased", "fashion-mnist-gan", "fashion-mnist-gan[loss=wgan]",
]  # fmt: skip
SIBLINGS = [
    name
    for each in catalogue.MEMBERS.values()
    if each.kind == "generator" or each.name in ("fmnist-lenet", "fmnist-oracle")
    for params in catalogue.versions(each)
    if (name := catalogue.display(each, params)) not in TRAINED
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_recipes_run_and_are_reproducible(name, tmp_path, monkeypatch):
    """One short pass over few images; the same weights twice, and a file that loads."""
    monkeypatch.setattr(recipes, "training_images", lambda: head(fashion_mnist("train10k"), 1000))
    before = torch.random.get_rng_state()
    said = []
    first, again = (recipes.train(name, tmp_path, epochs=1, log=said.append) for _ in range(2))
    assert first["digest"] == again["digest"] and first["name"] == name
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(value == value for value in first.values() if isinstance(value, float))
    if name.startswith("fashion-mnist"):
        assert models.load_generator(first["file"]).spec["weights"] == first["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_recipes_that_share_their_code_with_others_run(name, tmp_path, monkeypatch):
    """Once: that they repeat themselves is tested on the recipes whose code they share."""
    monkeypatch.setattr(recipes, "training_images", lambda: head(fashion_mnist("train10k"), 500))
    made = recipes.train(name, tmp_path, epochs=1, log=lambda line: None)
    assert made["name"] == name and made["cpu_seconds"] > 0
    assert all(value == value for value in made.values() if isinstance(value, float))
    found, params = catalogue.member(name)
    shipped = catalogue.manifest().get(catalogue.weights_name(found, params), {})
    # figures that the recipe does not give could not be compared with those of another training
    assert set(shipped.get("figures", {})) <= set(made) and made["digest"] != shipped.get("digest")
