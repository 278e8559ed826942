"""Subjects from a user's own network: a function in a file or package, a torchvision name, a bare module."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import nn

from .base import Subject
from .data import ImageSet, load_data
from .naming import UsageError, near, placeless, value_of
from .seeds import seeded

MIXING = 1e-3
"""Share of the logits' size by which those of an image may change with the images beside it: rounding is 100 times less."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def from_function(text: str, data: ImageSet | None) -> Subject:
    """The subject or module that `path/to/file.py:function` or `package.module:function` returns.

    Raises:
        UsageError: the file does not import, has no such function, or the function gives neither module nor Subject.
    """
    made = make(imported_function(text), text)
    if isinstance(made, Subject):
        made.model.eval().float()
        return checked(made if data is None else _with_data(made, data))
    if not isinstance(made, nn.Module):
        raise UsageError(f"model {text!r} returned {type(made).__name__}; return an nn.Module or a models.Subject")
    name = placeless(text)
    return from_module(made, data, name=name, spec={"kind": "function", "name": name})


def from_torchvision(text: str, data: ImageSet | None) -> Subject:
    """A torchvision classifier, for example `torchvision:resnet18?weights=DEFAULT`.

    Without weights the parameters are random, drawn with seed 0.
    """
    from torchvision.models import get_model, list_models

    name, _, query = text.removeprefix("torchvision:").partition("?")
    options = dict(item.partition("=")[::2] for item in query.split("&") if item)
    if name not in list_models():
        raise UsageError(f"torchvision has no model {name!r}{near(name, list_models())}")
    arguments = {key: value_of(value) for key, value in options.items()}
    try:
        with seeded(0), _without_pickles():
            model = get_model(name, **arguments)
    except (UnpicklingError, OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"model {text!r} cannot be built: {error}") from error
    return from_module(
        model, data, name=text, mean=IMAGENET_MEAN, std=IMAGENET_STD, spec={"kind": "torchvision", "name": text}
    )


