"""Contrastive explainers as users meet them: what an answer holds, who is refused, what other weights are asked."""

import dataclasses

import pytest
import torch
from PIL import Image
from torch import nn

import explainers
from explainers import pictures, registry
from explainers.base import OUTCOMES, ExplainerError
from explainers.contrastive import start
from explainers.contrastive.cdeepex import morph_of
from models.adapters import from_tensor
from models.naming import UsageError
from models.randomize import randomized
from tests.explainers.toy_generators import classifier

HERE = "generator=tests/explainers/toy_generators.py"


def get(name, *params, made="pixels"):
    has = registry.card(name).params
    given = [*params, *([f"{HERE}:{made}"] if "generator" in has else [])]
    return explainers.get(f"{name}[{','.join(given)}]" if given else name)


@pytest.fixture(scope="module")
def toy():
    return classifier(count=16)


@pytest.fixture(scope="module")
def found(toy):
    return get("cdeepex", "probe=random").explain(*toy)


@pytest.fixture(scope="module")
def cut(toy):
    """Images of black and white pixels, drawn as waves: the generator leaves much over, and morphs leave [0, 1]."""
    subject, images = toy
    images = (images > 0.5).float()
    return images, get("cdeepex", made="waves").explain(subject, images)


def test_the_residual_is_what_the_generator_cannot_draw(toy, cut):
    subject, images = toy[0], cut[0]
    for found in (cut[1], get("xgem", "residual=true", made="waves").explain(subject, images)):
        generator = start.generator_for(subject, f"{HERE.partition('=')[2]}:waves", images)
        torch.testing.assert_close(generator.decode(found.latents[0]), found.reconstruction, atol=1e-6, rtol=0)
        assert float((images - found.reconstruction).abs().flatten(1).amax(1).min()) > 0.2
        begun = start.Start(found.target, found.latents[0], found.reconstruction)
        first = {
            kept: morph_of(
                generator, subject.logits, images, found.source, begun, third="corrected", residual=kept
            ).image(begun.z)
            for kept in (True, False)
        }
        assert float((first[True] - images).abs().max()) < 1e-6
        torch.testing.assert_close(first[False], found.reconstruction, atol=1e-6, rtol=0)


def test_the_answer_holds_together(toy, found):
    subject, images = toy
    start_point, end = found.latents
    assert float((found.attribution - (found.counterfactual - images)).abs().max()) < 1e-6
    assert found.counterfactual.min() >= 0 and found.counterfactual.max() <= 1
    assert start_point.shape == end.shape and torch.equal(found.source, subject.predict(images))
    assert set(found.outcome) <= set(OUTCOMES) and (found.source != found.target).all()
    torch.testing.assert_close(found.map("abs"), found.map().abs())


def gaps(subject, found, images):
    """Log odds of source against probe and of the likeliest third class against the less likely of both, on images."""
    logits = subject.predict_logits(images)
    both = torch.stack([found.source, found.target], 1)
    pair = logits.gather(1, both)
    rest = logits.scatter(1, both, float("-inf")).amax(1)
    return pair[:, 0] - pair[:, 1], rest - pair.amin(1)


def test_outcomes_are_read_from_the_images_that_are_returned(toy, cut):
    subject, (images, found) = toy[0], cut
    h, third = gaps(subject, found, found.counterfactual)
    met = (h.abs() <= 0.1) & (third <= 1e-5)
    assert [word in ("converged", "trivial") for word in found.outcome] == met.tolist()
    torch.testing.assert_close(found.extra["h"], h, atol=1e-4, rtol=0)
    assert met.float().mean() >= 0.9
    # what the search would have said of itself had nothing been cut is another thing, so that it must have looked again
    generator = start.generator_for(subject, f"{HERE.partition('=')[2]}:waves", images)
    uncut = generator.decode(found.latents[1]) + images - found.reconstruction
    assert ((uncut < -0.05) | (uncut > 1.05)).flatten(1).any(1).float().mean() >= 0.5
    h, third = gaps(subject, found, uncut)
    assert ((h.abs() <= 0.1) & (third <= 1e-5)).float().mean() <= 0.5


