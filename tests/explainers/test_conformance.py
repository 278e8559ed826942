import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import explainers
from explainers import probes, registry
from explainers.cards import ALIASES, CARDS
from explainers.conformance import RULES, check
from explainers.info import Info

ROOT = Path(__file__).parents[2]
REDUCED = {
    "contrast": "[step=0.05]", "rise": "[samples=60]", "pda": "[samples=1,stride=0.25,patch=0.25]",
    "occlusion": "[window=0.25,stride=0.125]", "lime": "[samples=60]", "dasp": "[segments=9]",
}  # fmt: skip
NAMES = [name for name in (*CARDS, *ALIASES) if name != "lrp" and not registry.card(name).amortised]


def broken(name, subject=None):
    return {finding.rule: finding.detail for finding in check(name, subject) if not finding.passed}


SEARCHES = ("cdeepex", "xgem-eq", "xgem", "counterfactual-random-latent")
"""They work on images that a generator draws: one of the tests', since the zoo's draws none of the size of these."""
REDUCED |= dict.fromkeys(SEARCHES, "[generator=tests/explainers/toy_generators.py:probe_waves]")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SEARCHES else name for name in NAMES]
)
def test_every_explainer_keeps_the_rules(name):
    assert broken(name + REDUCED.get(name, "")) == {}


@pytest.mark.parametrize("name", ["smoothgrad[samples=4](lrp-a2b1)", "vargrad[samples=4](gradcam)", "lrp[first=z-box]"])
def test_combinators_and_parameters_keep_the_rules(name):
    assert broken(name) == {}


def gradient(subject, images, targets):
    x = images.clone().requires_grad_(True)
    with torch.enable_grad():
        chosen = subject.logits(x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, x)[0]


def good(subject, images, targets, *, seed):
    return gradient(subject, images, targets)


def no_map(subject, images, targets, *, seed):
    return "a map"


def other_size(subject, images, targets, *, seed):
    return gradient(subject, images, targets)[:, :, 1:]


def integers(subject, images, targets, *, seed):
    return (1000 * images).int()


def with_depth(subject, images, targets, *, seed, depth=2):
    return gradient(subject, images, targets)


def undeclared(subject, images, targets, *, depth, seed):
    return gradient(subject, images, targets)


def with_places(subject, images, targets, *, seed, places="a,b"):
    return gradient(subject, images, targets)


def global_seed(subject, images, targets, *, seed):
    return gradient(subject, images, targets) * (1 + torch.initial_seed())


def trains(subject, images, targets, *, seed):
    subject.model.train()
    return images.clone()


def hooks(subject, images, targets, *, seed):
    subject.model.register_forward_hook(lambda module, inputs, output: None)
    return gradient(subject, images, targets)


def freezes(subject, images, targets, *, seed):
    subject.model.requires_grad_(False)
    return gradient(subject, images, targets)


def leaves_gradients(subject, images, targets, *, seed):
    subject.logits(images).sum().backward()
    return gradient(subject, images, targets)


def exchanges(subject, images, targets, *, seed):
    subject.model[2] = nn.ReLU()
    return gradient(subject, images, targets)


def darkens(subject, images, targets, *, seed):
    return gradient(subject, images.mul_(0.5), targets)


def retargets(subject, images, targets, *, seed):
    found = gradient(subject, images, targets)
    targets.zero_()
    return found


def seeds_torch(subject, images, targets, *, seed):
    torch.manual_seed(seed)
    return gradient(subject, images, targets)


def draws_numpy(subject, images, targets, *, seed):
    np.random.rand()
    return gradient(subject, images, targets)


def draws_python(subject, images, targets, *, seed):
    random.random()
    return gradient(subject, images, targets)


def stops_gradients(subject, images, targets, *, seed):
    found = gradient(subject, images, targets)
    torch.set_grad_enabled(False)
    return found


def centred_on_the_batch(subject, images, targets, *, seed):
    found = gradient(subject, images, targets)
    return found - found.mean(0)


def odd_batches(subject, images, targets, *, seed):
    return gradient(subject, images, targets) * (2 if len(images) == 3 else 1)


def elsewhere(subject, images, targets, *, seed):
    return images.to("meta")


def divides(subject, images, targets, *, seed):
    scale = torch.tensor([1 / float(each.max()) for each in images])
    return gradient(subject, images, targets) * scale.view(-1, 1, 1, 1)


def rounds(subject, images, targets, *, seed):
    return images * gradient(subject, images, targets) + 1e-30 * images.new_ones(1, 1, 1, 16).cumsum(3)


def zeroes(subject, images, targets, *, seed):
    return gradient(subject, images, targets).nan_to_num(0.0)


def looks_fine(subject, images, targets, *, seed):
    found = gradient(subject, images, targets)
    return torch.where(torch.isfinite(found), found, images)


def image(subject, images, targets, *, seed):
    return images.clone()


def with_seed(subject, images, targets, *, seed):
    return gradient(subject, images, targets) * (1 + seed)


def first_convolution(subject, images, targets, *, seed):
    layer = next(module for module in subject.model.modules() if isinstance(module, nn.Conv2d))
    return gradient(subject, images, targets) * layer.weight.detach().norm()


