import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

import models
from models.adapters import from_tensor
from models.data import fashion_mnist
from models.fold import folded
from models.naming import UsageError
from models.zoo import catalogue, recipes
from models.zoo.recipes import train


@pytest.mark.parametrize("card", models.names(), ids=lambda card: card.name)
def test_shipped_weights_reach_their_accuracy(card):
    subject = models.load(card.name)
    if subject.data.truth is None:
        images, labels = subject.sample(1000, seed=0)
        reached = float((subject.predict(images) == labels).float().mean())
    else:  # several classes in an image: yes or no for each
        chosen = subject.select(200, seed=0)
        shown = torch.from_numpy(subject.data.truth.targets(chosen)) > 0
        reached = float(((subject.predict_logits(subject.data.load(chosen)) > 0) == shown).float().mean())
    assert reached == pytest.approx(card.accuracy, abs=0.025) and subject.weights_digest == card.digest


def test_the_shipped_classifier_reaches_93_percent():
    assert {card.name: card.accuracy for card in models.names()}["fmnist-vgg"] >= 0.93


@pytest.mark.slow
def test_all_test_images_give_the_accuracy_on_the_card():
    subject = models.load("fmnist-vgg")
    labels = torch.from_numpy(subject.data.labels)
    predicted = torch.cat(
        [subject.predict(subject.data.load(part.tolist())) for part in torch.arange(10_000).split(500)]
    )
    reached = float((predicted == labels).float().mean())
    card = next(card for card in models.names() if card.name == "fmnist-vgg")
    assert reached == pytest.approx(card.accuracy, abs=0.0005) and reached >= 0.93


def test_images_without_the_padding_are_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", images=np.zeros((3, 28, 28), np.uint8), labels=np.zeros(3, int))
    with pytest.raises(UsageError, match=r"28.*give data of the size and channels") as refusal:
        models.load("fmnist-vgg", data=models.load_data(str(tmp_path / "plain.npz")))
    assert "fmnist-vgg" in str(refusal.value) and "\n" not in str(refusal.value)


def test_functional_and_modular_writing_agree():
    one, other = models.load("fmnist-vgg"), models.load("fmnist-vgg-functional")
    images, _ = one.sample(8, seed=0)
    torch.testing.assert_close(one.logits(images), other.logits(images))
    assert not any(isinstance(module, nn.ReLU) for module in other.model.modules())


def test_folding_is_exact_and_private():
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(8, seed=0)
    before = subject.checksum()
    torch.testing.assert_close(folded(subject).logits(images), subject.logits(images), atol=1e-4, rtol=1e-4)
    assert subject.checksum() == before
    assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in folded(subject).model.modules())


def test_folding_is_left_out_where_it_would_be_wrong():
    class TwoReaders(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.fc = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2)

        def forward(self, x):
            y = self.conv(x)
            return self.fc((self.bn(y) + y).mean((2, 3)))

    net = TwoReaders()
    net.bn.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    subject = from_tensor(net, torch.rand(2, 1, 8, 8))
    images = subject.data.load([0, 1])
    torch.testing.assert_close(folded(subject).logits(images), subject.logits(images))


def test_selection_is_prefix_stable_and_seeded():
    subject = models.load("fmnist-vgg")
    assert subject.select(8, 0) == subject.select(64, 0)[:8] != subject.select(8, 1)
    with pytest.raises(UsageError, match="10,000"):
        subject.select(10_001)
    with pytest.raises(UsageError, match="0 images"):
        subject.select(0)


def test_the_checksum_sees_weights_modes_and_hooks():
    subject = models.load("fmnist-vgg")
    first = subject.checksum()
    handle = subject.model.relu1.register_forward_hook(lambda m, i, o: None)
    hooked = subject.checksum()
    handle.remove()
    subject.model.relu1.train()
    moded = subject.checksum()
    subject.model.relu1.eval()
    assert len({first, hooked, moded}) == 3 and subject.checksum() == first