def test_the_morph_goes_from_the_image_to_the_counterfactual(toy, found):
    subject, images = toy
    way = found.trajectory
    assert torch.equal(way.images[:, 0], images) and torch.equal(way.images[:, -1], found.counterfactual)
    flat = way.images.flatten(0, 1)
    torch.testing.assert_close(
        way.probabilities.flatten(0, 1), subject.predict_logits(flat).softmax(1), atol=1e-5, rtol=0
    )
    moved = (way.images - images[:, None]).flatten(2).norm(dim=2)
    assert (moved.diff(dim=1) >= -1e-3).float().mean() > 0.95 and way.kind == "morph"


def test_batches_do_not_matter(toy):
    subject, images = toy
    for name in ("cdeepex", "xgem-eq", "xgem", "counterfactual-random-latent", "counterfactual-pgd"):
        whole, single = (get(name).explain(subject, images, batch_size=size) for size in (None, 3))
        assert whole.outcome == single.outcome and torch.equal(whole.target, single.target)
        assert float((whole.attribution - single.attribution).abs().max()) < 1e-4
        if whole.trajectory is not None:
            assert whole.trajectory.images.shape == single.trajectory.images.shape


def test_probes(toy):
    subject, images = toy
    order = subject.predict_logits(images).argsort(1, descending=True)
    found = get("counterfactual-identity").explain(subject, images)
    assert torch.equal(found.target, order[:, 1])
    drawn = get("counterfactual-identity", "probe=random").explain(subject, images, seed=4)
    rank = (order == drawn.target[:, None]).long().argmax(1)
    assert int(rank.min()) >= 2 and len(set(rank.tolist())) > 3
    again = get("counterfactual-identity", "probe=random").explain(subject, images.flip(0), seed=4)
    assert torch.equal(again.target.flip(0), drawn.target)
    assert get("counterfactual-identity", "probe=3").explain(subject, images).target.tolist() == [3] * 16
    with pytest.raises(UsageError, match="probe is 'ten'"):
        get("counterfactual-identity", "probe=ten").explain(subject, images)
    assert get("cdeepex", "probe=7").name == f"cdeepex[{HERE}:pixels,probe=7]"


def test_a_probe_that_is_the_explained_class_is_trivial(toy):
    subject, images = toy
    targets = subject.predict(images)
    same = int(targets[0])
    for name in ("cdeepex", "xgem-eq"):
        found = get(name, f"probe={same}").explain(subject, images, targets)
        for row in torch.nonzero(targets == same).flatten().tolist():
            assert found.outcome[row] == "trivial" and found.status[row] == "degenerate-zero"
            assert torch.equal(found.counterfactual[row], images[row])
        assert "converged" in found.outcome


def test_what_cannot_be_reached_is_infeasible_and_stays_in_place():
    """A class whose logit never leaves -50: the row is kept, with a map of numbers and the word for it."""
    subject, images = classifier(count=4)
    with torch.no_grad():
        subject.model[3].weight[2], subject.model[3].bias[2] = 0, -50
    for name in ("cdeepex", "xgem", "counterfactual-pgd"):
        found = get(name, "probe=2").explain(subject, images)
        assert found.outcome == ("infeasible",) * 4 and torch.isfinite(found.attribution).all()


def test_a_network_of_nan_fails_every_image_and_none_is_dropped(toy):
    subject, images = toy
    broken = subject.private_copy()
    with torch.no_grad():
        broken.model[1].weight.fill_(float("nan"))
    for name in ("cdeepex", "xgem", "counterfactual-pgd"):
        found = get(name).explain(broken, images, [0] * 16)
        assert found.outcome == ("failed",) * 16 and found.status == ("failed",) * 16


@pytest.mark.parametrize(("made", "message"), [("not_a_number", "NaN"), ("bright", r"\[0, 1\]|in \[")])
def test_generators_that_draw_no_images_are_refused(toy, made, message):
    with pytest.raises(ExplainerError, match=message):
        get("cdeepex", made=made).explain(*toy)


