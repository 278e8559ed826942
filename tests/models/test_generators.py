"""Generators: what they hold, the identity of one, a user's own, and every refusal of the conformance checks."""

import sys

import pytest
import torch
from torch import nn

import models
from models.data import load_data
from models.generators import Generator, conforming
from models.generators.loading import from_object
from models.generators.networks import ConvAe, ConvVae, DcganCritic, DcganGenerator
from models.naming import UsageError
from models.seeds import seeded


class Linear(nn.Module):
    """A generator whose every result is known: decode is a sigmoid of a linear map, encode another linear map."""

    latent, shape = 3, (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(16, 3), nn.Linear(3, 16)

    def encode(self, images):
        return self.down(images.flatten(1))

    def decode(self, z):
        return torch.sigmoid(self.up(z)).view(-1, 1, 4, 4)


def made(kind=Linear, **changes):
    with seeded(0):
        network = kind()
    for name, value in changes.items():
        setattr(network, name, value)
    return network


def test_a_conforming_generator_is_frozen_private_and_named():
    network = made().train()
    found = conforming(from_object(network, "mine"))
    assert (found.latent, found.shape, found.name) == (3, (1, 4, 4), "mine")
    assert not found.module.training and not any(p.requires_grad for p in found.module.parameters())
    assert network.training and all(p.requires_grad for p in network.parameters())
    images = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(found.encode(images), network.encode(images).detach())
    with torch.no_grad():
        network.up.weight.zero_()
    assert float(found.module.up.weight.abs().sum()) > 0


def test_identity_follows_the_weights_and_is_plain():
    import json

    one, same = (conforming(from_object(made(), "mine")).identity() for _ in range(2))
    changed = made()
    with torch.no_grad():
        changed.up.bias[0] += 1
    assert json.loads(json.dumps(one)) == same
    assert conforming(from_object(changed, "mine")).identity()["weights"] != one["weights"]


def test_a_plain_object_that_holds_a_network_is_frozen_and_identified():
    class Holder:
        latent = 3

        def __init__(self, network):
            self.network = network

        def decode(self, z):
            return self.network.decode(z)

    network = made().train()
    found = conforming(from_object(Holder(network), "held"))
    assert found.encode is None and found.shape == (1, 4, 4) and found.module is None
    assert network.training and "weights" in found.identity()


def test_prior_points_depend_on_what_they_are_for():
    found = conforming(from_object(made(), "mine"))
    assert torch.equal(found.prior(4, "a", 1), found.prior(4, "a", 1))
    assert not torch.equal(found.prior(4, "a", 1), found.prior(4, "a", 2))
    assert not torch.equal(found.prior(4, "a", 1), found.prior(4, "a", 1, base=1))


def test_data_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"1x4x4.*fashion-mnist/test has 1x32x32"):
        conforming(from_object(made(), "mine")).fits(load_data("fashion-mnist"))


class BatchNormed(Linear):
    """Looks at the other images of the batch."""

    def decode(self, z):
        return torch.sigmoid(self.up(z - z.mean(0))).view(-1, 1, 4, 4)


class Noisy(Linear):
    def decode(self, z):
        return torch.sigmoid(self.up(z) + torch.randn(len(z), 16)).view(-1, 1, 4, 4)


class Sampled(Linear):
    """Returns a draw of the posterior instead of its mean."""

    def encode(self, images):
        return super().encode(images) + torch.randn(len(images), 3)


class Detached(Linear):
    def decode(self, z):
        return super().decode(z).detach()


class Constant(Linear):
    def decode(self, z):
        return torch.sigmoid(0 * self.up(z)).view(-1, 1, 4, 4)


REFUSED = {
    "range": ({"decode": lambda z: torch.tanh(z[:, :1]).view(-1, 1, 1, 1) * torch.ones(1, 1, 4, 4)}, "in \\[0, 1\\]"),
    "above": ({"decode": lambda z: 255 * torch.sigmoid(z[:, :1]).view(-1, 1, 1, 1)}, "end in a sigmoid"),
    "nan": ({"decode": lambda z: torch.full((len(z), 1, 4, 4), float("nan"))}, "decode gave NaN"),
    "flat": ({"decode": lambda z: torch.sigmoid(z)}, r"shape \(4, 3\)"),
    "one image": ({"decode": lambda z: torch.sigmoid(z[:1, :1]).view(1, 1, 1, 1)}, r"shape \(1, 1, 1, 1\)"),
    "uint8": ({"decode": lambda z: torch.zeros(len(z), 1, 4, 4, dtype=torch.uint8)}, "torch.uint8"),
    "numpy": ({"decode": lambda z: z.numpy()}, "ndarray"),
    "fails": ({"decode": lambda z: z.view(7, 7)}, "decode failed on a tensor of shape"),
    "no decode": ({"decode": None}, "without a method decode"),
    "encode shape": ({"encode": lambda x: x}, r"encode gave a tensor of shape \(4, 1, 4, 4\)"),
    "encode nan": ({"encode": lambda x: x.flatten(1)[:, :3] / 0}, "encode gave NaN"),
    "encode value": ({"encode": 3}, "encode is int"),
    "encode dimensions": ({"latent": 5}, "encode gives 3 dimensions and `latent` says 5"),
    "latent word": ({"latent": "many"}, "latent is 'many'"),
    "latent negative": ({"latent": -1}, "latent is -1"),
    "shape word": ({"shape": "large"}, "shape is 'large'"),
    "other shape": ({"shape": (1, 2, 8)}, "decode gave images of 1x4x4, and 1x2x8"),
    "no size": ({"shape": (0, 0, 0), "latent": 0}, "neither the size of its images nor of its latent points"),
    "no latent": ({"encode": None, "latent": 0}, "integer attribute `latent`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_generators_that_are_refused(case):
    changes, message = REFUSED[case]
    with pytest.raises(UsageError, match=message):
        conforming(from_object(made(**changes), "mine"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BatchNormed, "alone than in a batch"), (Noisy, "decode gave two results"), (Sampled, "encode gave two results"),
        (Detached, "cuts the gradient"), (Constant, "same image for 4 different"),
    ],
)  # fmt: skip
def test_generators_that_do_not_hold_still(kind, message):
    with pytest.raises(UsageError, match=message):
        conforming(from_object(made(kind), "mine"))


def test_a_decoder_whose_gradient_is_nan_is_refused():
    class Rooted(Linear):
        def decode(self, z):
            return torch.sigmoid(self.up(z) + (z[:, :1] * 0).sqrt()).view(-1, 1, 4, 4)

    with pytest.raises(UsageError, match="gradient of decode"):
        conforming(from_object(made(Rooted), "mine"))


FILE = """
import torch
from torch import nn

class Mine(nn.Module):
    latent = 2
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(2, 1024)
        self.noise = nn.Dropout(0.5)
    def decode(self, z):
        return torch.sigmoid(self.noise(self.up(z))).view(-1, 1, 32, 32)

def decoder(): return Mine()
def number(): return 3
def fails(): raise RuntimeError("out of order")
"""


def test_a_generator_from_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    name = f"{tmp_path / 'mine.py'}:decoder"
    found = models.load_generator(name)
    assert found.latent == 2 and found.encode is None and found.fits(load_data("fashion-mnist")) is found
    assert models.load_generator(name).identity() == found.identity()
    (tmp_path / "mine.py").write_text(FILE + "\n# another file\n")
    assert models.load_generator(name).identity() != found.identity()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("number", "generator .* returned int without a method decode"), ("fails", "generator .* out of order"),
        ("decodr", "did you mean 'decoder'"),
    ],
)  # fmt: skip
def test_files_without_a_generator(tmp_path, function, message):
    (tmp_path / "mine.py").write_text(FILE)
    with pytest.raises(UsageError, match=message):
        models.load_generator(f"{tmp_path / 'mine.py'}:{function}")


