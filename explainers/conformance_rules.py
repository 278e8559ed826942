"""The tests behind the conformance rules: each takes a case, returns what it saw, and raises Broken where the rule fails."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, said

from . import probes, registry
from .base import Partial, _function, status_of
from .probes import REFUSALS, Case, preserved

TOLERANCE, ROUNDING = 1e-4, 1e-12
GIVEN = frozenset({"subject", "images", "targets", "seed", "inner"})
UNUSUAL = 726_354_819
"""Of global generators; no explainer is expected to set them to it."""


class Broken(Exception):
    """A rule does not hold; the message says what was seen."""


def explains(case: Case) -> str:
    """The function can be called and returns something that may be a map."""
    case.part()
    return f"{len(case.images)} images of {case.subject.name}"


def shape(case: Case) -> str:
    """One floating map per image, of the image's size."""
    part, (n, channels, height, width) = case.part(), case.images.shape
    values, allowed = part.attribution, ((n, 1, height, width), (n, channels, height, width))
    if not isinstance(values, Tensor) or tuple(values.shape) not in allowed:
        what = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise Broken(f"the attribution is {what}; allowed are {allowed[0]} and {allowed[1]}")
    if not values.is_floating_point():
        raise Broken(f"the attribution is of type {values.dtype}; a floating type is needed")
    for name, shape in {"residual": (n,), "failed": (n,), "counterfactual": tuple(case.images.shape)}.items():
        beside = getattr(part, name)
        if beside is not None and tuple(beside.shape) != shape:
            raise Broken(f"{name} has shape {tuple(beside.shape)}; {shape} is needed")
    return f"{tuple(values.shape)} {values.dtype}"


