"""Where results come from: package versions, source, hardware, numerics, digests of what was used."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .cell import digest
from .config import cores

DISTRIBUTION = "sanity-bench"
PACKAGES = (
    "torch",
    "torchvision",
    "captum",
    "numpy",
    "scipy",
    "scikit-image",
    "pandas",
    "pyarrow",
    "joblib",
    "safetensors",
)


def collect(
    *, device: str, precision: str, subjects: dict[str, Any], plugins: list[dict[str, str]]
) -> tuple[str, dict[str, Any]]:
    """The provenance of the records that one process writes.

    Equal surroundings give equal records, so that the workers of one machine share one file.

    Args:
        device: where this process computes, for example `cpu`.
        precision: numerics of the models.
        subjects: identity of each subject by name, with the digests of weights and data.
        plugins: name and origin of each loaded plug-in.

    Returns:
        Its id (16 hex digits) and the record, JSON-able.
    """
    record: dict[str, Any] = {
        "packages": {DISTRIBUTION: _version(DISTRIBUTION), **{name: _version(name) for name in PACKAGES}},
        "python": platform.python_version(),
        "command": sys.argv,
        "source": _source(Path.cwd()),
        "hardware": hardware(),
        "numerics": {"dtype": precision, "device": device, **_torch_numerics(device)},
        "subjects": subjects,
        "plugins": plugins,
    }
    return digest({**record, "command": None})[:16], record


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the repository that a folder lies in, or None outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": bool(status) if status is not None else None}


@cache
def _source(folder: Path) -> dict[str, Any] | None:
    """What `git_state` says, asked once per process: a worker computes many shards, with the code that it began with."""
    return git_state(folder)


def hardware() -> dict[str, Any]:
    """Machine, processor, cores that may be used, memory in bytes."""
    memory = None
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "memory": memory,
    }


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _torch_numerics(device: str) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "blas": _blas(torch.__config__.show()),
    }
    if device.startswith("cuda"):
        found |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
            "benchmark": torch.backends.cudnn.benchmark,
        }
    return found


def _blas(built: str) -> str | None:
    """The library that multiplies matrices, as torch's build says; others add in another order."""
    match = re.search(r"BLAS_INFO=(\w+)", built)
    return match[1] if match else None


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
