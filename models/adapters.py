"""Subjects from a user's own network: a function in a file or package, a torchvision name, a bare module."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import nn

from .base import Subject
from .data import ImageSet, load_data
from .functions import imported_function, make
from .naming import UsageError, near, placeless, said, value_of
from .seeds import seeded

MIXING = 1e-3
"""Share of the logits' size by which those of an image may change with the images beside it: rounding is 100 times less."""
OUTPUTS = ("logits", "probability")
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
        hint = (
            near(name, list_models())
            or f"; there are {', '.join(list_models()[:3])}, ... (torchvision.models.list_models())"
        )
        raise UsageError(f"torchvision has no model {name!r}{hint}")
    arguments = {key: value_of(value) for key, value in options.items()}
    try:
        with seeded(0), _without_pickles():
            model = get_model(name, **arguments)
    except (UnpicklingError, OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"model {text!r} cannot be built: {said(error)}; options are those of torchvision.models.{name}, such as "
            f"torchvision:{name}?weights=DEFAULT"
        ) from error
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
    plain = unwrapped(model, name)
    try:
        with torch.no_grad():  # a scripted part would otherwise be copied as the result of a computation
            model = copy.deepcopy(plain).eval().float()
    except Exception as error:
        raise UsageError(
            f"model {name!r} cannot be copied, which randomisation needs: {said(error)}; keep tensors that are computed from "
            "parameters, open files and locks out of its attributes"
        ) from error
    return checked(Subject(name, model, data, data, mean, std, output, spec=spec or {"kind": "module", "name": name}))


def unwrapped(model: nn.Module, name: str) -> nn.Module:
    """The plain network inside torch.compile and DataParallel wrappers; TorchScript, and what is no module, is refused."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name!r} is a {type(model).__name__}; give an nn.Module, or a models.Subject")
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
    _check_subject(subject)
    images = subject.data.load(range(min(8, len(subject.data))))
    logits = _answer(subject, images)
    if logits.dim() != 2 or logits.shape[0] != len(images) or logits.shape[1] < 2 or not logits.is_floating_point():
        raise UsageError(
            f"model {subject.name!r} gave an output of shape {tuple(logits.shape)} and type {logits.dtype} for {len(images)} "
            "images; (N, K) logits of a floating type with K >= 2 classes are needed"
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


def _check_subject(subject: Subject) -> None:
    """Refuse fields of a Subject that its maker filled wrongly.

    Raises:
        UsageError: which one, and what is allowed.
    """
    for field in ("data", "reference"):
        found = getattr(subject, field)
        if not hasattr(found, "load") or not len(found):
            raise UsageError(
                f"model {subject.name!r}: Subject.{field} is {type(found).__name__}; give a models.ImageSet with images, such "
                "as models.load_data('my_images/')"
            )
    if subject.output not in OUTPUTS:
        raise UsageError(
            f"model {subject.name!r}: Subject.output is {subject.output!r}; allowed are {', '.join(OUTPUTS)}"
        )
    if any(parameter.is_meta for parameter in subject.model.parameters()):
        raise UsageError(
            f"model {subject.name!r} has parameters on the meta device, which hold no numbers; load its weights first"
        )


def _answer(subject: Subject, images: torch.Tensor) -> torch.Tensor:
    """The logits of these images, from a model that may do anything.

    Raises:
        UsageError: it fails, gives something else than one tensor, or changes the images.
    """
    given = images.to(subject.device, copy=True)
    try:
        with torch.no_grad():
            made = subject.model(subject.module.normalised(given))
        if not isinstance(made, torch.Tensor):
            raise UsageError(
                f"model {subject.name!r} returned {_shape_of(made)}; one tensor of (N, K) logits is needed: let its forward, "
                "or a small nn.Module around it, return the logits alone"
            )
        if not torch.equal(given, images.to(given.device)):
            raise UsageError(
                f"model {subject.name!r} changes the images it is given in place; let its forward begin with x = x.clone(), "
                "or write x = x * 2 for x.mul_(2)"
            )
        return subject.predict_logits(images)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"model {subject.name!r} cannot take images of {subject.data.name} with shape {tuple(images.shape)} "
            f"(N, C, H, W): {said(error)}; give data of the size and channels it was made for (a model is called with one "
            "float32 tensor, and its weights are made float32)"
        ) from error


def _shape_of(made: object) -> str:
    """What something that is no tensor is, for a message."""
    if isinstance(made, dict):
        return f"a dict with {', '.join(map(repr, made)) or 'nothing in it'}"
    kind = type(made).__name__
    return f"a {kind} of {len(made)}" if isinstance(made, tuple | list) else kind


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


def from_tensor(model: nn.Module, images: torch.Tensor) -> Subject:
    """A subject around a bare module whose data are these images, given to the module as they are."""
    held = images.detach().cpu().float().numpy()
    shape = (held.shape[1], held.shape[2], held.shape[3])
    ids = [f"images/{index:05d}" for index in range(len(held))]
    data = ImageSet("images", np.zeros(len(held), np.int64), ids, ("0",), shape, lambda indices: held[list(indices)])
    return from_module(model, data, name=type(unwrapped(model, "module")).__name__)
