import subprocess
import sys

import pytest

import explainers
from explainers import registry
from explainers.cards import ALIASES, CARDS
from explainers.info import GROUPS
from models.naming import UsageError

LRP = [f"lrp-a{alpha}b{alpha - 1}" for alpha in range(1, 10)]


def test_reading_the_registry_needs_no_torch():
    code = "import explainers, sys; explainers.cards(); explainers.expand('lrp-*'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", list(CARDS))
def test_every_card_is_filled_in_and_its_function_exists(name):
    info = CARDS[name]
    assert info.name == name and info.group in GROUPS and info.summary.endswith(".") and info.source and info.equation
    assert info.assumes and info.verdict, "what it assumes and its known verdict; say so where the literature has none"
    assert info.cost > 0 or info.group == "reference"
    module, _, function = info.implementation.partition(":")
    assert callable(getattr(__import__(f"explainers.{module}", fromlist=[function]), function))


@pytest.mark.parametrize("name", [*CARDS, *ALIASES])
def test_display_and_resolve_are_inverse(name):
    spec = registry.resolve(name)
    assert registry.resolve(registry.display(spec)) == spec


def test_aliases_are_named_by_their_short_name():
    assert registry.display(registry.resolve("lrp[alpha=2,beta=1]")) == "lrp-a2b1"
    assert registry.display(registry.resolve("lrp[rule=epsilon]")) == "lrp-epsilon"
    assert registry.display(registry.resolve("smoothgrad(gradient)")) == "smoothgrad"
    assert registry.display(registry.resolve("vargrad[samples=8](lrp-a2b1)")) == "vargrad[samples=8](lrp-a2b1)"


def test_selection():
    assert explainers.expand("lrp-a*") == LRP
    assert explainers.expand("saliency,saliency, gradient") == ["saliency", "gradient"]
    assert "oracle" not in explainers.expand("all") and {"saliency", "lrp-a1b0"} <= set(explainers.expand("all"))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("salency", "'saliency'"), ("lrq-*", "did you mean|matches no explainer"), ("", "no explainer was named"),
        ("integrated-gradients[stepz=3]", "did you mean 'steps'"), ("saliency(gradient)", "combinators are"),
        ("integrated-gradients[steps=many]", "int"), ("smoothgrad(salency)", "'saliency'"),
    ],
)  # fmt: skip
def test_what_cannot_be_selected_is_a_usage_error(selection, message):
    with pytest.raises(UsageError, match=message):
        explainers.expand(selection)


def test_a_name_is_taken_once():
    def one(subject, images, targets, *, seed):
        return images

    def two(subject, images, targets, *, seed):
        return images

    explainers.register("test-taken", signed=False)(one)
    explainers.register("test-taken", signed=False)(one)
    with pytest.raises(UsageError, match="taken by"):
        explainers.register("test-taken", signed=False)(two)
    with pytest.raises(UsageError, match="built-in"):
        explainers.register("saliency", signed=False)
    with pytest.raises(UsageError, match="cannot be"):
        explainers.register("a/b", signed=False)
