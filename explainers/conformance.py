"""Conformance of an explainer: rules that every explainer must keep, ours and users', run on a tiny built-in network.

`bench check-plugin my_explainer.py` prints the findings; `pytest --pyargs explainers.conformance_tests` runs them as tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.base import Subject
from models.naming import said

from . import conformance_rules as rules
from . import probes, registry
from .base import Explainer
from .conformance_rules import Broken
from .probes import Case, preserved


@dataclass(frozen=True)
class Finding:
    """Whether an explainer keeps a rule.

    Attributes:
        rule: name of the rule.
        passed: whether it holds.
        detail: what was seen.
    """

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Rule:
    """One thing that every explainer must do.

    Attributes:
        name: what findings call it.
        summary: what must hold.
        mend: what to do where it does not.
        test: returns what was seen, raises Broken.
        alone: needs the card and the signature only, no map.
    """

    name: str
    summary: str
    mend: str
    test: Callable[[Case], str]
    alone: bool = False


def check(name: str | Explainer, subject: Subject | None = None) -> list[Finding]:
    """Try every rule on an explainer; where it gives no map at all, only the rules about its card are tried.

    Args:
        name: an explainer or its specification, for example `smoothgrad(my-method)`.
        subject: explained instead of the built-in networks; its first four images are used.

    Raises:
        UsageError: unknown explainer or parameter.

    Example:
        >>> [finding.rule for finding in check("saliency") if not finding.passed]
        []
    """
    explainer = registry.get(name) if isinstance(name, str) else name
    with preserved():
        case, first = _case(explainer, subject)
        rest = [rule for rule in RULES[1:] if first.passed or rule.alone]
        return [first, *(_tried(rule, case) for rule in rest)]


def _case(explainer: Explainer, subject: Subject | None) -> tuple[Case, Finding]:
    """The first subject that the explainer explains, and the finding that it does."""
    for held in _subjects(subject):
        images = held.data.load(range(min(probes.COUNT, len(held.data)))).to(held.device)
        case = Case(explainer, held, images, held.predict(images))
        try:
            return case, Finding(RULES[0].name, True, RULES[0].test(case))
        except probes.REFUSALS as refused:
            found = Finding(RULES[0].name, False, f"{held.name}: {said(refused)}")
        except Exception as error:
            return case, Finding(RULES[0].name, False, f"{held.name} raised {said(error)}")
    return case, found


def _subjects(given: Subject | None) -> Iterator[Subject]:
    if given is not None:
        yield given
        return
    for name in probes.SUPPORTED:
        yield probes.subject(name)


def _tried(rule: Rule, case: Case) -> Finding:
    try:
        return Finding(rule.name, True, rule.test(case))
    except Broken as broken:
        return Finding(rule.name, False, str(broken))
    except Exception as error:  # whatever a user's function may raise is a finding, not the end of the list
        return Finding(rule.name, False, f"raised {said(error)}")


RULES: tuple[Rule, ...] = (
    Rule("explains", "it explains a small network of convolutions, ReLUs, maximum pooling and linear layers",
         "make f(subject, images, targets, *, seed, **params) return a tensor for a small network", rules.explains),
    Rule("shape", "one floating map per image, (N, 1 or C, H, W)",
         "return values of the shape of the images, or with one channel, in a floating type", rules.shape),
    Rule("parameters", "the card's parameters are those of the function",
         "declare params={name: default} in register(...) with the names and defaults of the signature, and take seed",
         rules.parameters, alone=True),
    Rule("specification", "name and parameters survive JSON, text and another process",
         "use parameters that are text without commas or brackets, numbers, true or false", rules.specification, alone=True),
    Rule("seed", "the same seed gives the same map",
         "draw from models.seeds.generator(seed, ...) instead of global generators, and keep no state between calls", rules.seed),
    Rule("model-untouched", "parameters, buffers, mode, requires_grad and hooks stay as they are",
         "work on subject.private_copy() or remove what you add, also when an error is raised", rules.model),
    Rule("images-untouched", "images and targets stay as they are", "clone what you change: images.clone()", rules.images),
    Rule("globals-untouched", "global generators of torch, numpy, python and torch's settings stay as they are",
         "pass generators: torch.Generator, numpy.random.default_rng, random.Random; use `with torch.enable_grad():`",
         rules.global_state),
    Rule("single", "an image gets the same map alone and in a batch",
         "let nothing mix images: no statistics over the batch, randomness keyed by the image (explainers.controls.image_key)",
         rules.single),
    Rule("batch-size", "batch size and order do not matter",
         "key randomness by the image and not by its place in the batch", rules.batches),
    Rule("device", "the map stays on the device of the images",
         "create tensors with device=images.device or like images", rules.device),
    Rule("degenerate-images", "black, constant and nearly empty images give a map with a status, or a clear refusal",
         "return exact zeros or NaN where there is nothing to explain, or raise explainers.ExplainerError", rules.degenerate),
    Rule("no-repair", "what is not finite stays visible",
         "remove nan_to_num and the like (torch.where(x > 0, x, 0) hides NaN too, clamp does not); it is recorded as such",
         rules.repair),
    Rule("class-declared", "class_sensitive is what the card says",
         "explain the class in targets, or register with class_sensitive=False", rules.class_declared),
    Rule("sign-declared", "an unsigned explainer gives no value below zero", "register with signed=True", rules.sign_declared),
    Rule("stochastic-declared", "stochastic is what the card says",
         "use the seed if and only if registered with stochastic=True", rules.stochastic_declared),
    Rule("refusal", "a network that it cannot explain gets a clear error and no map",
         "raise explainers.ExplainerError with a message that names what the network lacks", rules.refusal),
)  # fmt: skip

__all__ = ["RULES", "Broken", "Finding", "Rule", "check"]