def test_a_changed_weights_file_is_refused(tmp_path, monkeypatch):
    file = catalogue.manifest()["fmnist-vgg-batch"]["file"]
    raw = bytearray((catalogue.FOLDER / file).read_bytes())
    raw[-1] ^= 1
    (tmp_path / file).write_bytes(raw)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match="was changed"):
        models.load("fmnist-vgg")


@pytest.mark.parametrize("name", ["fmnist-vg", "fmnist-vgg[norm=group]", "fmnist-vgg[width=2]"])
def test_unknown_models(name):
    with pytest.raises(UsageError, match="fmnist-vgg|batch|norm"):
        models.load(name)


MODEL_FILE = """
import torch
from torch import nn
def good(): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
def ends_in_softmax(): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10), nn.Softmax(1))
def not_a_module(): return 3
def wrong_shape(): return nn.Sequential(nn.Conv2d(1, 2, 3))
def one_class(): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 1))
def too_few_classes(): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 3))
def colour(): return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(1800, 10))
def no_parameters(): return nn.Sequential(nn.Flatten())
def gives_nan():
    net = good()
    net[1].weight.data.fill_(float("nan"))
    return net
def raises(): raise RuntimeError("out of order")
def wrong_weights():
    net = good()
    net.load_state_dict({"1.weight": torch.zeros(2, 2)})
    return net
class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(1024, 8), nn.Linear(8, 10)

    def forward(self, x):
        h = self.first(x.flatten(1))
        return self.last(h - h.mean(0))
def mixing(): return Mixing()
class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1024, 10)

    def forward(self, x):
        return self.last(nn.functional.dropout(x.flatten(1)))
def noisy(): return Noisy()
def scripted(): return torch.jit.script(good())
class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.last, self.answer = nn.Linear(1024, 10), answer
    def forward(self, x):
        return self.answer(x, self.last(x.flatten(1)))
def a_tuple(): return Answering(lambda x, y: (y, x))
def a_dict(): return Answering(lambda x, y: {"logits": y})
def an_array(): return Answering(lambda x, y: y.numpy())
def whole_numbers(): return Answering(lambda x, y: y.long())
def without_a_word(): return Answering(lambda x, y: [][x.sum() > 0 and 1])
def in_place(): return Answering(lambda x, y: y + x.mul_(2).sum())
def leaves(): return Answering(lambda x, y: exit(0))
class Asserting(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1024, 10)
    def forward(self, x):
        assert x.shape[1] == 3
def asserting(): return Asserting()
class Pair(Asserting):
    def forward(self, x, mask):
        return self.last(x.flatten(1)) * mask
def two_inputs(): return Pair()
class Double(Asserting):
    def forward(self, x):
        return self.last(x.flatten(1).double())
def double_inside(): return Double().double()
def computed():
    net = good()
    net.kept = net[1].weight * 2
    return net
def on_meta():
    with torch.device("meta"):
        return good()
def ends_the_program(): exit(0)
def silent_error(): raise ValueError
def subject(**fields):
    import models
    images = models.load_data("fashion-mnist")
    given = {"name": "own", "model": good(), "data": images, "reference": images}
    return models.Subject(**given | fields)
def no_data(): return subject(data=None)
def unknown_output(): return subject(output="probabilities")
def pickled():
    import pathlib, pickle
    path = pathlib.Path(__file__).with_suffix(".pt")
    path.write_bytes(pickle.dumps(print))
    return torch.load(path)
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("ends_in_softmax", "ends in softmax"), ("not_a_module", "returned int"), ("wrong_shape", "shape"),
        ("one_class", "K >= 2"), ("too_few_classes", "labels"), ("colour", "channels"), ("no_parameters", "no parameters"),
        ("gives_nan", "NaN"), ("raises", "out of order"), ("wrong_weights", "failed when called"),
        ("goood", "did you mean 'good'"),
        ("mixing", "mixes the images of a batch"), ("noisy", "when it is called again"),
        ("scripted", "TorchScript"), ("pickled", "pickles are refused"),
        ("a_tuple", "returned a tuple of 2.*logits alone"), ("a_dict", "returned a dict with 'logits'"),
        ("an_array", "returned ndarray"), ("whole_numbers", "torch.int64.*floating type"),
        ("without_a_word", "cannot take images.*IndexError"), ("asserting", r"AssertionError; give data"),
        ("two_inputs", "missing 1 required.*one float32 tensor"), ("double_inside", "weights are made float32"),
        ("in_place", r"changes the images it is given in place.*clone"), ("leaves", "SystemExit"),
        ("computed", "cannot be copied"), ("on_meta", "meta device"), ("ends_the_program", "SystemExit: 0"),
        ("silent_error", "failed when called: ValueError"), ("no_data", "Subject.data is NoneType.*ImageSet"),
        ("unknown_output", "allowed are logits, probability"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_questioned(tmp_path, function, message):
    (tmp_path / "mine.py").write_text(MODEL_FILE)
    with pytest.raises(UsageError, match=message):
        models.load(f"{tmp_path / 'mine.py'}:{function}")


def test_one_image_is_enough_to_see_that_a_model_mixes():
    net = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten(), nn.Linear(16, 2))
    for count in (1, 3):
        with pytest.raises(UsageError, match="mixes the images"):
            from_tensor(net, torch.rand(count, 1, 4, 4))
    net[0] = nn.BatchNorm2d(1)
    assert from_tensor(net, torch.rand(1, 1, 4, 4)).num_classes == 2


def test_a_file_without_a_function_is_told_how_to_name_one():
    with pytest.raises(UsageError, match=r"which function of the file.*mine\.py:function"):
        models.load("folder/mine.py")


def test_a_file_that_does_not_import(tmp_path):
    (tmp_path / "broken.py").write_text("import nowhere_at_all\n")
    with pytest.raises(UsageError, match="nowhere_at_all"):
        models.load(f"{tmp_path / 'broken.py'}:f")
    with pytest.raises(UsageError, match="does not exist"):
        models.load(f"{tmp_path / 'absent.py'}:f")


def test_a_model_from_a_file_and_from_a_package(tmp_path, monkeypatch):
    (tmp_path / "mine_in_a_package.py").write_text(MODEL_FILE)
    subject = models.load(f"{tmp_path / 'mine_in_a_package.py'}:good")
    assert subject.num_classes == 10 and [stage.name for stage in subject.stages] == ["1"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.load("mine_in_a_package:good").weights_digest == subject.weights_digest
    sys.modules.pop("mine_in_a_package", None)


def test_torchvision_models_and_wrappers():
    from models.data import ImageSet

    pixels = np.zeros((2, 3, 32, 32), np.float32)
    data = ImageSet("zeros", np.zeros(2, np.int64), ["a", "b"], ("x",), (3, 32, 32), lambda i: pixels[list(i)])
    subject = models.load("torchvision:squeezenet1_1?num_classes=5", data=data)
    assert subject.num_classes == 5 and len(subject.stages) == 26
    with pytest.raises(UsageError, match="did you mean"):
        models.load("torchvision:resnet_18", data=data)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    images = torch.rand(2, 1, 4, 4)
    plain = from_tensor(net, images)
    for wrapped in (nn.DataParallel(net), torch.compile(net, backend="eager")):
        assert from_tensor(wrapped, images).weights_digest == plain.weights_digest


def test_a_bare_module_keeps_its_mode():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 2)).train()
    from_tensor(net, torch.rand(2, 1, 4, 4))
    assert all(module.training for module in net.modules())


def test_the_manifest_is_plain_json():
    assert json.loads(catalogue.MANIFEST.read_text()).keys() >= {"fmnist-vgg-batch"}


@pytest.mark.slow
def test_the_recipe_learns_in_three_epochs_of_the_embedded_images(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "full_training_set", lambda: fashion_mnist("train10k"))
    found = train("fmnist-vgg", tmp_path, epochs=3, log=lambda line: None)
    assert found["accuracy"] > 0.8 and found["difference"] < 0
