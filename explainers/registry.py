"""Names of explainers: lookup, aliases, globs, plug-ins; free of torch until an explainer is used."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from models.naming import Spec, UsageError, Value, near, parse_spec, placeless, split_list

from .cards import ALIASES, CARDS, WORD_CARDS
from .contrastive.digests import coders_digest, generator_digest
from .info import GROUPS, Info

if TYPE_CHECKING:
    from .base import Explainer

_PLUGINS: dict[str, tuple[Info, Callable[..., Any]]] = {}


def names() -> list[str]:
    """Every name that `get` takes without parameters: explainers, aliases, plug-ins.

    Example:
        >>> "lrp-a1b0" in names()
        True
    """
    return [*(name for name in CARDS if name not in _ABSTRACT), *ALIASES, *_PLUGINS]


_ABSTRACT = ("lrp",)


def card(name: str) -> Info:
    """The card of a name or alias.

    Raises:
        UsageError: unknown name; the message names the nearest.

    Example:
        >>> card("guided-backprop").group
        'modified-backprop'
    """
    if name in _PLUGINS:
        return _PLUGINS[name][0]
    if name in CARDS:
        return CARDS[name]
    if name in ALIASES:
        return CARDS[ALIASES[name].name]
    if name in WORD_CARDS:
        return WORD_CARDS[name]
    known = [*CARDS, *ALIASES, *WORD_CARDS, *_PLUGINS]
    raise UsageError(f"explainer {name!r} is unknown{near(name, known) or '; bench list explainers shows all'}")


def cards() -> list[Info]:
    """The cards of all explainers, those of sentences and plug-ins last."""
    return [*CARDS.values(), *WORD_CARDS.values(), *(info for info, _ in _PLUGINS.values())]


def implementation(name: str) -> Callable[..., Any] | None:
    """The function of a plug-in, None for built-in explainers (their card names the module)."""
    return _PLUGINS[name][1] if name in _PLUGINS else None


def resolve(text: str | Spec) -> Spec:
    """A specification with aliases expanded, all parameters filled in and checked.

    Raises:
        UsageError: unknown name or parameter, a value of the wrong type, a combinator used wrongly.

    Example:
        >>> str(resolve("lrp-a2b1"))
        'lrp[alpha=2.0,beta=1.0,bias=ignore,denominator=common,epsilon=0.01,first=rule,rule=alpha-beta,seed=abs]'
    """
    spec = parse_spec(text) if isinstance(text, str) else text
    info = card(spec.name)
    alias = ALIASES.get(spec.name) if spec.name not in CARDS else None
    given = {**dict(alias.params), **dict(spec.params)} if alias else dict(spec.params)
    params = {**info.params}
    for key, value in given.items():
        if key not in params:
            raise UsageError(
                f"explainer {spec.name!r} has no parameter {key!r}; it has {', '.join(params) or 'none'}{near(key, params)}"
            )
        params[key] = _typed(spec.name, key, value, params[key])
    inner = spec.inner
    if info.combinator:
        inner = resolve(inner if inner is not None else info.inner)
    elif inner is not None:
        combinators = [each.name for each in cards() if each.combinator]
        raise UsageError(f"{spec.name!r} takes no explainer in parentheses; combinators are {', '.join(combinators)}")
    return Spec(alias.name if alias else spec.name, tuple(sorted(params.items())), inner)


def display(spec: Spec) -> str:
    """The shortest text that resolves to this specification.

    Example:
        >>> display(resolve("lrp[alpha=2,beta=1]")), display(resolve("smoothgrad(gradient)"))
        ('lrp-a2b1', 'smoothgrad')
    """
    for alias, short in ALIASES.items():
        if spec.name == short.name and spec.inner is None and resolve(alias) == spec:
            return alias
    info = card(spec.name)
    params = tuple((key, value) for key, value in spec.params if info.params[key] != value)
    inner = spec.inner if spec.inner is not None and resolve(info.inner) != spec.inner else None
    return str(Spec(spec.name, params)) + (f"({display(inner)})" if inner is not None else "")


def cost_of(spec: Spec) -> float:
    """Forward-backward passes per image of a resolved specification, by the cards of it and of what it is applied to.

    Example:
        >>> cost_of(resolve("integrated-gradients[steps=200]")), cost_of(resolve("smoothgrad[samples=10](deeplift)"))
        (200.0, 40.0)
    """
    info = card(spec.name)
    share = 1.0
    if info.grows:
        share = float(dict(spec.params)[info.grows]) / float(info.params[info.grows])
    more = 0.0 if spec.inner is None else cost_of(spec.inner) - cost_of(resolve(info.inner))
    return share * (info.cost + info.runs * more)


def label(spec: Spec) -> str:
    """What records call a specification: its display text without the folders of files, which change no result.

    Example:
        >>> label(resolve("xgem[generator=some/where/mine.py:make]")), label(resolve("lrp[alpha=2,beta=1]"))
        ('xgem[generator=mine.py:make]', 'lrp-a2b1')
    """
    return display(_placeless(spec))


def identity(spec: Spec) -> dict[str, Any]:
    """What the results of a specification depend on, JSON-able: parameters, versions, what a generator's name stands for.

    Example:
        >>> identity(resolve("saliency"))
        {'name': 'saliency', 'params': {}, 'version': 1, 'inner': None}
    """
    info = card(spec.name)
    plain: dict[str, Any] = {
        "name": spec.name,
        "params": {
            key: value for key, value in _placeless(spec).params if key not in info.later or value != info.params[key]
        },
        "version": info.version,
        "inner": None if spec.inner is None else identity(spec.inner),
    }
    if "generator" in plain["params"]:
        plain["generator"] = generator_digest(str(dict(spec.params)["generator"]))
    if "coder" in plain["params"]:
        plain["coder"] = coders_digest()
    return plain


def _placeless(spec: Spec) -> Spec:
    """The specification without folders: of a generator's file, and of the cache that a fit lies in."""
    params = tuple((key, _without_folder(key, value, card(spec.name).params[key])) for key, value in spec.params)
    return Spec(spec.name, params, None if spec.inner is None else _placeless(spec.inner))