@contextmanager
def _without_pickles() -> Iterator[None]:
    """Read checkpoints as weights only: torchvision asks torch.hub for them, which would unpickle whatever they hold."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def from_module(
    model: nn.Module,
    data: ImageSet | None,
    *,
    name: str,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    output: str = "logits",
    spec: dict[str, Any] | None = None,
) -> Subject:
    """A subject around a module that takes images in [0, 1] (after `mean` and `std`) and gives logits; in float32.

    Raises:
        UsageError: no images, no Conv or Linear layer, wrong output shape, NaN, probabilities instead of logits.
    """
    if data is None:
        data = load_data("fashion-mnist")
    with torch.no_grad():  # a scripted part would otherwise be copied as the result of a computation
        model = copy.deepcopy(unwrapped(model, name)).eval().float()
    return checked(Subject(name, model, data, data, mean, std, output, spec=spec or {"kind": "module", "name": name}))


def unwrapped(model: nn.Module, name: str) -> nn.Module:
    """The plain network inside torch.compile and DataParallel wrappers; TorchScript is refused."""
    while True:
        if isinstance(model, torch.jit.ScriptModule):
            raise UsageError(
                f"model {name!r} is TorchScript, whose operations cannot be seen; give the nn.Module it was made from"
            )
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def checked(subject: Subject) -> Subject:
    """The subject, after one forward pass has shown that it can be questioned.

    Raises:
        UsageError: what is wrong with it and how to mend that.
    """
    if next(subject.model.parameters(), None) is None:
        raise UsageError(
            f"model {subject.name!r} has no parameters; give a network with at least one nn.Conv or nn.Linear"
        )
    images = subject.data.load(range(min(8, len(subject.data))))
    try:
        logits = subject.predict_logits(images)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"model {subject.name!r} cannot take images of {subject.data.name} with shape {tuple(images.shape)} "
            f"(N, C, H, W): {str(error).splitlines()[0]}; give data of the size and channels it was made for"
        ) from error
    if logits.dim() != 2 or logits.shape[0] != len(images) or logits.shape[1] < 2:
        raise UsageError(
            f"model {subject.name!r} gave an output of shape {tuple(logits.shape)} for {len(images)} images; "
            "(N, K) logits with K >= 2 classes are needed"
        )
    if not torch.isfinite(logits).all():
        raise UsageError(f"model {subject.name!r} gives NaN or infinite logits; check its weights and preprocessing")
    if (
        subject.output == "logits"
        and bool((logits >= 0).all())
        and torch.allclose(logits.sum(1), torch.ones(len(images)), atol=1e-4)
    ):
        raise UsageError(
            f"model {subject.name!r} ends in softmax (outputs are >= 0 and sum to 1); remove it so that logits come out, "
            "or return models.Subject(..., output='probability')"
        )
    _refuse_mixing(subject, images)
    if int(subject.data.labels.max()) >= logits.shape[1]:
        raise UsageError(
            f"model {subject.name!r} has {logits.shape[1]} classes and the labels of {subject.data.name} reach "
            f"{int(subject.data.labels.max())}; give data with labels below {logits.shape[1]}"
        )
    _ = subject.stages
    return subject


def _refuse_mixing(subject: Subject, images: torch.Tensor) -> None:
    """Refuse a model that says something else of an image when other images stand beside it.

    Raises:
        UsageError: it mixes the images of a batch, or gives other logits at every call.
    """
    beside = images if len(images) > 1 else torch.cat([images, images.flip(-1) if _words(subject) else 1 - images])
    together = subject.predict_logits(beside)
    size = float((together - together.mean(1, keepdim=True)).abs().max())
    gap = float((subject.predict_logits(beside[:1]) - together[:1]).abs().max())
    if gap <= MIXING * size:
        return
    if float((subject.predict_logits(beside) - together).abs().max()) > MIXING * size:
        raise UsageError(
            f"model {subject.name!r} gives other logits for the same images when it is called again; switch its randomness "
            "off in eval mode (F.dropout needs training=self.training)"
        )
    raise UsageError(
        f"model {subject.name!r} mixes the images of a batch: its logits of an image alone and beside {len(beside) - 1} others "
        f"differ by {gap:.2g}; no image may enter the logits of another one (an operation over axis 0, or batch statistics in "
        "eval mode)"
    )


def _words(subject: Subject) -> bool:
    return subject.data.content == "words"


def _with_data(subject: Subject, data: ImageSet) -> Subject:
    return replace(subject, data=data, reference=data)


def imported_function(text: str, kind: str = "model") -> Callable[[], Any]:
    """The function that `path/to/file.py:function` or `package.module:function` names.

    Raises:
        UsageError: the file does not import or has no such function; `kind` is what the message calls it.
    """
    place, _, name = text.rpartition(":")
    module = _import(place, text, kind)
    function = getattr(module, name, None)
    if not callable(function):
        allowed = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{kind} {text!r}: {place} has no function {name!r}; it has {', '.join(allowed)}{near(name, allowed)}"
        )
    return function  # type: ignore[no-any-return]


def _import(place: str, text: str, kind: str = "model") -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).resolve()
        if not path.is_file():
            raise UsageError(f"{kind} {text!r}: the file {path} does not exist")
        name = f"sanity_bench_user_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{kind} {text!r}: {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{kind} {text!r}: {place} does not import: {type(error).__name__}: {error}") from error


def make(function: Callable[[], Any], text: str, kind: str = "model") -> Any:
    """What a user's function returns, called with torch's global generator seeded.

    Raises:
        UsageError: the function fails.
    """
    try:
        with seeded(0):
            return function()
    except Exception as error:
        hint = ""
        if "weights_only" in str(error) or "Unpickling" in type(error).__name__:
            hint = "; weights must be safetensors or load with torch.load(weights_only=True), pickles are refused"
        raise UsageError(
            f"{kind} {text!r} failed when called: {type(error).__name__}: {str(error).splitlines()[0]}{hint}"
        ) from error


def from_tensor(model: nn.Module, images: torch.Tensor) -> Subject:
    """A subject around a bare module whose data are these images, given to the module as they are."""
    held = images.detach().cpu().float().numpy()
    shape = (held.shape[1], held.shape[2], held.shape[3])
    ids = [f"images/{index:05d}" for index in range(len(held))]
    data = ImageSet("images", np.zeros(len(held), np.int64), ids, ("0",), shape, lambda indices: held[list(indices)])
    return from_module(model, data, name=type(unwrapped(model, "module")).__name__)