def test_a_python_module_is_a_generator(tmp_path, monkeypatch):
    (tmp_path / "decoding_module.py").write_text(
        "import sys, torch\nlatent = 2\ndef decode(z): return torch.sigmoid(z.view(-1, 1, 1, 2))\n"
        "def own(): return sys.modules[__name__]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.load_generator("decoding_module:own").shape == (1, 1, 2)
    sys.modules.pop("decoding_module", None)


@pytest.mark.parametrize("network", [ConvVae, ConvAe, DcganGenerator])
def test_networks_of_the_zoo_conform_before_training(network):
    found = conforming(from_object(made(network), "untrained"))
    assert (found.latent, found.shape) == (32, (1, 32, 32))
    assert (found.encode is None) == (network is DcganGenerator)


def test_the_codes_of_a_vae_are_the_means_of_its_posterior():
    network, images = made(ConvVae).eval(), torch.rand(3, 1, 32, 32)
    mean, spread = network.posterior(images)
    torch.testing.assert_close(network.encode(images), mean)
    assert bool((spread > 0).all())


def test_standardised_codes_leave_the_decoded_image_unchanged():
    network, images = made(ConvAe).eval(), torch.rand(3, 1, 32, 32)
    before = network.decode(network.encode(images))
    network.centre.normal_(generator=torch.Generator().manual_seed(0))
    network.spread.fill_(2.5)
    torch.testing.assert_close(network.decode(network.encode(images)), before)


def test_the_critic_is_bounded_with_spectral_norm_only():
    bounded, free = (made(lambda spectral=spectral: DcganCritic(spectral)).eval() for spectral in (True, False))
    one, other = torch.rand(2, 4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert bounded(one).shape == (4,)
    norms = {type(m).__name__ for m in bounded.modules()} - {type(m).__name__ for m in free.modules()}
    assert any("Spectral" in name or "Parametrized" in name for name in norms)
    assert not torch.equal(bounded(one), bounded(other))


def test_a_generator_is_not_a_classifier_and_the_other_way_round():
    with pytest.raises(UsageError, match=r"is a generator.*models\.load_generator"):
        models.load("fashion-mnist-vae")
    with pytest.raises(UsageError, match=r"is a classifier.*models\.load"):
        models.load_generator("fmnist-vgg")
    with pytest.raises(UsageError, match="did you mean 'fashion-mnist-vae'"):
        models.load_generator("fashion-mnist-va")
    with pytest.raises(UsageError, match="loss is 'hinge'; allowed are nonsaturating, wgan"):
        models.load_generator("fashion-mnist-gan[loss=hinge]")


def test_a_generator_made_by_hand():
    flat = Generator("flat", 4, (0, 0, 0), decode=lambda z: torch.sigmoid(z).view(-1, 1, 2, 2))
    assert conforming(flat).identity() == {"name": "flat", "latent": 4, "shape": [1, 2, 2]}


def test_weights_that_were_trained_here(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "fashion-mnist-gan-wgan.safetensors"
    save_file(made(DcganGenerator).state_dict(), file)
    assert models.load_generator(str(file)).encode is None
    save_file(made(ConvVae).state_dict(), file)
    with pytest.raises(UsageError, match="do not fit"):
        models.load_generator(str(file))
    file.write_bytes(b"no weights")
    with pytest.raises(UsageError, match="do not fit"):
        models.load_generator(str(file))
    with pytest.raises(UsageError, match="does not exist"):
        models.load_generator(str(tmp_path / "fashion-mnist-vae.safetensors"))
    (tmp_path / "mine.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="belongs to no generator"):
        models.load_generator(str(tmp_path / "mine.safetensors"))
