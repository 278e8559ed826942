"""The configuration of `run` and `plan`: command line over TOML file over profile, checked once, then frozen."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from models.naming import UsageError, near

from . import features, memory, protocols, suites
from .backends import BACKENDS, CLUSTERS
from .cell import digest
from .devices import check_device
from .protocols import Protocol

PRECISIONS = ("float32", "bfloat16", "float64")

# What shapes the results: these name the default run folder. Everything else may differ between two runs of one folder.
SHAPING = (
    "suite",
    "model",
    "data",
    "explainers",
    "images",
    "seeds",
    "protocol",
    "profile",
    "precision",
    "plugin",
    "seed",
)


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    Attributes:
        suite: suites to run, at least one.
        model: models to test; empty = those of each suite.
        data: data set, folder or .npz; None = the model's own test images.
        explainers: comma list of names, globs, combinators, parameters; None = the suite's own list.
        images: number of images, >= 1; None = as the profile says.
        seeds: number of seeds, >= 1; None = as the profile says.
        protocol: named protocol of measures and verdicts.
        profile: `quick`, `standard` or `full`.
        device: `auto`, `cpu`, `cuda`, or a comma list such as `cuda:0,cuda:1`.
        precision: numerics of the models, `float32`, `bfloat16` or `float64`.
        batch_size: images per pass, >= 1; None = chosen per explainer. Never part of a result's identity.
        memory: what explanations may use, all workers of a device together, such as `2GB`; None = half of what is free.
            Never part of a result's identity.
        keep_maps: keep the compared maps of cells computed now, at most so much of them, such as `200MB`; None = none.
        jobs: worker processes, >= 1; None = one per core, or one per GPU.
        slots: worker processes per GPU, >= 1, where `jobs` does not say how many there are.
        timeout: seconds that an explainer may take for one cell, > 0; None = no limit.
        backend: joblib backend.
        scheduler: address of a scheduler for the backends that have one.
        part: `I/N`, run only this part of the shards (1-based).
        out: run folder; None = named after the configuration, below `runs/`.
        plugin: files or modules with explainers, models or checks.
        features: where the features of Frechet and kernel distances come from: `oracle`, `inception` or `FILE:function`.
        seed: base seed of every random draw, >= 0.
        fail_fast: stop at the first failed cell.
        quiet: print the verdict table only.
        verbose: print tracebacks.
    """

    suite: tuple[str, ...]
    model: tuple[str, ...] = ()
    data: str | None = None
    explainers: str | None = None
    images: int | None = None
    seeds: int | None = None
    protocol: str = "recommended"
    profile: str = "quick"
    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    memory: str | None = None
    keep_maps: str | None = None
    jobs: int | None = None
    slots: int = 1
    timeout: float | None = None
    backend: str = "loky"
    scheduler: str | None = None
    part: str | None = None
    out: str | None = None
    plugin: tuple[str, ...] = ()
    features: str = features.ORACLE
    seed: int = 0
    fail_fast: bool = False
    quiet: bool = False
    verbose: bool = False

    def models_of(self, suite: suites.Suite) -> tuple[str, ...]:
        """The models that a suite runs on: those given, else its own."""
        return self.model or suite.models

    @property
    def models(self) -> tuple[str, ...]:
        """All models of the run, each once."""
        return tuple(dict.fromkeys(model for part in self.parts for model in self.models_of(part)))

    @property
    def parts(self) -> tuple[suites.Suite, ...]:
        """The suites of the run, those of papers in their parts."""
        return tuple(part.within(self.profile) for name in self.suite for part in suites.get(name).runs)

    def size(self, suite: suites.Suite) -> suites.Size:
        """Images and seeds of a suite: what was given, else what the profile says."""
        return suite.sizes[self.profile].given(self.images, self.seeds)

    def declared(self) -> Protocol:
        """The protocol with what the suites change in it.

        Raises:
            UsageError: unknown protocol, or suites that cannot share a run folder because they change it differently.
        """
        choices = [dict(suites.get(name).choices) for name in self.suite]
        if any(other != choices[0] for other in choices):
            raise UsageError(f"the suites {', '.join(self.suite)} need protocols of their own; run them one at a time")
        return protocols.get(self.protocol).with_(**choices[0], features=features.reachable(self.features))

    def folder(self) -> Path:
        """The run folder; the default names the configuration, so that the same command finds it again.

        Example:
            >>> Config(("smoke",)).folder().as_posix().startswith("runs/smoke-fmnist-vgg-")
            True
        """
        if self.out is not None:
            return Path(self.out)
        shaping = {name: getattr(self, name) for name in SHAPING} | {"model": self.models}
        if self.features != features.ORACLE:
            shaping["features"] = features.identity(self.features)
        models = "+".join(re.sub(r"[^A-Za-z0-9.=]+", "-", Path(name).name).strip("-") for name in self.models)
        return Path("runs") / f"{'+'.join(self.suite)}-{models[:60]}-{digest(shaping)[:8]}"

    def slice(self) -> tuple[int, int]:
        """The part of the shards to run as (index from 0, number of parts)."""
        if self.part is None:
            return 0, 1
        index, _, count = self.part.partition("/")
        return int(index) - 1, int(count)

    def record(self) -> dict[str, Any]:
        """The configuration as it stands in `config.json`, with the sizes of every suite resolved."""
        sizes = {part.name: self.size(part).record() for part in self.parts}
        return {**asdict(self), "model": self.models, "out": str(self.folder()), "sizes": sizes}


