"""Passes that take over what they have in common give the same bits as passes made on their own."""

from itertools import islice

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

import explainers
import explainers.memory
import models
from explainers.passes import fingerprint, forward, network, shared_passes, watched_logits
from explainers.reuse import Reuse, StaleResult, made_from
from models.base import Subject
from models.randomize import cascade, independent, randomized
from models.refold import folded_network
from models.stages import CONVOLUTIONS

TRUSTED = "models.networks.here"
"""Parts of networks from here are known to be reached by their names alone, so that copies share what is unchanged."""
NAMES = ("gradient", "gradcam", "gradcam++", "guided-backprop", "deconvnet", "integrated-gradients[steps=5]",
         "smoothgrad[samples=3]", "smoothgrad[samples=2](guided-backprop)")  # fmt: skip


def around(model: nn.Module) -> Subject:
    data = models.load_data("fashion-mnist")
    return Subject(name="own", model=model.eval(), data=data, reference=data)


def seeded(build, *args):
    with models.seeds.seeded(3):
        return build(*args)


class Residual(nn.Module):
    """In-place activations, an addition, a concatenation, a batch norm that cannot be folded, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.lone = nn.BatchNorm2d(6)
        self.third = nn.Conv2d(12, 8, 3, stride=2)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(8 * 15 * 15, 10)

    def forward(self, x):
        a = F.relu(self.norm(self.first(x)), inplace=True)
        b = F.relu(self.second(a) + self.lone(a))
        c = self.third(torch.cat([a, b], 1)).relu_()
        return self.out(self.drop(c).flatten(1))


class Late(nn.Module):
    """Reads the output of a convolution before and after a later operation changes it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.out = nn.Linear(8, 10)

    def forward(self, x):
        y = self.conv(x).clone()
        z = self.side(y + self.side.weight.mean())
        y.clamp_(min=0.5)
        return self.out(torch.cat([y, z], 1).mean((2, 3)))


Residual.__module__ = Late.__module__ = TRUSTED
SUBJECTS = {
    "vgg": lambda: models.load("fmnist-vgg"),
    "functional": lambda: models.load("fmnist-vgg-functional"),
    "residual": lambda: around(seeded(Residual)),
    "resnet": lambda: around(nn.Sequential(nn.Conv2d(1, 3, 1), seeded(torchvision.models.resnet18))),
}


