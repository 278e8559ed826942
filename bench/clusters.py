"""Joblib's backend for dask, mended in one place: it waits for ever for a task whose worker died."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from joblib._dask import DaskDistributedBackend


@dataclass(frozen=True)
class _Death:
    """What stands in for the result of a task that has none."""

    error: BaseException


class DaskBackend(DaskDistributedBackend):
    """Joblib's backend, which says so when a task ended without a result.

    Joblib notes the error of such a task and calls nobody (joblib 1.6.0, `DaskDistributedBackend._collect`), so that the
    call of `Parallel` never returns.
    """

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Any:
        """Submit a batch of tasks; `callback` is called in any case."""
        future = super().submit(func, callback)

        def tell(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and callback is not None:
                callback(_Death(error))

        future.add_done_callback(tell)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """The result, or the error that took its place."""
        if isinstance(out, _Death):
            raise out.error
        return super().retrieve_result_callback(out)
