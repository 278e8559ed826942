import math

import pytest
import torch
from torch import nn

import models
from models.adapters import from_tensor
from models.naming import UsageError
from models.networks.vgg import Vgg
from models.randomize import CALIBRATION_IMAGES, cascade, independent, randomized


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


def weights(subject):
    return {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}


def test_the_trained_model_is_untouched(subject):
    before, state = subject.checksum(), torch.random.get_rng_state()
    randomized(subject, subject.stages, base=0, seed=0)
    assert subject.checksum() == before and torch.equal(state, torch.random.get_rng_state())


def test_a_cascade_is_nested_and_shares_its_first_stage_with_independent(subject):
    down = [
        weights(model) for _, model in zip(range(3), (m for _, m in cascade(subject, base=0, seed=1)), strict=False)
    ]
    alone = [
        weights(model) for _, model in zip(range(3), (m for _, m in independent(subject, base=0, seed=1)), strict=False)
    ]
    assert all(torch.equal(down[0][key], alone[0][key]) for key in down[0])
    assert torch.equal(down[2]["fc3.weight"], down[0]["fc3.weight"])
    assert torch.equal(down[2]["fc1.weight"], alone[2]["fc1.weight"])
    trained = weights(subject)
    assert torch.equal(alone[2]["fc3.weight"], trained["fc3.weight"])
    assert not torch.equal(alone[2]["fc1.weight"], trained["fc1.weight"])


def test_a_cascade_gives_the_models_that_are_drawn_at_once(subject):
    for count, (_, model) in enumerate(cascade(subject, base=0, seed=2), 1):
        if count in (1, 4, 13):
            once = weights(randomized(subject, subject.stages[:count], base=0, seed=2))
            assert all(torch.equal(value, once[key]) for key, value in weights(model).items())


def test_he_draws_have_the_variance_of_he(subject):
    model = randomized(subject, subject.stages, base=0, seed=0).model
    for name, fan_in in (("fc1", 512), ("conv9", 128 * 9)):
        layer = model.get_submodule(name)
        assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
    assert float(model.fc3.bias.detach().abs().sum()) == 0