def _without_folder(key: str, value: Value, default: Value) -> Value:
    if key == "cache":
        return default
    if key == "generator" and isinstance(value, str):
        return placeless(value) if ":" in value else PurePath(value).name
    return value


def get(text: str | Spec) -> Explainer:
    """The explainer of a name or specification.

    Args:
        text: `saliency`, `lrp[alpha=2,beta=1]`, `smoothgrad(deconvnet)`.

    Raises:
        UsageError: unknown name or parameter.

    Example:
        >>> get("smoothgrad").name
        'smoothgrad'
    """
    from .base import Explainer

    spec = resolve(text)
    info = card(spec.name)
    if any(f"{key}={value}" in info.stochastic_with for key, value in spec.params):
        info = replace(info, stochastic=True)
    return Explainer(display(spec), info, spec)


def expand(selection: str | Iterable[str]) -> list[str]:
    """The display names that a selection stands for, in order, each once.

    Args:
        selection: comma list (or list) of names, globs, parameters, combinators; `all` stands for every explainer that
            needs neither planted evidence nor a fit of its own beforehand.

    Raises:
        UsageError: an item that matches nothing; the message names the nearest.

    Example:
        >>> expand("saliency,lrp-a[12]*")
        ['saliency', 'lrp-a1b0', 'lrp-a2b1']
    """
    items = (
        split_list(selection)
        if isinstance(selection, str)
        else [part for text in selection for part in split_list(text)]
    )
    if not items:
        raise UsageError("no explainer was named; give names, globs such as lrp-*, or all")
    found: list[str] = []
    for item in items:
        found += [display(resolve(each)) for each in _matches(item)]
    return list(dict.fromkeys(found))


def select(selection: str | Iterable[str]) -> list[Explainer]:
    """The explainers that a selection stands for; see `expand`."""
    return [get(name) for name in expand(selection)]


def register(
    name: str,
    *,
    signed: bool,
    version: int = 1,
    summary: str = "",
    group: str = "plugin",
    stochastic: bool = False,
    class_sensitive: bool = True,
    channels: str = "sum",
    params: dict[str, Any] | None = None,
    source: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a function `(subject, images, targets, *, seed, **params)` to the registry.

    Args:
        name: what users will type; letters, digits and dashes.
        signed: whether values below zero mean something.
        version: raise it when the numbers change, so that stored results are not taken for new ones.

    Raises:
        UsageError: the name is taken by another function, or is not a name.

    Example:
        >>> @register("doc-brightness", signed=False)
        ... def brightness(subject, images, targets, *, seed):
        ...     return images
        >>> get("doc-brightness").info.origin != "built-in"
        True
    """
    if not name or not all(char.isalnum() or char in "-_+." for char in name):
        raise UsageError(f"{name!r} cannot be an explainer's name; use letters, digits, '-', '_', '+', '.'")
    if group not in GROUPS:
        raise UsageError(f"group {group!r} is unknown; allowed are {', '.join(GROUPS)}")
    if name in CARDS or name in ALIASES or name in WORD_CARDS:
        raise UsageError(f"the name {name!r} belongs to a built-in explainer; choose another")

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        place = f"{inspect.getsourcefile(function) or function.__module__}:{function.__qualname__}"
        if name in _PLUGINS and _PLUGINS[name][0].origin != place:
            raise UsageError(
                f"the name {name!r} is taken by {_PLUGINS[name][0].origin} and again by {place}; rename one"
            )
        lines = (function.__doc__ or "").strip().splitlines()
        info = Info(
            name=name, summary=summary or (lines[0] if lines else ""), source=source, group=group, signed=signed,
            stochastic=stochastic, class_sensitive=class_sensitive, channels=channels, params=dict(params or {}),
            version=version, origin=place,
        )  # fmt: skip
        _PLUGINS[name] = (info, function)
        return function

    return add


def _matches(item: str) -> list[str]:
    if item == "all":
        return [name for name in names() if not _needs_evidence(name) and not card(name).amortised]
    head = item.split("(")[0].split("[")[0]
    if not any(char in head for char in "*?") and not ("[" in item and _is_glob_class(item)):
        return [item]
    hits = [name for name in names() if fnmatch.fnmatchcase(name, item)]
    if not hits:
        raise UsageError(
            f"{item!r} matches no explainer{near(item.strip('*?'), names()) or '; bench list explainers shows all'}"
        )
    return hits


def _is_glob_class(item: str) -> bool:
    return "=" not in item


def _needs_evidence(name: str) -> bool:
    return card(name).requires == "evidence"


def _typed(name: str, key: str, value: Value, default: Value) -> Value:
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    elif isinstance(default, str) and isinstance(value, int):
        return str(value)  # a class may be named by its number
    else:
        fits = type(value) is type(default)
    if not fits:
        raise UsageError(f"{name}: {key} is {value!r}; a value like {default!r} ({type(default).__name__}) is needed")
    return value
