"""The subjects of a process: loaded by name once, placed on a device, and described for a plan."""

from __future__ import annotations

import copy
import json
import signal
import threading
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.naming import UsageError
from reports.files import RunFolderError

from . import devices, plugins
from .plan import blocks
from .traits import WORDS

if TYPE_CHECKING:
    from models.base import Subject

READ = 128
"""Images of one's own that are read before a run is planned."""
_subjects: dict[tuple[str, str | None, str, str], Subject] = {}
_loading = threading.Lock()


def subject_of(model: str, data: str | None, device: str, precision: str) -> Subject:
    """The subject, loaded once per process and placed on a device.

    Raises:
        UsageError: unknown or unusable model or data.
    """
    import models

    place = (model, data, device, precision)
    with _loading:
        found = _subjects.get(place)
        if found is None:
            _subjects.clear()
            subject = models.load(plugins.model_names().get(model, model), data=data)
            found = _subjects[place] = placed(subject, device, precision)
            devices.warm_up(found)
    return found


def explained(model: str, data: str | None = None) -> Subject:
    """The subject of a model, or of an embedding of the zoo such as `fmnist-siamese`, which has vectors and no classes.

    Suites compare answers about classes and take no embeddings; pictures and fits do.

    Args:
        model: as `--model` takes it.
        data: as `--data` takes it; None for the model's own.

    Raises:
        UsageError: unknown or unusable model or data.
    """
    import models

    if model.partition("[")[0] not in {card.name for card in models.names("embedding")}:
        return subject_of(model, data, "cpu", "float32")
    from explainers.contrastive.embedding.vectors import subject_of as subject_of_vectors

    found = subject_of_vectors(models.load_embedding(model))
    return found if data is None else replace(found, data=models.load_data(data))


def placed(subject: Subject, device: str, precision: str) -> Subject:
    """The subject on a device, explained in a floating type; the weights that are randomised stay float32."""
    import torch

    if device == "cpu" and precision == "float32":
        return subject
    dtype: torch.dtype = getattr(torch, precision)
    return replace(subject, model=copy.deepcopy(subject.model).to(device), dtype=dtype)


def forget() -> None:
    """Load subjects anew from now on, because the one at hand was changed."""
    _subjects.clear()


def describe(request_text: str) -> str:
    """What a plan needs to know about the models and this machine.

    Args:
        request_text: JSON with `models` (name to pairs of a number of images and the size of a block), `data`, `base`,
            `plugins`, `device`, `given` (explainers with parameters of the user's), `own_process`.

    Returns:
        JSON with `subjects` and `devices`; or `usage` and `traceback`, for the user: also where an explainer refuses its
        parameters on every model.
    """
    request = json.loads(request_text)
    try:
        if request["own_process"] and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        plugins.load(request["plugins"])
        found = devices.available(request["device"])
        described, objections = [], []
        for model, needed in request["models"].items():
            described.append(_subject_facts(model, needed, request))
            objections.append(_objections(model, request))
        for name, said in zip(request.get("given", ()), zip(*objections, strict=True), strict=True):
            if all(said):
                raise UsageError(f"{name}: {said[0].removeprefix(name.partition('[')[0] + ': ')}")
        return json.dumps({"devices": found, "subjects": described})
    except (UsageError, RunFolderError) as error:
        return json.dumps({"usage": str(error), "traceback": traceback.format_exc()})


def _objections(model: str, request: dict[str, Any]) -> list[str]:
    """What each explainer with parameters of the user's has against them on a model; empty texts where nothing."""
    given = request.get("given", ())
    if not given:
        return []
    import explainers
    from explainers.asking import objection

    subject = subject_of(model, request["data"], "cpu", "float32")
    return [objection(explainers.get(name), subject) for name in given]


def _subject_facts(model: str, needed: list[tuple[int, int]], request: dict[str, Any]) -> dict[str, Any]:
    subject = subject_of(model, request["data"], "cpu", "float32")
    if request["data"]:
        # Statistics of batch norms and mean baselines read images that are not explained: a damaged one is found now.
        for images in (subject.data, subject.reference):
            images.read(list(range(min(READ, len(images)))))
    indices = subject.select(max(count for count, _ in needed), request["base"])
    spans = sorted({span for count, size in needed for span in blocks(count, size)})
    truth = getattr(subject.data, "truth", None)
    kind = WORDS if getattr(subject.data, "content", "") == WORDS else ""
    return {
        "text": model,
        "data": request["data"],
        "name": subject.name,
        "identity": subject.identity(),
        "indices": indices,
        "ids": [str(subject.data.ids[index]) for index in indices],
        "digests": {f"{start}:{stop}": subject.data.digest(indices[start:stop]) for start, stop in spans},
        "stages": [stage.name for stage in subject.stages],
        "pixels": int(subject.data.shape[-1] * subject.data.shape[-2]),
        "truth": kind if truth is None else str(truth.kind),
    }
