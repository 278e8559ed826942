import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import explainers
import models.randomize
from explainers import memory
from explainers.memory import Limit, limited
from explainers.passes import rows_for, shared_passes
from models.adapters import from_tensor

ROOT = Path(__file__).parents[2]
NAMES = ("saliency", "guided-backprop", "lrp-a2b1", "deeplift", "smoothgrad[samples=6]", "integrated-gradients[steps=8]",
         "expected-gradients[samples=6]", "rise[samples=70]", "occlusion", "smoothgrad[samples=3](lrp-a1b0)")  # fmt: skip


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(5, seed=0)[0]


def cards(*names):
    return [card for name in names for card in explainers.get(name).cards]


def test_without_a_limit_rows_depend_on_the_size_only():
    assert [memory.rows(*size) for size in ((32, 32), (64, 64), (224, 224), (1000, 1000))] == [64, 64, 5, 1]


def test_what_a_pass_keeps_is_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 32 * 32, 2))
    weights, row = memory.measured(from_tensor(net, torch.rand(2, 1, 32, 32)), (1, 32, 32))
    preprocessing = 2
    assert weights == 4 * (preprocessing + sum(parameter.numel() for parameter in net.parameters()))
    largest = 4 * 8 * 32 * 32  # what the ReLU gives, kept for it and for the linear layer
    assert row == 4 * 32 * 32 + largest + memory.TRANSIENT * largest


def test_measuring_leaves_the_network_alone(subject):
    before = subject.checksum()
    memory._measured.clear()
    memory.measured(subject, (1, 32, 32))
    assert subject.checksum() == before and all(p.grad is None for p in subject.model.parameters())


def test_a_network_is_measured_once_whatever_its_weights(subject, monkeypatch):
    memory._measured.clear()
    stage = subject.stages[0]
    random = models.randomize.randomized(subject, [stage], base=0, seed=0)
    memory.measured(subject, (1, 32, 32))
    memory.measured(random, (1, 32, 32))
    assert len(memory._measured) == 1


def test_rows_follow_the_budget_down_to_one(subject, images):
    fixed, each = memory.needed(subject, images.shape, cards("gradient"))
    found = []
    for budget in (1, fixed + each, fixed + 10 * each, fixed + 64 * each, 10**15):
        with limited(Limit(budget)), memory.explaining(subject, images, cards("gradient"), split=False):
            found.append(rows_for(images))
    assert found == [1, 1, 10, 64, 64]


def test_what_the_card_says_of_a_row_counts(subject, images):
    assert (
        memory.needed(subject, images.shape, cards("lrp-a2b1"))[1]
        > memory.needed(subject, images.shape, cards("gradient"))[1]
    )
    inside = memory.needed(subject, images.shape, cards("smoothgrad(lrp-a2b1)"))
    assert inside[1] == memory.needed(subject, images.shape, cards("lrp-a2b1"))[1]


def test_the_least_default_is_enough_for_every_explainer_of_the_shipped_classifier(subject):
    # So that the same command gives the same bits, whatever memory is free.
    from bench.memory import LEAST

    images = subject.sample(64, seed=0)[0]
    for name in explainers.names():
        if explainers.get(name).info.origin == "built-in":
            with limited(Limit(LEAST)), memory.explaining(subject, images, cards(name), split=False):
                assert rows_for(images) == 64 and not memory.scarce(), name


@pytest.mark.parametrize("name", NAMES)
def test_no_value_depends_on_the_budget(subject, images, name):
    e = explainers.get(name)
    plain = e.explain(subject, images, seed=3).attribution
    fixed, each = memory.needed(subject, images.shape, e.cards)
    with limited(Limit(fixed + 3 * each)), shared_passes():
        tight = e.explain(subject, images, seed=3).attribution
    with limited(Limit(10**15)), shared_passes():
        wide = e.explain(subject, images, seed=3).attribution
    assert torch.equal(plain, wide)
    assert float((plain - tight).abs().max()) <= 1e-4 * float(plain.abs().max())


def test_a_limit_of_rows_holds_for_copies_of_one_image_too(subject, images):
    seen = []
    hook = explainers.get("smoothgrad[samples=6]")
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    try:
        with limited(Limit(rows=2)):
            hook.explain(subject, images[:1], torch.tensor([0]))
    finally:
        handle.remove()
    assert seen and max(seen) == 2


def test_where_memory_is_short_nothing_is_kept_for_others(subject, images):
    with memory.explaining(subject, images, cards("gradient"), split=False):
        assert not memory.scarce()
        with limited(Limit(rows=2)):
            assert memory.scarce()
        with limited(Limit(10**15)):
            assert not memory.scarce()
    with memory.explaining(subject, images, cards("gradient"), split=True):
        assert memory.scarce()


PEAK = """
import sys, torch, torchvision
torch.set_num_threads(1)
import explainers
from bench.costs import peak
from explainers.memory import Limit, limited
from models.adapters import from_tensor
torch.manual_seed(0)
images = torch.rand(8, 3, 224, 224)
subject = from_tensor(torchvision.models.resnet18(weights=None), images)
targets = torch.zeros(8, dtype=torch.int64)
e = explainers.get(sys.argv[1])
with limited(Limit(int(sys.argv[2]))):
    print(peak(lambda: e.explain(subject, images, targets)))
"""


def peak_of(name, budget):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, name, str(budget)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    if not re.fullmatch(r"\d+", done.stdout.strip()):
        pytest.skip("this system does not tell a process its peak memory")
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("gradient", 250),
        ("deep-taylor", 350),
        ("lrp-a2b1", 600),
        ("lrp-a9b8", 700),
        ("smoothgrad[samples=3]", 350),
        ("integrated-gradients[steps=8]", 200),
        ("deepshap[references=2]", 300),
        ("rise[samples=32]", 300),
    ],
)
def test_peak_memory_stays_under_the_budget_on_large_images(name, budget):
    tight, wide = peak_of(name, budget * 10**6), peak_of(name, 10**15)
    assert tight <= budget * 10**6, (tight, wide)
    # Passes without a way back take less than the budget anyway, and what is measured of them differs by some megabytes.
    assert tight < wide or name.startswith("rise")
