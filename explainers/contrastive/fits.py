"""Where fitted explainers are kept: shipped with the package, or in a cache folder; found by what they were fitted to.

An amortised explainer belongs to one classifier. Its weights are found by the digests of that classifier, of the images
and of the options, so that a fit is never used for another network, and nothing is ever fitted while a benchmark runs.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.base import Subject, state_digest
from models.copying import private
from models.data import ImageSet, full_training_set
from models.naming import Spec, UsageError
from models.variants import NAMES

from .. import registry

if TYPE_CHECKING:
    from ..base import Explainer

SHIPPED = Path(__file__).parent / "weights"
CACHE = "SANITY_BENCH_CACHE"
OWN, DEFAULT = "own", "default"
DRAWN = "drawn instead of trained"
"""Under this name a random classifier keeps what it was drawn from, which stands for its weights."""
RECIPES = {
    "progressive-exaggeration": "exaggeration.explain",
    "ae-vae": "embedding.explain",
    "siamese-ae-vae": "embedding.pairs",
}
State = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one amortised explainer is fitted.

    Attributes:
        name: under which fits are kept; two explainers may share one.
        version: raised when a fit with the same options gives other weights.
        options: parameters of the explainer -> the JSON-able options that decide the fit.
        prepare: subject -> nothing; raises UsageError where the explainer cannot be fitted to it.
        fit: (subject, images (N, C, H, W), options, log) -> state and report.
    """

    name: str
    version: int
    options: Callable[[Mapping[str, Any]], dict[str, Any]]
    prepare: Callable[[Subject], None]
    fit: Callable[[Subject, Tensor, dict[str, Any], Callable[[str], None]], tuple[State, dict[str, Any]]]


def recipe(name: str) -> Recipe:
    """The recipe of an amortised explainer.

    Raises:
        UsageError: it is not one.

    Example:
        >>> recipe("progressive-exaggeration").name
        'progressive-exaggeration'
    """
    if name not in RECIPES:
        raise UsageError(f"{name} is not fitted beforehand; those that are: {', '.join(RECIPES)}")
    found: Recipe = importlib.import_module(f"explainers.contrastive.{RECIPES[name]}").RECIPE
    return found


def cache_folder(folder: str | Path = DEFAULT) -> Path:
    """Where fits are kept: the folder given, else the environment's SANITY_BENCH_CACHE, else ~/.cache/sanity-bench."""
    given = "" if str(folder) == DEFAULT else folder
    return Path(given or os.environ.get(CACHE, "") or Path.home() / ".cache" / "sanity-bench").expanduser()


def fit(
    explainer: Explainer, subject: Subject, images: Tensor | ImageSet | None = None, *,
    folder: str | Path = "", log: Callable[[str], None] = lambda line: None,
) -> tuple[Explainer, dict[str, Any]]:  # fmt: skip
    """Fit an amortised explainer to a classifier, or find the fit that is there already.

    Args:
        explainer: for example `explainers.get("progressive-exaggeration")`; its parameters are the options.
        subject: the classifier; it is not changed.
        images: training images, (N, C, H, W) in [0, 1] or uint8; None takes the subject's own (see `training_images`).
        folder: where the fit is kept; empty takes the cache.
        log: receives progress lines.

    Returns:
        The explainer that uses this fit (itself, or with the parameters `data` and `cache` set), and the report.

    Raises:
        UsageError: not an amortised explainer, or the classifier does not suit it.
    """
    found = recipe(explainer.info.name)
    found.prepare(subject)
    params = dict(explainer.resolved.params)
    params["data"] = OWN
    if images is None:
        shipped = _shipped(identity_of(found, subject, params, ""))
        if shipped is not None:
            return registry.get(_named(explainer, params)), shipped[1]
    pixels = training_images(subject) if images is None else _pixels(images)
    if images is not None:
        params["data"] = f"sha-{_digest_of(pixels)[:16]}"
    params["cache"] = str(folder) if folder else params["cache"]
    identity = identity_of(found, subject, params, _digest_of(pixels))
    path = path_of(identity, params["cache"])
    kept = read(path)
    if kept is None:
        state, report = found.fit(subject, pixels, identity["options"], log)
        write(path, state, identity, report)
        kept = state, report
    return registry.get(_named(explainer, params)), kept[1]


def _named(explainer: Explainer, params: Mapping[str, Any]) -> Spec:
    return Spec(explainer.resolved.name, tuple(sorted(params.items())))


