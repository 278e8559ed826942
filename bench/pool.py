"""Worker processes: shards in parallel, and what happens when a worker dies."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from models.naming import UsageError
from reports.store import Store

from . import worker
from .plan import Plan, Shard

CRASHED = "WorkerDied"
SILENT_CRASHES = 3
"""So many times may a worker die before it has begun a shard, until the run gives up."""

Listener = Callable[[worker.Status], None]


class Pool:
    """Runs functions on texts, in this process or in others.

    Args:
        jobs: number of processes; 1 means this process.
        backend: joblib backend.
    """

    def __init__(self, jobs: int, backend: str = "loky") -> None:
        self.jobs = jobs
        self.backend = backend

    @property
    def own_processes(self) -> bool:
        """Whether work happens in processes of its own."""
        return self.jobs > 1 and self.backend == "loky"

    def map(self, function: Callable[..., str], arguments: Iterable[tuple[str, ...]]) -> Iterator[str]:
        """The results, in the order in which they finish.

        Raises:
            BrokenProcessPool: a worker process died; what the others had not finished is lost.
        """
        if self.jobs == 1:
            for given in arguments:
                yield function(*given)
            return
        options: dict[str, Any] = {"inner_max_num_threads": 1} if self.own_processes else {}
        with joblib.parallel_config(backend=self.backend, **options):
            work = joblib.Parallel(n_jobs=self.jobs, return_as="generator_unordered", batch_size=1)
            yield from work(joblib.delayed(function)(*given) for given in arguments)

    def stop(self) -> None:
        """End the worker processes at once; finished cells are in the store."""
        if self.own_processes:
            get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)


def compute(plan: Plan, context: worker.Context, pool: Pool, store: Store, listen: Listener) -> None:
    """Compute what is missing of a plan; go on after workers that died.

    The shards that were running when a worker died are run again, each alone in a process, so that it is known which
    one brings a process down; such a shard is then run explainer by explainer, and only the cells of the guilty
    explainer are recorded as failed.

    Args:
        plan: all cells.
        context: what the shards have in common.
        pool: where to compute.
        store: the run folder.
        listen: called with the status of each shard, in this process.

    Raises:
        UsageError: the run folder cannot be written, a model cannot be loaded, or workers die before they begin.
    """
    failed: set[str] = set()
    silent = 0

    def take(text: str) -> worker.Status:
        status = worker.Status(**json.loads(text))
        failed.update(status.failed)
        listen(status)
        if status.usage:
            raise UsageError(status.usage)
        return status

    while True:
        shards = plan.shards(task for task in plan.missing(store.done()) if task.cell.key not in failed)
        if not shards:
            return
        clear_claims(store.path)
        try:
            for text in pool.map(
                worker.run_shard, ((context.to_json(), shard.to_json()) for shard in shards)
            ):
                if take(text).failed and context.fail_fast:
                    pool.stop()
                    return
        except BrokenProcessPool as error:
            running = claims(store.path)
            suspects = [shard for shard in shards if shard.id in running]
            silent = 0 if suspects else silent + 1
            if silent >= SILENT_CRASHES:
                raise UsageError(
                    f"worker processes die before they begin to work ({error}); try --jobs 1 --verbose"
                ) from error
            for shard in suspects:
                _alone(shard, context, store, take)
        else:
            # Whatever has neither records nor a failure now will not get them by asking again.
            done = store.done()
            failed.update(cell["key"] for shard in shards for cell in shard.cells if cell["key"] not in done)


def _alone(shard: Shard, context: worker.Context, store: Store, take: Callable[[str], worker.Status]) -> None:
    if _survives(shard, context, take):
        return
    for piece in shard.by_explainer():
        if not _survives(piece, context, take):
            take(json.dumps(_record_crash(piece, store)))


def _survives(shard: Shard, context: worker.Context, take: Callable[[str], worker.Status]) -> bool:
    with ProcessPoolExecutor(max_workers=1) as executor:
        try:
            text = executor.submit(worker.run_shard, context.to_json(), shard.to_json()).result()
        except BrokenProcessPool:
            return False
        except BaseException:
            executor.shutdown(wait=False, kill_workers=True)
            raise
    take(text)
    return True


def _record_crash(shard: Shard, store: Store) -> dict[str, Any]:
    done = store.done()
    message = (
        f"the worker process died while it computed {shard.cells[0]['explainer']} ({shard.label}), alone and more than once; "
        "memory ran out, or native code crashed"
    )
    failed = {}
    for cell in shard.cells:
        if cell["key"] not in done:
            labels = {name: cell[name] for name in worker.LABELS}
            store.write_failure(
                cell["key"], {"type": CRASHED, "message": message, **worker.failure_context(), **labels}
            )
            failed[cell["key"]] = f"{CRASHED}: {message}"
    return {"shard": shard.id, "failed": failed}


def claims(folder: Path) -> dict[str, dict[str, Any]]:
    """The shards that are being computed, or were when their process died: id -> label, host, process."""
    found = {}
    for mark in sorted((folder / worker.CLAIMS).glob("*")):
        try:
            found[mark.name] = json.loads(mark.read_text())
        except (OSError, ValueError):
            continue
    return found


def clear_claims(folder: Path) -> None:
    """Remove the marks of dead processes of this machine."""
    for name, mark in claims(folder).items():
        if mark.get("host") == socket.gethostname() and not _alive(int(mark.get("process", 0))):
            (folder / worker.CLAIMS / name).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