_LISTS = ("suite", "model", "plugin")
_FLAGS = ("fail_fast", "quiet", "verbose")
_COUNTS = {"images": 1, "seeds": 1, "batch_size": 1, "jobs": 1, "slots": 1, "seed": 0}
KEYS = tuple(field.name for field in fields(Config))


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def resolve(options: Mapping[str, Any], file: str | Path | None = None) -> Config:
    """Check options and complete them from a TOML file with the same keys; the options win.

    Args:
        options: values by key; None means not given. Lists may be given as one string.
        file: TOML file, dashes or underscores in its keys.

    Raises:
        UsageError: an unknown key or name, a value that is not allowed, an unreadable file.

    Example:
        >>> resolve({"suite": "smoke", "images": 2}).images
        2
    """
    values: dict[str, Any] = {} if file is None else read_toml(file)
    values.update({key: value for key, value in options.items() if value is not None and value != () and value != []})
    checked = {key: _checked(key, value) for key, value in values.items()}
    if not checked.get("suite"):
        raise UsageError(f"no suite was given; write --suite with one of {', '.join(suites.names())}")
    checked["suite"] = suites.expand(checked["suite"])
    checked |= _with_named_checks(checked)
    for name in checked["suite"]:
        checked.setdefault("protocol", suites.get(name).protocol)
    config = Config(**checked)
    _check_names(config)
    return config


def _with_named_checks(checked: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-ins, loaded where a suite may come from them; naming the suite of an installed check names its package."""
    from . import plugins

    unknown = [name for name in checked["suite"] if name not in suites.names()]
    if not unknown:
        return {}
    installed = plugins.check_names()
    given = tuple(dict.fromkeys([*checked.get("plugin", ()), *(name for name in unknown if name in installed)]))
    broken = [f"{plugin.name} ({plugin.error})" for plugin in plugins.load(given) if plugin.error]
    missing = [name for name in unknown if name not in suites.names()]
    if missing and broken:
        raise UsageError(f"unknown suite {missing[0]!r}; these plug-ins do not import: {', '.join(broken)}")
    return {"plugin": given} if given else {}


def read_toml(file: str | Path) -> dict[str, Any]:
    """The options in a TOML file, by key with underscores.

    Raises:
        UsageError: the file cannot be read or is not TOML.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {file}: cannot be read ({error}); give an existing TOML file") from error
    try:
        return {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"--config {file}: is not TOML ({error}); write lines such as suite = ['randomization']"
        ) from error


def _checked(key: str, value: Any) -> Any:
    if key not in KEYS:
        shown = [name.replace("_", "-") for name in KEYS]
        raise UsageError(
            f"unknown option {key.replace('_', '-')!r}; allowed are {', '.join(shown)}{near(key.replace('_', '-'), shown)}"
        )
    option = "--" + key.replace("_", "-")
    if key in _LISTS:
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(item, str | Path) for item in items):
            raise UsageError(
                f"{option} {type(value).__name__}: give a text or a list of texts; processes of their own load models by name, "
                "so give one as file.py:function"
                if key == "model"
                else f"{option} {value!r}: give a text or a list of texts"
            )
        return tuple(dict.fromkeys(str(item) for item in items))
    if key == "explainers" and isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise UsageError(f"{option} {value!r}: give true or false")
        return value
    if key in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < _COUNTS[key]:
            raise UsageError(f"{option} {value!r}: give a whole number, at least {_COUNTS[key]}")
        return value
    if key == "timeout":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise UsageError(f"{option} {value!r}: give a number of seconds above 0")
        return float(value)
    if not isinstance(value, str | Path) or not str(value).strip():
        raise UsageError(f"{option} {value!r}: give a text that is not empty")
    return str(value)


def _check_names(config: Config) -> None:
    for name in config.suite:
        given = [option for option in ("model", "data", "explainers") if getattr(config, option)]
        if suites.get(name).paper is not None and given:
            raise UsageError(
                f"--{given[0]} {getattr(config, given[0])!r}: the suite {name!r} repeats the experiments of a paper, whose "
                "models, images and explainers are fixed; leave it out, or run another suite on them"
            )
    features.check(config.features)
    config.declared()
    _one_of("--profile", config.profile, suites.PROFILES)
    _one_of("--precision", config.precision, PRECISIONS)
    _one_of("--backend", config.backend, BACKENDS)
    if config.scheduler is not None and config.backend not in CLUSTERS:
        raise UsageError(
            f"--scheduler {config.scheduler!r}: the backend {config.backend!r} has no scheduler; leave it out, or give "
            f"--backend {' or '.join(CLUSTERS)}"
        )
    if config.timeout is not None and config.backend == "threading" and config.jobs != 1:
        raise UsageError(
            "--timeout needs processes, since a thread that hangs cannot be ended; leave --backend threading out"
        )
    check_device(config.device)
    if config.memory is not None:
        memory.size(config.memory)
    if config.keep_maps is not None:
        memory.size(config.keep_maps, "--keep-maps")
    if config.part is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", config.part)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--part {config.part!r}: write I/N with 1 <= I <= N, for example 1/2")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{option} {value!r}: allowed are {', '.join(allowed)}{near(value, allowed)}")