CONTROLS = [
    (good, {}, set()),
    (no_map, {}, {"explains"}),
    (other_size, {}, {"shape"}),
    (integers, {"class_sensitive": False}, {"shape"}),
    (with_depth, {"params": {"depth": 3}}, {"parameters"}),
    (undeclared, {}, {"explains", "parameters"}),
    (good, {"params": {"depth": 3}}, {"explains", "parameters"}),
    (with_places, {"params": {"places": "a,b"}}, {"specification"}),
    (global_seed, {}, {"seed"}),
    *((each, {}, {"model-untouched"}) for each in (hooks, freezes, leaves_gradients, exchanges)),
    (trains, {"class_sensitive": False}, {"model-untouched"}),
    (darkens, {}, {"images-untouched"}),
    (retargets, {}, {"images-untouched"}),
    *((each, {}, {"globals-untouched"}) for each in (seeds_torch, draws_numpy, draws_python, stops_gradients)),
    (centred_on_the_batch, {}, {"single", "batch-size"}),
    (odd_batches, {}, {"batch-size"}),
    (divides, {}, {"degenerate-images"}),
    (rounds, {}, {"degenerate-images"}),
    (zeroes, {}, {"no-repair"}),
    (looks_fine, {}, {"no-repair"}),
    (good, {"class_sensitive": False}, {"class-declared"}),
    (image, {}, {"class-declared"}),
    (good, {"signed": False}, {"sign-declared"}),
    (good, {"stochastic": True}, {"stochastic-declared"}),
    (with_seed, {}, {"stochastic-declared"}),
    (first_convolution, {}, {"refusal"}),
]


@pytest.fixture
def registered(monkeypatch):
    """Registers functions for the time of one test."""
    monkeypatch.setattr(registry, "_PLUGINS", dict(registry._PLUGINS))

    def add(function, **options):
        explainers.register("control", **{"signed": True, **options})(function)
        return "control"

    return add


@pytest.mark.parametrize(("function", "options", "rules"), CONTROLS, ids=lambda each: getattr(each, "__name__", ""))
def test_each_fault_is_found_by_its_rule_and_by_no_other(registered, function, options, rules):
    assert set(broken(registered(function, **options))) == rules


def test_another_device_is_found(registered):
    assert "meta" in broken(registered(elsewhere, class_sensitive=False))["device"]


@pytest.mark.parametrize("requires", ["relu", "relevance", "chain", "convolution", "evidence"])
def test_a_map_of_a_network_against_the_card_is_found(registered, monkeypatch, requires):
    name = registered(good)
    info = dataclasses.replace(registry.card(name), requires=requires)
    monkeypatch.setitem(registry._PLUGINS, name, (info, good))
    assert set(broken(name)) == {"refusal"}


def test_every_rule_has_a_control():
    assert {rule.name for rule in RULES} == {name for *_, rules in CONTROLS for name in rules} | {"device"}
    assert all(rule.summary and rule.mend for rule in RULES)


def test_the_requirements_of_all_cards_are_probed():
    assert {info.requires for info in CARDS.values()} - set(probes.OUTSIDE) <= {Info("x", "").requires, "evidence"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_that_is_set_already_is_noticed(registered, seed):
    with probes.preserved(seed):
        assert "globals-untouched" in broken(registered(seeds_torch))


def test_checking_leaves_the_process_as_it_was(registered):
    subject = probes.subject("chain")
    before = subject.checksum(), probes.random_states(), torch.is_grad_enabled()
    for function in (seeds_torch, draws_numpy, draws_python, stops_gradients, hooks):
        check(registered(function), subject)
        registry._PLUGINS.pop("control")
    assert (subject.checksum(), probes.random_states(), torch.is_grad_enabled()) == before


@pytest.mark.slow
def test_the_networks_are_the_same_in_every_process_and_need_no_pytest():
    logits = {
        name: probes.subject(name).predict_logits(probes.subject(name).data.load([0]))[0, 0] for name in probes.STRANGE
    }
    code = (
        "import sys, torch; from explainers import conformance, probes; assert 'pytest' not in sys.modules\n"
        "torch.manual_seed(5)\n"
        "for n in probes.STRANGE: s = probes.subject(n); print(float(s.predict_logits(s.data.load([0]))[0, 0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [float(line) for line in done.stdout.split()] == [
        pytest.approx(float(each), abs=1e-6) for each in logits.values()
    ]


def test_a_subject_of_ones_own_is_explained():
    found = check("cam", probes.subject("chain"))
    assert [finding.rule for finding in found] == ["explains", "parameters", "specification"]
    assert not found[0].passed and "conformance-chain" in found[0].detail


@pytest.mark.parametrize("name", ["guided-backprop", "lrp-a1b0", "deeplift"])
def test_operations_whose_results_have_names_are_refused(monkeypatch, name):
    monkeypatch.setattr(probes.Sorted, "forward", lambda self, x: torch.sort(x, dim=1).values)
    subject = probes.subject("unruled")
    with pytest.raises(probes.REFUSALS):
        explainers.get(name).explain(subject, subject.data.load([0]))


@pytest.mark.slow
def test_the_module_of_tests_runs_under_pytest(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import explainers\n@explainers.register('bright', signed=False, class_sensitive=True)\n"
        "def bright(subject, images, targets, *, seed):\n    return images.clone()\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "explainers.conformance_tests"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SANITY_BENCH_PLUGIN": str(file)}
    environment.pop("SANITY_BENCH_EXPLAINERS", None)
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "bright-class-declared" in done.stdout, done.stdout + done.stderr
    assert f"1 failed, {len(RULES) - 1} passed" in done.stdout