def test_generators_are_watched_after_they_were_loaded(toy):
    drawn = torch.tensor([[[[0.5, 1.7]]]])
    generator = start.generator_for(toy[0], f"{HERE.partition('=')[2]}:pixels", toy[1])
    for wrong, message in ((drawn, "values in"), (drawn * float("nan"), "NaN")):
        with pytest.raises(ExplainerError, match=message):
            start.checked_image(generator, wrong)


def test_a_generator_of_another_size_and_data_without_one_are_refused(toy):
    with pytest.raises(ExplainerError, match="draws images of"):
        get("cdeepex", made="probe_waves").explain(*toy)
    with pytest.raises(ExplainerError, match="no vae generator for images"):
        explainers.get("cdeepex").explain(*toy)
    for text in ("cdeepex[profile=slow]", "cdeepex[signs=right]", "cdeepex[begin=end]", "xgem[goal=1.5]"):
        name, _, rest = text.partition("[")
        with pytest.raises(UsageError, match=rest.partition("=")[0]):
            get(name, rest.rstrip("]")).explain(*toy)


def test_without_an_encoder_latent_points_are_sought(toy):
    subject, images = toy
    found = get("cdeepex", made="blind")
    assert found.info.stochastic is False and explainers.get("cdeepex[generator=gan]").info.stochastic
    made = found.explain(subject, images)
    error = (made.reconstruction - images).square().mean((1, 2, 3))
    spread = (images - images.mean((1, 2, 3), keepdim=True)).square().mean((1, 2, 3))
    assert (error < spread).all() and torch.equal(made.latents[0], found.explain(subject, images).latents[0])
    assert not torch.equal(made.latents[0], found.explain(subject, images, seed=1).latents[0])


def test_identity_changes_nothing(toy):
    found = get("counterfactual-identity").explain(*toy)
    assert not found.attribution.any() and found.status == ("degenerate-zero",) * 16
    assert found.outcome == ("trivial",) * 16 and torch.equal(found.counterfactual, toy[1])


def test_pgd_stays_within_its_radius_and_reaches_the_probe_class(toy):
    subject, images = toy
    found = get("counterfactual-pgd", "radius=0.2").explain(subject, images)
    assert float((found.counterfactual - images).abs().max()) <= 0.2 + 1e-6
    said = subject.predict(found.counterfactual) == found.target
    assert [word == "converged" for word in found.outcome] == said.tolist() and said.float().mean() >= 0.9


def test_nearest_is_found_by_hand(toy):
    """Labels of these images are all 0, so that only class 0 has members; the network calls few of them so."""
    subject, images = toy
    found = get("counterfactual-nearest", "probe=0").explain(subject, images, [1] * 16)
    called = subject.predict(images) == 0
    for row in range(16):
        apart = (images - images[row]).flatten(1).norm(dim=1)
        best = torch.where(called, apart, float("inf")).argmin() if called.any() else apart.argmin()
        assert torch.equal(found.counterfactual[row], images[best])
    with pytest.raises(UsageError, match="none of class 5"):
        get("counterfactual-nearest", "probe=5").explain(subject, images, [1] * 16)


def test_a_random_move_changes_the_image_as_much_as_the_search(toy):
    subject, images = toy
    searched, drawn = (get(name).explain(subject, images) for name in ("cdeepex", "counterfactual-random-latent"))
    one, other = (each.attribution.flatten(1).norm(dim=1) for each in (searched, drawn))
    assert float((one - other).abs().max()) < 1e-2
    cosine = torch.cosine_similarity(searched.attribution.flatten(1), drawn.attribution.flatten(1))
    assert float(cosine[one > 0].abs().median()) < 0.5
    far = get("counterfactual-random-latent", "norm=latent").explain(subject, images)
    assert far.info.stochastic and not torch.equal(far.attribution, drawn.attribution)