@pytest.mark.parametrize("which", SUBJECTS)
@pytest.mark.parametrize("walk", [cascade, independent])
def test_maps_along_a_walk_are_the_same_bits(which, walk):
    subject = SUBJECTS[which]()
    images, _ = subject.sample(3, seed=0)
    targets, reuse = subject.predict(images), Reuse(images)
    chosen = [explainers.get(name) for name in NAMES]
    with shared_passes(reuse):
        for explainer in chosen:
            explainer.explain(subject.private_copy(), images, targets)
    held = reuse.bytes
    assert held > 0
    stages = list(walk(subject, base=1, seed=0))
    for _, model in stages[:: max(1, len(stages) // 4)]:
        alone = model.with_weights(model.model)  # nothing is known about what it has in common
        with shared_passes(reuse):
            found = [explainer.explain(model, images, targets).attribution for explainer in chosen]
        expected = [explainer.explain(alone, images, targets).attribution for explainer in chosen]
        for one, other in zip(found, expected, strict=True):
            if which in ("vgg", "functional"):
                assert torch.equal(one, other)
            else:  # derivatives that meet behind branches may be added up in another order
                assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())


def test_only_what_follows_from_the_changed_layer_is_computed_again():
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(2, seed=0)
    reuse, counts = Reuse(images), []

    def run(model):
        with shared_passes(reuse):
            module = network(model)
            with Count() as seen:
                forward(model, module, images, "gradient", lambda net, x: net(x))
        counts.append(seen.convolutions)

    by_name = {stage.name: stage for stage in subject.stages}
    names = [stage.name for stage in subject.stages]
    run(subject.private_copy())
    for name in (names[0], names[3], names[-1]):
        run(randomized(subject, [by_name[name]], base=0, seed=0))
    assert counts == [10, 0, 1, 10]


def test_results_changed_in_place_later_are_not_read_in_their_later_state():
    subject = around(seeded(Late))
    images, _ = subject.sample(2, seed=0)
    targets, reuse = subject.predict(images), Reuse(images)
    gradient = explainers.get("gradient")
    with shared_passes(reuse):
        gradient.explain(subject.private_copy(), images, targets)
    for stage, model in independent(subject, base=0, seed=0):
        if stage.name == "side":
            place = ("gradient", fingerprint(images))
            kept = reuse.over(network(subject), images, place)
            with pytest.raises(StaleResult), kept.replay():
                network(model)(kept.leaf)
        with shared_passes(reuse):
            found = gradient.explain(model, images, targets).attribution
        expected = gradient.explain(model.with_weights(model.model), images, targets).attribution
        assert torch.equal(found, expected)


def test_what_comes_out_does_not_depend_on_what_was_computed_before():
    subject = around(seeded(Residual))
    images, _ = subject.sample(2, seed=0)
    targets = subject.predict(images)
    stages = dict(independent(subject, base=0, seed=0))
    last = list(stages)[-1]

    def maps(names, visited):
        reuse = Reuse(images)
        for model in (subject.private_copy(), *(stages[stage] for stage in visited)):
            with shared_passes(reuse):
                found = {name: explainers.get(name).explain(model, images, targets).attribution for name in names}
        return found["gradient"]

    alone = maps(["gradient"], [last])
    assert torch.equal(alone, maps(["gradcam", "gradient"], [last]))
    assert torch.equal(alone, maps(["gradient", "gradcam"], list(stages)))


def test_no_more_than_the_limit_is_kept():
    subject = models.load("fmnist-vgg")
    images, targets = subject.sample(2, seed=0)
    full, none = Reuse(images), Reuse(images, limit=1000)
    maps = []
    for reuse in (full, none):
        with shared_passes(reuse):
            maps.append(explainers.get("gradient").explain(subject.private_copy(), images, targets).attribution)
    assert torch.equal(*maps)
    assert none.bytes == 0 and full.bytes > 100_000


def test_images_that_are_made_anew_each_time_do_not_pile_up():
    """Noisy copies and steps from a baseline are other tensors at every stage; made in the same way they are kept once."""
    subject = models.load("fmnist-vgg")
    images, targets = subject.sample(2, seed=0)
    reuse, held = Reuse(images), []
    names = ["gradient", "smoothgrad[samples=3]", "integrated-gradients[steps=4]", "gradient-shap[samples=2]"]
    for _, model in list(independent(subject, base=0, seed=0))[:3]:
        with shared_passes(reuse):
            for name in names:
                explainers.get(name).explain(model, images, targets)
        held.append(reuse.bytes)
    assert held[0] == held[1] == held[2] > 0
    assert reuse.serves(images[1:]) and not reuse.serves(images.clone())


class Count(TorchFunctionMode):
    """Sees the operations that are made, below the reuse of kept results."""

    def __init__(self):
        super().__init__()
        self.convolutions = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.convolutions += func in CONVOLUTIONS
        return func(*args, **(kwargs or {}))


def passes(subject, reuse, batch, source, part=0, way="noise"):
    """Convolutions that one pass over images made from others makes."""
    with shared_passes(reuse):
        module = network(subject)
        with Count() as seen, made_from(source, way, part, batch):
            _, logits = forward(subject, module, batch, "gradient", lambda net, x: net(x), plain=True)
    return seen.convolutions, logits.detach()


def test_passes_over_images_made_in_one_way_are_kept_as_long_as_they_are_told_apart():
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(3, seed=0)
    reuse, last = Reuse(images), subject.stages[0]
    model = randomized(subject, [last], base=0, seed=0)
    batch = images + 0.1
    expected = network(model)(batch)
    assert passes(subject.private_copy(), reuse, batch, images)[0] == 10
    count, logits = passes(model, reuse, batch.clone(), images)
    assert count == 0 and torch.equal(logits, expected.detach())
    # Another part, way, source or shape is something else, and so is a source that nobody serves.
    assert (
        passes(model, reuse, batch, images, part=1)[0] == 10 and passes(model, reuse, batch, images, way="b")[0] == 10
    )
    assert passes(model, reuse, batch[:2], images)[0] == 10 and passes(model, reuse, batch, images[:2])[0] == 10
    elsewhere = images.clone()
    assert [passes(model, reuse, batch, elsewhere)[0] for _ in range(2)] == [10, 10]
    with shared_passes(reuse), made_from(images, "noise", 0, batch):
        _, other = forward(model, network(model), images * 0.5, "gradient", lambda net, x: net(x), plain=True)
    assert torch.equal(other.detach(), network(model)(images * 0.5).detach())


def test_of_many_passes_only_what_is_read_again_is_kept():
    subject = models.load("fmnist-vgg")
    images, targets = subject.sample(2, seed=0)
    full, lean, tight = (Reuse(images) for _ in range(3))
    with shared_passes(full):
        explainers.get("gradient").explain(subject.private_copy(), images, targets)
    assert passes(subject.private_copy(), lean, images * 1.0, images)[0] == 10
    # The results of ten convolutions and two layers are given up, their rectified results are there.
    assert lean.bytes < 0.62 * full.bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explainers.reuse.MADE_LIMIT", lean.bytes + 1)
        counts = [passes(subject.private_copy(), tight, images + part, images, part)[0] for part in (0, 1, 2, 0, 1, 2)]
    assert counts == [10, 10, 10, 0, 0, 10]
    none = Reuse(images, made=False)
    assert [passes(subject.private_copy(), none, images * 1.0, images)[0] for _ in range(2)] == [10, 10]
    small = explainers.memory.Limit(bytes=100_000_000)
    with explainers.memory.limited(small):
        assert passes(subject.private_copy(), Reuse(images), images * 1.0, images)[0] == 10
        assert not explainers.memory.spare(10**9)


class Moody(nn.Module):
    """Reads the output of a convolution directly on some passes, and through a rectifier on others."""

    direct = False
    __module__ = TRUSTED

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Linear(4, 10)

    def forward(self, x):
        y = self.conv(x)
        z = F.relu(y)
        return self.out((z * y if Moody.direct else z).mean((2, 3)))


def test_a_content_that_was_given_up_is_never_read(monkeypatch):
    subject = around(seeded(Moody))
    images, _ = subject.sample(2, seed=0)
    targets, ig = subject.predict(images), explainers.get("integrated-gradients[steps=4]")
    for first, later in ((False, True), (True, False)):
        reuse, copy = Reuse(images), subject.private_copy()
        for mood in (first, later, first):
            monkeypatch.setattr(Moody, "direct", mood)
            with shared_passes(reuse):
                found = ig.explain(copy, images, targets).attribution
            expected = ig.explain(copy.with_weights(copy.model), images, targets).attribution
            assert torch.isfinite(found).all() and torch.allclose(found, expected, atol=1e-7)


def test_a_copy_changed_afterwards_has_nothing_in_common():
    subject = models.load("fmnist-vgg")
    images, targets = subject.sample(2, seed=0)
    copy = subject.private_copy()
    assert copy.common().trained is subject and not copy.common().changed
    with torch.no_grad():
        copy.model.fc3.weight.mul_(-1)
    assert copy.common() is None
    gradient = explainers.get("gradient")
    assert not torch.equal(
        gradient.explain(copy, images, targets).attribution, gradient.explain(subject, images, targets).attribution
    )


def test_a_copy_stays_what_it_was_when_the_original_is_changed():
    subject = models.load("fmnist-vgg").private_copy()
    subject = subject.with_weights(subject.model)
    images, targets = subject.sample(2, seed=0)
    copy, gradient = subject.private_copy(), explainers.get("gradient")
    before = gradient.explain(copy, images, targets).attribution
    with torch.no_grad():
        subject.model.conv3.weight.mul_(-1)
    assert copy.common() is None
    assert torch.equal(gradient.explain(copy, images, targets).attribution, before)


def test_the_folded_network_shares_what_is_unchanged_and_leaves_the_copy_alone():
    subject = models.load("fmnist-vgg")
    first = subject.stages[0]
    copy = randomized(subject, [first], base=0, seed=0)
    before = copy.checksum()
    mine, trained = folded_network(copy, torch.float32), folded_network(subject, torch.float32)
    differing = [
        a for (a, p), (_, q) in zip(mine.named_parameters(), trained.named_parameters(), strict=True) if p is not q
    ]
    assert differing == [f"model.{first.name}.weight", f"model.{first.name}.bias"]
    assert copy.checksum() == before
    images, _ = subject.sample(2, seed=0)
    assert torch.allclose(mine(images), copy.logits(images), atol=1e-4)


def test_layers_that_share_a_weight_are_not_exchanged_one_by_one():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
            self.b.weight = self.a.weight
            self.out = nn.Linear(1024, 10)

        def forward(self, x):
            return self.out(self.b(F.relu(self.a(x))).flatten(1))

    Tied.__module__ = TRUSTED
    subject = around(seeded(Tied))
    images, _ = subject.sample(2, seed=0)
    for _, model in independent(subject, base=0, seed=0):
        assert torch.allclose(folded_network(model, torch.float32)(images), model.logits(images), atol=1e-5)


@pytest.mark.parametrize(("batchnorm", "shared"), [("reset", True), ("keep", True), ("recalibrate", False)])
def test_a_draw_is_folded_once_where_it_determines_the_layer(batchnorm, shared):
    subject = models.load("fmnist-vgg")
    walk = [model for _, model in islice(cascade(subject, base=0, seed=5, batchnorm=batchnorm), 6)]
    images, _ = subject.sample(2, seed=0)
    nets = [folded_network(model, torch.float32) for model in walk]
    with torch.no_grad():
        for model, net in zip(walk, nets, strict=True):
            assert torch.allclose(net(images), model.logits(images), atol=1e-4)
    drawn_first_with_norm = next(stage.name for stage in subject.stages if stage.norm)
    layers = [net.model.get_submodule(drawn_first_with_norm) for net in nets[4:]]
    assert (layers[0] is layers[1]) is shared
    other = next(m for _, m in cascade(subject, base=0, seed=6, batchnorm=batchnorm))
    name = subject.stages[0].name
    assert not torch.equal(
        folded_network(other, torch.float32).model.get_submodule(name).weight, nets[0].model.get_submodule(name).weight
    )


def test_a_draw_that_was_changed_afterwards_is_folded_as_it_is_now():
    subject = models.load("fmnist-vgg")
    first, second = (next(m for _, m in cascade(subject, base=0, seed=7, batchnorm="reset")) for _ in range(2))
    images, _ = subject.sample(2, seed=0)
    folded_network(first, torch.float32)
    with torch.no_grad():
        second.model.get_submodule(subject.stages[0].name).weight.mul_(2)
    assert torch.allclose(folded_network(second, torch.float32)(images), second.logits(images), atol=1e-4)


class Weighed(TorchFunctionMode):
    """Counts the convolutions and products that reach it."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func in (F.conv2d, F.linear, torch.conv2d)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("count", [3, 70])
def test_logits_and_gradients_come_from_the_same_passes(count):
    subject = around(seeded(Residual))
    images, targets = subject.sample(count, seed=0)
    reuse = Reuse(images)
    bare = explainers.get("gradient").explain(subject, images, targets).attribution
    with shared_passes(reuse):
        before = watched_logits(subject, images, targets, Weighed)
        assert not reuse.gradients
        explainers.get("saliency").explain(subject, images, targets)
    assert reuse.gradients, "the trained network was asked for it"
    watch = Weighed()
    for stage in range(2):
        copy = randomized(subject, subject.stages[: stage + 1], base=0, seed=stage)
        alone = explainers.get("gradient").explain(copy, images, targets).attribution
        with shared_passes(reuse):
            watch.calls = 0
            seen = watched_logits(copy, images, targets, lambda: watch)
            assert watch.calls == 4 * -(-count // explainers.memory.rows(32, 32))
            with Weighed() as further:
                found = explainers.get("gradient").explain(copy, images, targets).attribution
            assert further.calls == 0 and torch.equal(found, alone)
        with shared_passes(Reuse(images)):
            assert torch.equal(watched_logits(copy, images, None, Weighed), seen)
        assert torch.allclose(seen, copy.predict_logits(images), atol=1e-5)
    with shared_passes(reuse):
        assert torch.equal(watched_logits(subject, images, None, Weighed), before)
        assert torch.equal(explainers.get("gradient").explain(subject, images, targets).attribution, bare)


def test_other_classes_are_not_taken_for_those_that_were_asked():
    subject = around(seeded(Residual))
    images, targets = subject.sample(3, seed=0)
    others = (targets + 1) % 10
    with shared_passes(Reuse(images)):
        explainers.get("gradient").explain(subject, images, targets)
        watched_logits(subject, images, targets, Weighed)
        found = explainers.get("gradient").explain(subject, images, others).attribution
    assert torch.equal(found, explainers.get("gradient").explain(subject, images, others).attribution)


def test_a_context_within_another_of_the_same_images_is_a_part_of_it():
    subject = around(seeded(Residual))
    images, targets = subject.sample(2, seed=0)
    reuse, gradient = Reuse(images), explainers.get("gradient")
    with shared_passes(reuse):
        gradient.explain(subject, images, targets)
        with shared_passes(reuse), Weighed() as inside:
            gradient.explain(subject, images, targets)
        with shared_passes(Reuse(images)), Weighed() as other:
            gradient.explain(subject, images, targets)
        with shared_passes(), Weighed() as none:
            gradient.explain(subject, images, targets)
    assert (inside.calls, other.calls, none.calls) == (0, 4, 4)