def test_every_seed_layer_and_base_has_its_own_draw(subject):
    first = subject.stages[:1]
    draws = [randomized(subject, first, base=b, seed=s).model.fc3.weight for b, s in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert torch.equal(draws[0], randomized(subject, first, base=0, seed=0).model.fc3.weight)


def test_recalibrated_statistics_are_those_of_the_reference_images(subject):
    other = randomized(subject, subject.stages, base=0, seed=0)
    inputs = {}
    handle = other.model.norm12.register_forward_pre_hook(lambda m, i: inputs.update(x=i[0]))
    other.predict_logits(subject.reference.load(range(CALIBRATION_IMAGES)))
    handle.remove()
    mean, var = inputs["x"].mean(0), inputs["x"].var(0)
    # While they are estimated the norms below divide by n, afterwards by n - 1: one part in 64, per norm.
    assert float(((other.model.norm12.running_mean - mean) / var.sqrt()).abs().max()) < 0.05
    assert float((other.model.norm12.running_var / var - 1).abs().max()) < 0.05
    assert not other.model.norm12.training and other.model.norm12.momentum == subject.model.norm12.momentum


def test_a_recalibrated_random_model_is_alive_and_at_chance(subject):
    other = randomized(subject, subject.stages, base=0, seed=3)
    images, labels = subject.sample(256, seed=0)
    assert float(other.predict_logits(images).std(0).mean()) > 0.1
    assert float((other.predict(images) == labels).float().mean()) < 0.35


def test_permutation_keeps_the_values(subject):
    other = randomized(subject, subject.stages[:1], base=0, seed=0, init="permute").model.fc3.weight
    own = subject.model.fc3.weight
    assert not torch.equal(other, own) and torch.equal(other.flatten().sort()[0], own.flatten().sort()[0])


@pytest.mark.parametrize(
    ("init", "spread"), [("default", 1 / math.sqrt(3 * 256)), ("truncated-normal", 0.88 * math.sqrt(2 / 256))]
)
def test_other_laws(subject, init, spread):
    weight = randomized(subject, subject.stages[:1], base=0, seed=0, init=init).model.fc3.weight
    assert float(weight.detach().std()) == pytest.approx(spread, rel=0.06)


def test_batch_norm_options(subject):
    stages = subject.stages[1:2]
    kept = randomized(subject, stages, base=0, seed=0, batchnorm="keep").model.norm12
    reset = randomized(subject, stages, base=0, seed=0, batchnorm="reset").model.norm12
    assert (
        torch.equal(kept.running_mean, subject.model.norm12.running_mean) and float(reset.running_mean.abs().sum()) == 0
    )
    assert float((kept.weight.detach() - 1).abs().sum()) == 0 == float(kept.bias.detach().abs().sum())


@pytest.mark.parametrize("option", [{"init": "hee"}, {"batchnorm": "keeps"}])
def test_unknown_options_name_the_nearest(subject, option):
    with pytest.raises(UsageError, match="did you mean"):
        randomized(subject, subject.stages[:1], base=0, seed=0, **option)


class OwnForward(Vgg):
    """The same network with a forward pass of its own, which cannot be entered half way."""

    def forward(self, input):
        return super().forward(input)


@pytest.mark.parametrize("place", [slice(0, 1), slice(0, 5), slice(0, 13), slice(2, 3), slice(7, 8), slice(12, 13)])
def test_entering_a_sequential_network_half_way_changes_nothing(subject, place):
    whole = OwnForward()
    whole.load_state_dict(subject.model.state_dict())
    slow = subject.with_model(whole.eval())
    quick, full = (weights(randomized(s, s.stages[place], base=0, seed=0)) for s in (subject, slow))
    assert quick.keys() == full.keys()
    for key, value in quick.items():
        torch.testing.assert_close(value, full[key], msg=key)


def test_a_layer_that_stands_in_two_places_of_a_sequential_network_runs_in_both():
    shared = nn.Linear(16, 16)
    net = nn.Sequential(nn.Flatten(), shared, nn.ReLU(), shared, nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    images = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    subject = from_tensor(net, images)
    other = randomized(subject, subject.stages, base=0, seed=0).model
    hidden = other[3](other[1](images.flatten(1)).relu())
    torch.testing.assert_close(other[4].running_mean, hidden.mean(0).detach(), atol=1e-5, rtol=1e-4)


def test_weights_changed_in_place_are_noticed():
    subject = models.load("fmnist-vgg").private_copy()
    stages = subject.stages[2:3]
    before = weights(randomized(subject, stages, base=0, seed=0))["norm11.running_mean"]
    with torch.no_grad():
        subject.model.conv1.weight.mul_(-1)
    changed = weights(randomized(subject, stages, base=0, seed=0))["norm11.running_mean"]
    assert not torch.equal(before, changed)
    assert torch.equal(
        changed, weights(randomized(subject.private_copy(), stages, base=0, seed=0))["norm11.running_mean"]
    )


class Branches(nn.Module):
    """Two norms side by side, one of them used twice, and a third above them."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(i, 4, 3, padding=1) for i in (1, 4, 4))
        self.one, self.two, self.three = (nn.BatchNorm2d(4) for _ in range(3))
        self.head = nn.Linear(4, 3)
        self.passed = []

    def forward(self, x):
        try:
            x = self.one(self.first(x)).relu()
            x = self.one(x) + self.two(self.second(x)).relu()
            self.passed.append("two")
            x = self.three(self.third(x)).relu()
            self.passed.append("three")
        except Exception:  # a network that swallows errors
            x = torch.zeros(len(x), 4, 1, 1)
        return self.head(x.mean((2, 3)))


def test_norms_are_estimated_without_what_is_above_them():
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(8, 1, 6, 6, generator=draw)
    subject = from_tensor(Branches().eval(), images)
    names = {stage.name: stage for stage in subject.stages}
    assert [names[name].norm for name in ("first", "second", "third")] == ["one", "two", "three"]
    whole = randomized(subject, [names["second"]], base=0, seed=0).model  # the first pass learns how often norms run
    short = randomized(subject, [names["second"]], base=0, seed=0).model
    assert whole.passed[-2:] == ["two", "three"] and short.passed == subject.model.passed
    assert all(torch.equal(value, short.state_dict()[key]) for key, value in whole.state_dict().items())
    both = [names["second"], names["first"]]
    again, fresh = randomized(subject, both, base=0, seed=0), subject.with_model(subject.model)
    assert all(
        torch.equal(value, again.model.state_dict()[key])
        for key, value in randomized(fresh, both, base=0, seed=0).model.state_dict().items()
    )
    assert not any(module._forward_hooks for module in again.model.modules())
