"""Generators by name: members of the zoo, and a user's own from a file or package."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..base import state_digest
from ..functions import imported_function, make
from ..naming import UsageError, near, placeless
from ..seeds import seeded
from ..zoo.build import empty_network, trained_network
from ..zoo.catalogue import MEMBERS, display, member, versions, weights_name
from .base import Generator, conforming, frozen


def load(name: str) -> Generator:
    """A generator of the zoo (`fashion-mnist-vae`) or of a user (`file.py:function`); see `models.generators`.

    Args:
        name: also a weights file that `bench train` wrote, for example `weights/fashion-mnist-gan-wgan.safetensors`.

    Raises:
        UsageError: unknown name, no weights, or a generator that fails its conformance checks.
    """
    if name.endswith(".safetensors"):
        return from_weights(name)
    if ":" in name:
        return from_function(name)
    found, params = member(name, "generator")
    network = frozen(trained_network(found, params))
    return conforming(from_object(network, display(found, params)))


def from_function(text: str) -> Generator:
    """The generator that `path/to/file.py:function` or `package.module:function` returns, checked.

    Raises:
        UsageError: the file does not import, has no such function, or what it returns is no generator.
    """
    made = make(imported_function(text, "generator"), text, "generator")
    source = {}
    path = Path(text.rpartition(":")[0])
    if path.suffix == ".py" and path.is_file():
        source = {"file": hashlib.sha256(path.read_bytes()).hexdigest()}
    return conforming(from_object(made, placeless(text), source))


def from_weights(text: str) -> Generator:
    """The generator of the zoo whose weights a file holds; the file has the name that `bench train` gives it.

    Raises:
        UsageError: no such file, a name that belongs to no generator, or weights of another network.
    """
    path = Path(text)
    known = {
        weights_name(found, params): (found, params)
        for found in MEMBERS.values()
        if found.kind == "generator"
        for params in versions(found)
    }
    if not path.is_file() or path.stem not in known:
        what = "belongs to no generator of the zoo" if path.is_file() else "does not exist"
        raise UsageError(
            f"generator {text!r}: the file {what}; bench train writes {', '.join(known)}.safetensors"
            f"{near(path.stem, known)}"
        )
    with seeded(0):  # the weights of the file replace what is drawn here
        network = empty_network(*known[path.stem])
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UsageError(
            f"generator {text!r}: the weights do not fit the network: {str(error).splitlines()[0]}; train it again"
        ) from error
    return conforming(from_object(network, path.name))


def from_object(made: Any, name: str, source: dict[str, Any] | None = None) -> Generator:
    """A generator around an object, module or Python module with `decode` and perhaps `encode`; nothing is checked.

    Args:
        made: `nn.Module`s are copied, frozen and put in eval mode; so are those held by another object.
        name: what reports call it.
        source: what identifies code that no weights identify, for example the sha256 of its file.

    Raises:
        UsageError: there is no `decode`, or `latent` or `shape` are no sizes.
    """
    if isinstance(made, Generator):
        return made
    if not callable(getattr(made, "decode", None)):
        raise UsageError(
            f"generator {name!r} returned {type(made).__name__} without a method decode(z); return an object with "
            "decode(z) -> images in [0, 1], and encode(images) -> z where there is an encoder"
        )
    held = _private(made)
    encode = getattr(held, "encode", None)
    if encode is not None and not callable(encode):
        raise UsageError(f"generator {name!r}: encode is {type(encode).__name__}; a method, or nothing, is needed")
    spec = dict(source or {})
    weights = _digest(held)
    if weights:
        spec["weights"] = weights
    return Generator(
        name, _latent(held, name), _shape(held, name), held.decode, encode,
        getattr(held, "posterior", None), held if isinstance(held, nn.Module) else None, spec,
    )  # fmt: skip


def _private(made: Any) -> Any:
    if isinstance(made, ModuleType):  # its functions read its globals, so a copy would change nothing
        return made
    with torch.no_grad():
        held = copy.deepcopy(made)
    for value in [held] if isinstance(held, nn.Module) else vars(held).values() if hasattr(held, "__dict__") else []:
        if isinstance(value, nn.Module):
            frozen(value)
    return held


def _digest(held: Any) -> str:
    if isinstance(held, nn.Module):
        return state_digest(held)
    modules = {key: value for key, value in getattr(held, "__dict__", {}).items() if isinstance(value, nn.Module)}
    if not modules:
        return ""
    parts = [f"{key}:{state_digest(value)}" for key, value in sorted(modules.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _latent(held: Any, name: str) -> int:
    latent = getattr(held, "latent", 0)
    if isinstance(latent, bool) or not isinstance(latent, int) or latent < 0:
        raise UsageError(f"generator {name!r}: latent is {latent!r}; an integer of at least 1 is needed")
    return latent


def _shape(held: Any, name: str) -> tuple[int, int, int]:
    shape = getattr(held, "shape", (0, 0, 0))
    if not isinstance(shape, tuple | list) or len(shape) != 3 or not all(isinstance(v, int) and v >= 0 for v in shape):
        raise UsageError(f"generator {name!r}: shape is {shape!r}; (channels, height, width) is needed")
    return (shape[0], shape[1], shape[2])
