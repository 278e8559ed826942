"""Where shards run in parallel: the backends of joblib, and what each needs to be started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from models.naming import UsageError

BACKENDS = ("loky", "threading", "dask", "ray")
CLUSTERS = ("dask", "ray")
"""Backends whose workers may live on other machines, and that `--scheduler` is for."""
WAIT = 60
"""Seconds to wait for the first worker of a cluster."""


class WorkerDied(Exception):
    """A worker process died; what it had not finished is lost."""


class Backend:
    """One backend, started when it is first used and stopped at the end of the run.

    Args:
        name: one of `BACKENDS`.
        jobs: number of workers.
        scheduler: address of a running cluster; None starts one here.
    """

    def __init__(self, name: str, jobs: int, scheduler: str | None = None) -> None:
        self.name, self.jobs, self.scheduler = name, jobs, scheduler
        self._held = ExitStack()
        self._options: dict[str, Any] | None = None

    @property
    def return_as(self) -> str:
        """How results come back. Ray's pool hands them out at the end only; the records are on the disk before."""
        return "list" if self.name == "ray" else "generator_unordered"

    def options(self) -> dict[str, Any]:
        """What `joblib.parallel_config` is given.

        Raises:
            UsageError: the backend is not installed, or there is no cluster at the address.
        """
        if self._options is None:
            start = {"dask": self._dask, "ray": self._ray}.get(self.name)
            self._options = {"backend": self.name, **(start() if start else {})}
            if self.name == "loky":
                self._options["inner_max_num_threads"] = 1
        return self._options

    @contextmanager
    def deaths(self) -> Iterator[None]:
        """Turn the many ways in which backends say that a worker died into `WorkerDied`."""
        try:
            yield
        except self._deadly() as error:
            raise WorkerDied(str(error).splitlines()[0] if str(error) else type(error).__name__) from error

    def stop(self) -> None:
        """End the workers at once, where this run has started them."""
        if self.name == "loky":
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)
        self._held.close()
        self._options = None

    def _deadly(self) -> tuple[type[BaseException], ...]:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        found: list[type[BaseException]] = [BrokenProcessPool]
        if self.name == "dask" and "distributed" in sys.modules:
            from distributed.client import FutureCancelledError
            from distributed.scheduler import KilledWorker

            found += [KilledWorker, FutureCancelledError]
        if self.name == "ray" and "ray" in sys.modules:
            from ray.exceptions import RayError

            found.append(RayError)
        return tuple(found)

    def _dask(self) -> dict[str, Any]:
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise _absent("dask", error) from error
        if self.scheduler is None:
            # A shard that ends its worker must not be tried on every other worker first.
            self._held.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = self._held.enter_context(
                LocalCluster(
                    n_workers=self.jobs, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
                )
            )
            client = self._held.enter_context(Client(cluster, set_as_default=False))
        else:
            try:
                client = self._held.enter_context(Client(self.scheduler, set_as_default=False, timeout=WAIT))
            except (OSError, ValueError, TypeError) as error:
                raise _unreachable(self.scheduler, "tcp://host:8786", error) from error
        from .clusters import DaskBackend

        return {"backend": DaskBackend(client=client, wait_for_workers_timeout=WAIT)}

    def _ray(self) -> dict[str, Any]:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise _absent("ray", error) from error
        if not ray.is_initialized():
            # Workers find this package where this process found it.
            paths = os.pathsep.join(path for path in (os.getcwd(), *sys.path) if path)
            options: dict[str, Any] = {"address": self.scheduler} if self.scheduler else {"num_cpus": self.jobs}
            if self.scheduler is None:
                options |= {"include_dashboard": False, "runtime_env": {"env_vars": {"PYTHONPATH": paths}}}
            try:
                ray.init(log_to_driver=False, logging_level="error", **options)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise _unreachable(self.scheduler or "here", "ray://host:10001 or host:6379", error) from error
            self._held.callback(ray.shutdown)
        register_ray()
        return {}


def _absent(name: str, error: ImportError) -> UsageError:
    return UsageError(
        f"--backend {name} needs a package that is not here ({error}); pip install 'sanity-bench[{name}]'"
    )


def _unreachable(address: str, example: str, error: Exception) -> UsageError:
    return UsageError(f"--scheduler {address!r}: no cluster answers ({error}); give an address such as {example}")