def parameters(case: Case) -> str:
    """The card's parameters and defaults are those of the function's signature."""
    info = case.explainer.info
    parameters = inspect.signature(_function(info)).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    keys = {"relevance_seed" if key == "seed" else key: value for key, value in info.params.items()}
    absent = [key for key in (*keys, "seed") if key not in parameters and not open_ended]
    if absent:
        raise Broken(f"the signature lacks {', '.join(absent)}; it has {', '.join(parameters)}")
    needed = [
        p.name for p in parameters.values() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    unknown = [key for key in needed if key not in GIVEN and key not in keys]
    if unknown:
        raise Broken(f"the signature needs {', '.join(unknown)}, which the card does not declare")
    for key, value in keys.items():
        default = parameters[key].default if key in parameters else inspect.Parameter.empty
        if default is not inspect.Parameter.empty and default != value:
            raise Broken(f"{key} is {default!r} in the signature and {value!r} on the card")
    return ", ".join(keys) or "none"


def specification(case: Case) -> str:
    """The specification survives JSON, text and pickling."""
    explainer = case.explainer
    if json.loads(json.dumps(explainer.spec)) != explainer.spec:
        raise Broken(f"the specification {explainer.spec} changes on its way through JSON")
    for text in (str(explainer.resolved), explainer.name):
        try:
            again = registry.get(text).spec
        except UsageError as error:
            raise Broken(f"{text!r} cannot be read back: {error}") from error
        if again != explainer.spec:
            raise Broken(f"{text!r} is read back as {again}, which is not {explainer.spec}")
    return explainer.name


def seed(case: Case) -> str:
    """The same seed gives the same map, whatever the state of the global generators."""
    _want_same(case, case.base, case.map(world=2), "twice with seed 0, global generators in another state", exact=True)
    return "the same map with the same seed"


def model(case: Case) -> str:
    """The model is left as it was, also after an error."""
    subject = case.subject.private_copy()
    before, identities = subject.checksum(), _identities(subject)
    try:
        with preserved():
            case.explainer.raw(subject, case.images.clone(), case.targets.clone(), 0)
    finally:
        if subject.checksum() != before:
            raise Broken("parameters, buffers, training mode, requires_grad, gradients or hooks differ after the call")
        if _identities(subject) != identities:
            raise Broken("modules or parameters were exchanged or added")
    return "the model is as before"


def images(case: Case) -> str:
    """Images and targets are left as they were."""
    images, targets = case.images.clone(), case.targets.clone()
    with preserved():
        case.explainer.raw(case.subject.private_copy(), images, targets, 0)
    for what, now, before in (("images", images, case.images), ("targets", targets, case.targets)):
        if not torch.equal(now, before):
            raise Broken(f"the {what} it was given differ after the call")
    return "images and targets are as before"


def global_state(case: Case) -> str:
    """Global generators and settings are left as they were."""
    # From a state that nobody sets: a seed that happens to be set already would go unnoticed.
    with preserved(UNUSUAL):
        before = probes.random_states(), torch.is_grad_enabled(), torch.get_default_dtype()
        case.explainer.raw(case.subject.private_copy(), case.images.clone(), case.targets.clone(), 0)
        after = probes.random_states(), torch.is_grad_enabled(), torch.get_default_dtype()
    moved = [name for name in before[0] if before[0][name] != after[0][name]]
    moved += [
        name for name, a, b in zip(("gradient mode", "default type"), before[1:], after[1:], strict=True) if a != b
    ]
    if moved:
        raise Broken(f"global state of {', '.join(moved)} differs after the call")
    return "global randomness and settings are as before"


def single(case: Case) -> str:
    """Maps of a batch are those of its images alone."""
    alone = torch.cat([case.map(x, t) for x, t in zip(case.images.split(1), case.targets.split(1), strict=True)])
    _want_same(case, case.base, alone, "in a batch and alone")
    return f"{len(alone)} images alone as in a batch"


def batches(case: Case) -> str:
    """Other batches in another order give the same maps."""
    order = torch.arange(len(case.images) - 1, -1, -1)
    cut = max(1, len(order) - 1)
    parts = [case.map(case.images[chosen], case.targets[chosen]) for chosen in order.split(cut)]
    _want_same(case, case.base, torch.cat(parts)[order], f"in batches of {cut} in another order")
    return f"batches of {cut} in another order as one batch"


def device(case: Case) -> str:
    """The map is where the images are; on an accelerator, where there is one, it is the same picture."""
    places = [case.images.device, *(torch.device("cuda", i) for i in range(min(1, torch.cuda.device_count())))]
    for place in dict.fromkeys(places):
        subject = case.subject.private_copy()
        moved = subject.with_model(subject.model.to(place))
        values = case.part(case.images.to(place), case.targets.to(place), subject=moved).attribution
        if values.device != place:
            raise Broken(f"images and model are on {place}, the attribution on {values.device}")
        if place != case.images.device and not _alike(case.base, values.float().to(case.base.device)):
            raise Broken(f"the map on {place} is another than on {case.images.device}")
    return "the map stays on " + ", ".join(str(place) for place in dict.fromkeys(places))


def degenerate(case: Case) -> str:
    """Degenerate images end in a status or in a clear refusal, and rounding errors are no map."""
    seen, scale = [], float(case.base.abs().nan_to_num(0.0, 0.0, 0.0).max())
    for name, image in probes.degenerate(case.images).items():
        try:
            part = case.part(image, case.targets[:1])
        except REFUSALS as error:
            seen.append(f"{name} refused ({type(error).__name__})")
            continue
        except Exception as error:
            raise Broken(f"an image {name} raised {said(error)}") from error
        status, largest = _status(part)[0], float(part.attribution.detach().abs().max())
        if status == "ok" and largest < ROUNDING * scale:
            raise Broken(
                f"an image {name} gives rounding errors up to {largest:.1g} for a map, where {scale:.1g} is usual"
            )
        seen.append(f"{name} {status}")
    return ", ".join(seen)


def repair(case: Case) -> str:
    """The maps of a network of NaN are recorded as such, unless the explainer does not read the network."""
    if case.explainer.info.group == "reference" and not case.explainer.info.anchors:
        return "a reference explainer, which is no explanation"
    try:
        names = _status(case.part(subject=_refilled(case, float("nan"))))
    except REFUSALS as error:
        return f"a network of NaN is refused ({type(error).__name__})"
    hidden = [name for name in names if name not in ("non-finite", "failed")]
    if not hidden:
        return f"a network of NaN gives {', '.join(dict.fromkeys(names))}"
    if torch.equal(case.part(subject=_refilled(case, 0.0)).attribution.float(), case.base):
        return "does not depend on the weights"
    raise Broken(f"all weights are NaN and {len(hidden)} maps are {hidden[0]}: something replaces what is not finite")


def class_declared(case: Case) -> str:
    """Another class changes the map if and only if the card says so."""
    steps = range(1, case.subject.num_classes)
    differ = any(not _equal(case.base, case.map(targets=case.other_classes(step))) for step in steps)
    if differ and not case.explainer.info.class_sensitive:
        raise Broken("declared class_sensitive=False, and the map of another class differs")
    if not differ and case.explainer.info.class_sensitive:
        raise Broken(
            f"declared class_sensitive=True, and the maps of all {case.subject.num_classes} classes are the same"
        )
    return "another class gives another map" if differ else "every class gives the same map, as declared"


def sign_declared(case: Case) -> str:
    """No value is below zero where the card says so."""
    lowest = min(float(values.nan_to_num(0.0).min()) for values in (case.base, case.map(targets=case.other_classes())))
    if lowest < 0 and not case.explainer.info.signed:
        raise Broken(f"declared signed=False, and values go down to {lowest:.3g}")
    if case.explainer.info.signed and lowest >= 0:
        return "declared signed; no value below zero was seen here"
    return "signed" if case.explainer.info.signed else "no value below zero, as declared"


def stochastic_declared(case: Case) -> str:
    """Another seed changes the map if and only if the card says so."""
    differ = not _equal(case.base, case.map(seed=1)) or not _equal(case.base, case.map(seed=2))
    if differ and not case.explainer.info.stochastic:
        raise Broken("declared stochastic=False, and another seed gives another map")
    if not differ and case.explainer.info.stochastic:
        raise Broken("declared stochastic=True, and other seeds give the same maps")
    return "another seed gives another map" if differ else "every seed gives the same map, as declared"


def refusal(case: Case) -> str:
    """Networks that the explainer may not support give a map or a clear refusal, and those against its card no map."""
    requires, seen = case.explainer.info.requires, []
    for name in probes.STRANGE:
        subject = probes.subject(name)
        images = subject.data.load(range(2))
        try:
            part = case.part(images, subject.predict(images), subject=subject)
        except REFUSALS as error:
            seen.append(f"{name} refused ({type(error).__name__})")
        except Exception as error:
            raise Broken(f"the network {name!r} raised {said(error)}") from error
        else:
            if probes.OUTSIDE.get(requires) == name and any(status != "failed" for status in _status(part)):
                raise Broken(f"the card requires {requires!r}, and the network {name!r}, which is not, got a map")
            seen.append(f"{name} explained")
    if requires == "evidence":
        try:
            case.part(subject=replace(case.subject, evidence=None))
        except REFUSALS as error:
            return f"no evidence refused ({type(error).__name__})"
        raise Broken("the card requires 'evidence', and a subject without it got a map")
    return ", ".join(seen)


def _refilled(case: Case, fill: float) -> Subject:
    """The case's subject with every parameter filled with one value."""
    other = case.subject.private_copy()
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.fill_(fill)
    return other


def _status(part: Partial) -> tuple[str, ...]:
    names = status_of(part.attribution.detach().float())
    if part.failed is None:
        return names
    return tuple("failed" if bad else name for bad, name in zip(part.failed.tolist(), names, strict=True))


def _identities(subject: Subject) -> list[tuple[str, int]]:
    held = (*subject.model.named_modules(), *subject.model.named_parameters(), *subject.model.named_buffers())
    return [(name, id(each)) for name, each in held]


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-6, atol=0, equal_nan=True)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether maps from different hardware are the same picture: cosine similarity above 0.99 over all images."""
    flat = [values.nan_to_num(0.0).flatten().double() for values in (one, other)]
    near = one.shape == other.shape and float(torch.cosine_similarity(flat[0], flat[1], dim=0)) > 0.99
    return near or _equal(one, other)


def _want_same(case: Case, one: Tensor, other: Tensor, when: str, *, exact: bool = False) -> None:
    """Raise Broken where two maps of the same images differ by more than rounding, relative to the image's largest value."""
    if one.shape != other.shape:
        raise Broken(f"{when}: shapes {tuple(one.shape)} and {tuple(other.shape)}")
    if bool((torch.isfinite(one) != torch.isfinite(other)).any()):
        raise Broken(f"{when}: finite in one and not in the other")
    scale = one.abs().nan_to_num(0.0, 0.0, 0.0).amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(one.dtype).tiny)
    gap = float(((one - other) / scale).abs().nan_to_num(0.0, 0.0, 0.0).max())
    if gap > (0.0 if exact and one.device.type == "cpu" else TOLERANCE):
        raise Broken(f"{when}: the maps differ by {gap:.3g} of their largest value")