def test_an_anchored_explainer_asks_other_weights_the_same_question(toy):
    subject, images = toy
    explainer = get("cdeepex")
    anchored = explainer.anchored(subject)
    plain = explainer.explain(subject, images)
    assert torch.equal(anchored.explain(subject, images).attribution, plain.attribution)
    other = randomized(subject, [subject.stages[0]], base=0, seed=0)
    asked, free = anchored.explain(other, images, plain.targets), explainer.explain(other, images, plain.targets)
    assert torch.equal(asked.target, plain.target) and not torch.equal(free.target, plain.target)
    assert torch.equal(asked.latents[0], plain.latents[0]) and not torch.equal(asked.attribution, plain.attribution)
    assert anchored.name == explainer.name and anchored.spec == explainer.spec
    saliency = explainers.get("saliency")
    assert saliency.anchored(subject) is saliency


def test_the_spread_of_logits_is_matched(toy):
    subject, _ = toy
    faint = subject.private_copy()
    with torch.no_grad():
        faint.model[3].weight.mul_(0.01), faint.model[3].bias.mul_(0.01)
    assert (
        start.Anchor(subject).scale(faint) == pytest.approx(100, rel=1e-4) and start.Anchor(subject).scale(subject) == 1
    )
    before, after = (get("cdeepex").anchored(subject).explain(each, toy[1]) for each in (subject, faint))
    torch.testing.assert_close(before.attribution, after.attribution, atol=1e-2, rtol=0)
    assert get("cdeepex").explain(faint, toy[1]).outcome.count("trivial") >= 8  # the trap that the scale is for


def test_pictures_of_one_image_of_several_and_in_motion(toy, tmp_path):
    subject, _ = toy
    chosen = [get("cdeepex", "probe=random"), explainers.get("gradient")]
    said = pictures.draw(subject, "0", chosen, tmp_path / "one.png")
    assert "converged" in said and "towards class" in said
    pictures.draw(subject, "0,1,2", chosen, tmp_path / "three.png")
    sizes = [Image.open(tmp_path / name).size for name in ("one.png", "three.png")]
    assert sizes[0] != sizes[1]
    pictures.draw(subject, "0", chosen, tmp_path / "morph.gif")
    with Image.open(tmp_path / "morph.gif") as film:
        assert film.n_frames > 5
    for image, each, message in (("0", chosen[1:], "an animation"), ("0,1", chosen, "an animation")):
        with pytest.raises(UsageError, match=message):
            pictures.draw(subject, image, each, tmp_path / "no.gif")


def test_titles_say_whose_maps_are_combined():
    titles = [pictures._called(explainers.get(name)) for name in ("contrast(gradcam)", "contrast(lime)", "gradient")]
    assert titles == ["contrast(gradcam)", "contrast(lime)", "gradient"]


def test_two_classes_only():
    """No third class: the constraints are empty, and random falls on the only other class."""
    subject, images = classifier(classes=2, count=6)
    for probe in ("second", "random"):
        found = get("cdeepex", f"probe={probe}").explain(subject, images)
        assert torch.equal(found.target, 1 - found.source) and "failed" not in found.outcome


def test_a_bare_module_is_explained():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images = torch.rand(3, 1, 4, 4)
    assert get("cdeepex").explain(net, images).counterfactual.shape == images.shape
    assert from_tensor(net, images).num_classes == 3


@pytest.mark.parametrize(
    ("data", "kind", "name"),
    [
        ("fashion-mnist/train", "vae", "fashion-mnist-vae"), ("fashion-mnist-square-train", "gan", "fashion-mnist-gan-biased"),
        ("fashion-mnist/train", "wgan", "fashion-mnist-gan[loss=wgan]"),
        ("fashion-mnist-tshirt-shirt-train", "ae", "fashion-mnist-ae"),
    ],
)  # fmt: skip
def test_a_generator_belongs_to_data_and_not_to_a_classifier(toy, data, kind, name):
    subject, _ = toy
    images = dataclasses.replace(subject.data, name=data)
    assert start.belonging(dataclasses.replace(subject, reference=images), kind) == name
