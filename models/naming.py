"""Names that users type: near names for unknown ones, and the grammar of specifications.

A specification is `name`, `name[param=value,...]`, `combinator(inner)` or `combinator[param=value](inner)`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

Value = str | int | float | bool

_HEAD = re.compile(r"[A-Za-z0-9_*?+.\-]+")


class UsageError(ValueError):
    """Something a user gave cannot be used; the message says what was given, what is allowed, how to mend it."""


def near(name: str, allowed: Iterable[str], count: int = 3) -> str:
    """The hint that names the nearest allowed names, or an empty string.

    Example:
        >>> near("salency", ["saliency", "gradcam"])
        "; did you mean 'saliency'?"
    """
    hits = difflib.get_close_matches(name, list(allowed), n=count, cutoff=0.55)
    return f"; did you mean {', '.join(repr(hit) for hit in hits)}?" if hits else ""


def said(error: BaseException) -> str:
    """What an error says in one line: its type, and the first line of its text where it has one.

    Example:
        >>> said(KeyError("a")), said(ValueError())
        ("KeyError: 'a'", 'ValueError')
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def placeless(text: str) -> str:
    """What a user's function is called wherever its file lies: `some/folder/file.py:function` without the folder.

    Names that reports show, keys of results and seeds of draws are made of this, so that none depends on the folder.

    Example:
        >>> placeless("../models/mine.py:make"), placeless("package.module:make"), placeless("fmnist-vgg")
        ('mine.py:make', 'package.module:make', 'fmnist-vgg')
    """
    place, colon, function = text.rpartition(":")
    return f"{PurePath(place).name}:{function}" if colon and place.endswith(".py") else text


@dataclass(frozen=True)
class Spec:
    """A parsed specification: a name, its parameters in alphabetical order, and what it is applied to.

    Example:
        >>> str(Spec("lrp", (("alpha", 2), ("beta", 1))))
        'lrp[alpha=2,beta=1]'
    """

    name: str
    params: tuple[tuple[str, Value], ...] = ()
    inner: Spec | None = None

    def __str__(self) -> str:
        params = ",".join(f"{key}={_text(value)}" for key, value in self.params)
        return self.name + (f"[{params}]" if params else "") + (f"({self.inner})" if self.inner else "")


def parse_spec(text: str) -> Spec:
    """Read a specification as users write it.

    Args:
        text: for example `saliency`, `integrated-gradients[steps=200,baseline=blur]`, `smoothgrad(deeplift)`.

    Raises:
        UsageError: the text does not follow the grammar.

    Example:
        >>> parse_spec("smoothgrad[samples=8](lrp[beta=1, alpha=2])")
        Spec(name='smoothgrad', params=(('samples', 8),), inner=Spec(name='lrp', params=(('alpha', 2), ('beta', 1)), inner=None))
    """
    spec, rest = _read(text.strip(), text)
    if rest:
        raise UsageError(f"cannot read {text!r}: {rest!r} is left over; write name[param=value,...](inner)")
    return spec


def split_list(text: str) -> list[str]:
    """Split a comma list at the commas outside brackets and parentheses; empty items are dropped.

    Example:
        >>> split_list("saliency, lrp[alpha=2,beta=1],smoothgrad(lrp-*)")
        ['saliency', 'lrp[alpha=2,beta=1]', 'smoothgrad(lrp-*)']
    """
    items, depth, current = [], 0, ""
    for char in text:
        depth += (char in "[(") - (char in "])")
        if char == "," and depth == 0:
            items.append(current.strip())
            current = ""
        else:
            current += char
    items.append(current.strip())
    return [item for item in items if item]


def value_of(text: str) -> Value:
    """A parameter's value: true/false, an integer, a finite number, else the text itself.

    Example:
        >>> value_of("3"), value_of("0.5"), value_of("true"), value_of("blur")
        (3, 0.5, True, 'blur')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if number == number and abs(number) != float("inf"):
            return number
    return text


def _read(text: str, whole: str) -> tuple[Spec, str]:
    head = _HEAD.match(text)
    if not head:
        raise UsageError(f"cannot read {whole!r}: a name is expected at {text!r}; write name[param=value,...](inner)")
    name, rest = head.group(), text[head.end() :]
    params: tuple[tuple[str, Value], ...] = ()
    if rest.startswith("["):
        body, closed, rest = rest[1:].partition("]")
        if not closed:
            raise UsageError(f"cannot read {whole!r}: the bracket '[' is not closed")
        params = _params(body, whole)
    inner = None
    if rest.startswith("("):
        inner, rest = _read(rest[1:].strip(), whole)
        if not rest.startswith(")"):
            raise UsageError(f"cannot read {whole!r}: the parenthesis '(' is not closed")
        rest = rest[1:]
    return Spec(name, params, inner), rest.strip()


def _params(body: str, whole: str) -> tuple[tuple[str, Value], ...]:
    found: dict[str, Value] = {}
    for item in filter(None, (part.strip() for part in body.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"cannot read {item!r} in {whole!r}: parameters are written param=value")
        if key in found:
            raise UsageError(f"parameter {key!r} stands twice in {whole!r}; give it once")
        found[key] = value_of(value)
    return tuple(sorted(found.items()))


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