def load(name: str, subject: Subject, params: Mapping[str, Any]) -> State:
    """The weights that were fitted to this classifier with these parameters.

    Args:
        name: of the explainer.
        params: its parameters; `data` and `cache` say which images and which folder.

    Raises:
        UsageError: nothing was fitted; the message says how to.
    """
    found = recipe(name)
    found.prepare(subject)
    identity = identity_of(found, subject, params, "")
    kept = _shipped(identity) if params["data"] == OWN else None
    if kept is None:
        own = params["data"] == OWN
        identity["data"] = _digest_of(training_images(subject))[:16] if own else params["data"].removeprefix("sha-")
        kept = read(path_of(identity, params["cache"]))
    if kept is None:
        spec = registry.display(Spec(name, tuple(sorted(params.items()))))
        raise UsageError(
            f"{spec} has not been fitted to {subject.name} (weights {subject.weights_digest[:12]}); run "
            f"bench train '{spec}' --model {subject.name}, or explainers.get({spec!r}).fit(subject); fits are looked "
            f"for in {cache_folder(params['cache'])}"
        )
    return kept[0]


def identity_of(found: Recipe, subject: Subject, params: Mapping[str, Any], data: str) -> dict[str, Any]:
    """What decides a fit, JSON-able: recipe and version, options, the classifier's weights and pre-processing, images."""
    return {
        "recipe": found.name, "version": found.version, "options": found.options(params),
        "subject": subject.kept(DRAWN, dict) or subject_identity(subject), "data": data[:16],
    }  # fmt: skip


def subject_identity(subject: Subject) -> dict[str, Any]:
    """What decides a fit about a classifier: its weights and what happens to images before them, JSON-able."""
    return {
        "weights": _weights_of(subject), "mean": list(subject.mean), "std": list(subject.std), "output": subject.output,
    }  # fmt: skip


def _weights_of(subject: Subject) -> str:
    """Digest of the weights in 32 bits, so that a subject run in another floating type finds the same fit."""
    if all(each.dtype == torch.float32 for each in subject.model.parameters()):
        return subject.weights_digest
    return state_digest(private(subject.model).float())


def training_images(subject: Subject) -> Tensor:
    """The training images of a subject, (N, C, H, W).

    Where its reference images are the embedded part of Fashion-MNIST's training images, or a variant of them, and all
    60,000 are on this machine, those are taken.
    """
    name, _, part = subject.reference.name.partition("/")
    make = {"fashion-mnist": lambda data: data, **NAMES}.get(name)
    full = full_training_set() if part == "train" and make is not None else None
    return _pixels(subject.reference if full is None or make is None else make(full))


def path_of(identity: Mapping[str, Any], folder: str | Path = DEFAULT) -> Path:
    """File of a fit in the cache."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder(folder) / f"{identity['recipe']}-{key[:24]}.safetensors"


def write(path: Path, state: State, identity: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """Write a fit in 16-bit floats, whole or not at all; identity and report go into the file's header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
    header = {"identity": json.dumps(identity, sort_keys=True), "report": json.dumps(report, sort_keys=True)}
    save_file({key: value.detach().half().contiguous() for key, value in state.items()}, part, header)
    os.replace(part, path)


def read(path: Path) -> tuple[State, dict[str, Any]] | None:
    """State (float32) and report of a fit, None where the file does not exist.

    Raises:
        UsageError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            report = json.loads((file.metadata() or {}).get("report", "{}"))
            if not isinstance(report, dict):
                raise ValueError("its report is no object")
            return {key: file.get_tensor(key).float() for key in file.keys()}, report  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} is damaged ({error}); remove it and fit again") from error


def _shipped(identity: Mapping[str, Any]) -> tuple[State, dict[str, Any]] | None:
    manifest = SHIPPED / "manifest.json"
    if not manifest.is_file():
        return None
    wanted = {key: value for key, value in identity.items() if key != "data"}
    for name, entry in json.loads(manifest.read_text()).items():
        if entry["identity"] == wanted:
            path = SHIPPED / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                raise UsageError(f"the shipped weights {path} are missing or were changed; install the package again")
            return read(path)
    return None


def ship(path: Path, name: str) -> dict[str, Any]:
    """Copy a fit into the package with its entry of the manifest (used when the shipped weights are made)."""
    manifest = SHIPPED / "manifest.json"
    known = json.loads(manifest.read_text()) if manifest.is_file() else {}
    with safe_open(path, "pt") as file:
        header = {key: json.loads(value) for key, value in file.metadata().items()}
    SHIPPED.mkdir(exist_ok=True)
    (SHIPPED / name).write_bytes(path.read_bytes())
    identity = {key: value for key, value in header["identity"].items() if key != "data"}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known[name] = {"sha256": digest, "identity": identity, "report": header["report"]}
    manifest.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    entry: dict[str, Any] = known[name]
    return entry


def _pixels(images: Tensor | ImageSet) -> Tensor:
    return images if isinstance(images, Tensor) else torch.from_numpy(images.read(range(len(images))))


def _digest_of(pixels: Tensor) -> str:
    values = pixels if pixels.dtype == torch.uint8 else (pixels.float() * 255).round().clamp(0, 255).to(torch.uint8)
    total = hashlib.sha256(str(tuple(values.shape)).encode())
    total.update(values.contiguous().numpy().tobytes())
    return total.hexdigest()
