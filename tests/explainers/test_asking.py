"""Parameters that an explainer refuses are known before anything is computed."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import explainers
import models
from explainers.asking import PASSES, objection
from models.naming import UsageError

REFUSED = {
    "integrated-gradients[steps=0]": "steps is 0",
    "integrated-gradients[baseline=blak]": "baseline is 'blak'",
    "expected-gradients[samples=0]": "samples is 0",
    "gradient-shap[sigma=-1.0]": "sigma is -1",
    "guided-backprop[extend=x]": "extend is 'x'",
    "rectgrad[percentile=100.0]": "percentile is 100",
    "gradcam[layer=conv55]": "no layer 'conv55'; did you mean 'conv5'",
    "guided-gradcam++[layer=x]": "no layer 'x'",
    "lrp[alpha=3]": "alpha is 3 and beta 1",
    "lrp[rule=x]": "rule is 'x'",
    "lrp[first=x]": "first is 'x'",
    "rap[neg_rule=C]": "neg_rule is 'C'",
    "pattern-attribution[samples=1]": "samples is 1",
    "deeplift[rule=x]": "rule is 'x'",
    "deepshap[references=999999]": "1 to 10,000 are allowed",
    "smoothgrad[samples=1]": "samples is 1",
    "vargrad[sigma=-1.0]": "sigma -1.0",
    "smoothgrad(integrated-gradients[steps=0])": "steps is 0",
    "contrast[step=0.0]": "step is 0",
    "contrast[probe=x](lrp-a1b0)": "probe is 'x'",
    "cdeepex[probe=x]": "probe is 'x'",
    "cdeepex[profile=x]": "profile is 'x'",
    "xgem[goal=2.0]": "goal is 2",
    "counterfactual-pgd[steps=0]": "steps 0",
    "counterfactual-identity[probe=x]": "probe is 'x'",
    "occlusion[stride=0.5]": "stride 0.5 is larger",
    "occlusion[baseline=x]": "baseline is 'x'",
    "rise[keep=1.0]": "keep 1",
    "pda[patch=1.0,stride=1.0]": "leaves no surroundings",
    "lime[segments=1]": "segments is 1",
    "lime[baseline=x]": "baseline is 'x'",
    "kernel-shap[samples=3]": "samples is 3 for 20 super-pixels",
    "dasp[segmentation=x]": "segmentation is 'x'",
    "siamese-ae-vae[keep=-1]": "keep is -1",
}
ACCEPTED = (
    "integrated-gradients[steps=2]", "gradcam[layer=conv5]", "lrp[alpha=3,beta=2]", "smoothgrad[samples=2](lrp-a1b0)",
    "xgem[goal=0.9]", "cdeepex[profile=paper,probe=3]", "lime[samples=2]", "kernel-shap[segments=10]", "deepshap[references=1]",
    "pda[samples=1]", "rise[cells=1]", "contrast[probe=least]", "deeplift[baseline=blur]", "dasp[sizes=1]",
)  # fmt: skip


class Weighed(TorchFunctionMode):
    """Counts convolutions and linear layers."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func in (F.conv2d, F.linear, torch.conv2d)
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_explainer_refuses(subject, name):
    assert REFUSED[name] in objection(explainers.get(name), subject)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_an_explainer_accepts(subject, name):
    assert objection(explainers.get(name), subject) == ""


def test_it_costs_a_few_passes_whatever_the_explainer_costs(subject):
    seen = []
    hooks = [
        m.register_forward_hook(lambda *_: seen.append(1)) for m in subject.model.modules() if hasattr(m, "weight")
    ]
    try:
        assert objection(explainers.get("integrated-gradients[steps=100000]"), subject) == ""
        assert objection(explainers.get("cdeepex[profile=thorough]"), subject) == ""
    finally:
        for hook in hooks:
            hook.remove()
    assert len(seen) <= 2 * PASSES * len(hooks)


def complaining(subject, images, targets, *, seed, kind="nothing"):
    """Complains in many ways, and changes a setting and the model."""
    torch.set_grad_enabled(False)
    next(subject.model.parameters()).add_(1.0)
    if kind == "usage":
        raise UsageError("kind is usage")
    if kind == "quit":
        raise SystemExit(3)
    if kind == "other":
        raise ValueError("something else")
    if kind == "caught":
        for _ in range(10_000):
            try:
                subject.logits(images)
            except Exception:
                continue
        raise UsageError("it should have been stopped")
    return images


@pytest.mark.parametrize(
    ("kind", "said"), [("usage", "kind is usage"), ("quit", ""), ("other", ""), ("caught", ""), ("nothing", "")]
)
def test_only_what_it_says_of_parameters_counts_and_nothing_is_left_behind(subject, kind, said):
    from explainers import registry

    explainers.register("test-complaining", signed=True, params={"kind": "nothing"})(complaining)
    before = subject.checksum()
    try:
        assert objection(explainers.get(f"test-complaining[kind={kind}]"), subject) == said
    finally:
        del registry._PLUGINS["test-complaining"]
    assert torch.is_grad_enabled() and subject.checksum() == before
