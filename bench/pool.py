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
    one brings a process down; such a shard is then run explainer by explainer. An explainer found guilty stays apart
    from then on, and only those of its cells that bring a process down a second time are recorded as failed.

    Args:
        plan: all cells.
        context: what the shards have in common.
        pool: where to compute.
        store: the run folder.
        listen: called with the status of each shard, in this process.

    Raises:
        UsageError: the run folder cannot be written, a model cannot be loaded, or workers die before they begin.
    """
    work = _Work(plan, context, store, listen)
    silent = 0
    while shards := work.shards():
        clear_claims(store.path)
        try:
            for text in pool.map(worker.run_shard, ((work.common, shard.to_json()) for shard in shards)):
                work.take(text)
                if work.failed and context.fail_fast:
                    return
        except BrokenProcessPool as error:
            running = claims(store.path)
            suspects = [shard for shard in shards if shard.id in running]
            silent = 0 if suspects else silent + 1
            if silent >= SILENT_CRASHES:
                raise UsageError(f"worker processes die before they begin to work ({error}); try --jobs 1 --verbose") from error
            work.find_guilty(suspects)
        else:
            work.give_up(shards)
    work.finish_guilty()


class _Work:
    """What is left of a plan, and which explainers bring processes down."""

    def __init__(self, plan: Plan, context: worker.Context, store: Store, listen: Listener) -> None:
        self.plan, self.context, self.store, self.listen = plan, context, store, listen
        self.common = context.to_json()
        self.failed: set[str] = set()
        self.guilty: set[str] = set()

    def shards(self, guilty: bool = False) -> list[Shard]:
        """The missing work of the explainers that are, or are not, guilty."""
        missing = self.plan.missing(self.store.done() | self.failed)
        return self.plan.shards(task for task in missing if (task.cell.explainer in self.guilty) == guilty)

    def take(self, text: str) -> None:
        """Note the status of a shard."""
        status = worker.Status(**json.loads(text))
        self.failed.update(status.failed)
        self.listen(status)
        if status.usage:
            raise UsageError(status.usage)

    def give_up(self, shards: list[Shard]) -> None:
        """What has neither records nor a failure after its shard ended will not get them by asking again."""
        done = self.store.done()
        self.failed.update(cell["key"] for shard in shards for cell in shard.cells if cell["key"] not in done)

    def find_guilty(self, suspects: list[Shard]) -> None:
        """Run suspicious shards alone; where that kills the process too, find out which explainer does it."""
        with _Apart() as apart:
            for shard in suspects:
                if self._survives(apart, shard):
                    continue
                for piece in shard.by_explainer():
                    if not self._survives(apart, piece):
                        self.guilty.add(piece.cells[0]["explainer"])
                        self._fail(piece)

    def finish_guilty(self) -> None:
        """Run what is left of the guilty explainers, each piece apart from everything else."""
        with _Apart() as apart:
            for shard in self.shards(guilty=True):
                for piece in shard.by_explainer():
                    if not self._survives(apart, piece):
                        self._fail(piece)

    def _survives(self, apart: _Apart, shard: Shard) -> bool:
        text = apart.run(worker.run_shard, self.common, shard.to_json())
        if text is not None:
            self.take(text)
        return text is not None

    def _fail(self, shard: Shard) -> None:
        self.take(json.dumps(_record_crash(shard, self.store)))


class _Apart:
    """One process beside the pool, made again when it dies."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, function: Callable[..., str], *given: str) -> str | None:
        """The result of a function, or None when it killed the process."""
        self._executor = self._executor or ProcessPoolExecutor(max_workers=1)
        try:
            result: str = self._executor.submit(function, *given).result()
        except BrokenProcessPool:
            self._end()
            return None
        return result

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, kill_workers=True)
        self._executor = None


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
