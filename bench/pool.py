"""Worker processes: shards in parallel, and what happens when a worker dies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from models.naming import UsageError
from reports.store import Store

from . import limits, parcels, worker
from .backends import Backend, WorkerDied
from .claims import FOLDER, Claims
from .plan import Plan, Shard, text_of

CRASHED = "WorkerDied"
SILENT_CRASHES = 3
"""So many times may a worker die before it has begun a shard, until the run gives up."""
DEATHS = 2
"""A shard that so many earlier runs died of is run apart from the others."""
AHEAD = 4
"""So many shards per worker may be handed out before their results are back: joblib prepares twice as many as there are
workers, and makes that many ready again."""
LOST = "a worker of the cluster died; what it may have had is computed here, one shard after the other"
LOOK = 0.5
"""Seconds between two looks at what another run of the folder is computing."""

Listener = Callable[[worker.Status], None]


class Pool:
    """Runs functions on texts, in this process or in others.

    Args:
        jobs: number of workers; 1 means this process, except with the backends of clusters.
        backend: one of `backends.BACKENDS`.
        scheduler: address of a cluster, for the backends that have one.
        apart: use a process of its own even for one job, since it may have to be ended.
    """

    def __init__(self, jobs: int, backend: str = "loky", scheduler: str | None = None, apart: bool = False) -> None:
        self.jobs, self.apart = jobs, apart
        self.backend = Backend(backend, jobs, scheduler)

    @property
    def own_processes(self) -> bool:
        """Whether work happens in processes of its own."""
        return self.clustered or (self.backend.name == "loky" and (self.jobs > 1 or self.apart))

    @property
    def clustered(self) -> bool:
        """Whether work may happen on other machines."""
        return self.backend.name in ("dask", "ray")

    def map(self, function: Callable[..., str], arguments: Iterable[tuple[str, ...]]) -> Iterator[str]:
        """The results, in the order in which they finish.

        Raises:
            WorkerDied: a worker process died; what the others had not finished is lost.
            UsageError: the backend cannot be started.
        """
        if self.jobs == 1 and not self.own_processes:
            for given in arguments:
                yield function(*given)
            return
        if self.jobs == 1 and not self.clustered:
            # Joblib takes one job for work in this process.
            yield from self._alone(function, arguments)
            return
        self.backend.jobs = self.jobs
        with joblib.parallel_config(**self.backend.options()), self.backend.deaths():
            work = joblib.Parallel(n_jobs=self.jobs, return_as=self.backend.return_as, batch_size=1)
            yield from work(joblib.delayed(function)(*given) for given in arguments)

    def stop(self) -> None:
        """End the worker processes at once; finished cells are in the store."""
        if self.own_processes:
            self.backend.stop()

    def _alone(self, function: Callable[..., str], arguments: Iterable[tuple[str, ...]]) -> Iterator[str]:
        with Apart() as apart:
            for given in arguments:
                result = apart.run(function, *given)
                if result is None:
                    raise WorkerDied("the worker process died")
                yield result


def compute(plan: Plan, context: worker.Context, pool: Pool, store: Store, listen: Listener) -> None:
    """Compute what is missing of a plan; go on after workers that died.

    The shards that were running when a worker died are run again, each alone in a process, so that it is known which
    one brings a process down; such a shard is then run explainer by explainer. An explainer found guilty stays apart
    from then on, and only those of its cells that bring a process down a second time are recorded as failed. What
    another run of the folder is computing is left to it, and taken over if that run dies.

    Which shards were running is told by their marks. Workers of a cluster that cannot reach the folder leave none there;
    then whatever was handed out and did not come back may have done it.

    Args:
        plan: all cells.
        context: what the shards have in common.
        pool: where to compute.
        store: the run folder.
        listen: called with the status of each shard, in this process.

    Raises:
        UsageError: the run folder cannot be written, a model cannot be loaded, or workers die before they begin.
    """
    claims = Claims(store.path)
    work = _Work(plan, context, store, listen)
    silent, limit = 0, None
    work.find_guilty([shard for shard in work.shards() if claims.deaths(shard.id) >= DEATHS])
    while shards := work.shards()[:limit]:
        work.begin()
        try:
            for text in pool.map(worker.run_shard, work.handed(shards)):
                work.take(text)
                if work.failed and context.fail_fast:
                    return
        except WorkerDied as error:
            marked = claims.of(context.run)
            running = marked or (work.out if pool.clustered else {})
            suspects = [shard for shard in shards if shard.id in running]
            # A cluster that gives its results at the end has lost all of them; now only so many at once as can be looked at.
            limit = pool.jobs if len(suspects) > AHEAD * pool.jobs else None
            if limit is not None:
                continue
            silent = 0 if marked or work.came else silent + 1
            if silent >= SILENT_CRASHES:
                raise UsageError(
                    f"worker processes die before they begin to work ({error}); try --jobs 1 --verbose"
                ) from error
            if suspects and not marked:
                listen(worker.Status("", notices=[f"{LOST} ({error})"]))
            work.find_guilty(suspects)
        else:
            work.give_up(shard for shard in shards if shard.id not in work.busy)
            if len(work.busy) == len(shards):
                time.sleep(LOOK)
    work.finish_guilty()
    claims.release(context.run)


class _Work:
    """What is left of a plan, and which explainers bring processes down."""

    def __init__(self, plan: Plan, context: worker.Context, store: Store, listen: Listener) -> None:
        self.plan, self.context, self.store, self.listen = plan, context, store, listen
        self.common = context.to_json()
        self.failed: set[str] = set()
        self.guilty: set[str] = set()
        self.busy: set[str] = set()
        self.out: dict[str, Shard] = {}
        self.came = False

    def shards(self, guilty: bool = False) -> list[Shard]:
        """The missing work of the explainers that are, or are not, guilty."""
        missing = self.plan.missing(self.store.done() | self.failed)
        return self.plan.shards(task for task in missing if (task.cell.explainer in self.guilty) == guilty)

    def begin(self) -> None:
        """Forget what the last round told about shards."""
        self.busy.clear()
        self.out.clear()
        self.came = False

    def handed(self, shards: Iterable[Shard]) -> Iterator[tuple[str, str]]:
        """What workers are given, one shard after the other; `out` holds those that did not come back yet."""
        for shard in shards:
            self.out[shard.id] = shard
            yield self.common, shard.to_json()

    def take(self, text: str) -> None:
        """Note the status of a shard."""
        status = worker.Status(**json.loads(text))
        self.came = self.out.pop(status.shard, None) is not None or self.came
        if status.busy:
            self.busy.add(status.shard)
            return
        parcels.unpack(self.store, status.files)
        self.failed.update(status.failed)
        self.listen(status)
        limits.raise_interrupt()
        if status.usage:
            raise UsageError(status.usage)

    def give_up(self, shards: Iterable[Shard]) -> None:
        """What has neither records nor a failure after its shard ended will not get them by asking again."""
        keys = {cell["key"] for shard in shards for cell in shard.cells}
        self.failed.update(keys - self.store.done(keys))

    def find_guilty(self, suspects: list[Shard]) -> None:
        """Run suspicious shards alone; where that kills the process too, find out which explainer does it."""
        with Apart() as apart:
            for shard in suspects:
                if self._hung(shard) or self._survives(apart, shard) or self._hung(shard):
                    continue
                for piece in shard.by_explainer():
                    if not self._survives(apart, piece):
                        self.guilty.add(piece.cells[0]["explainer"])
                        self._fail(piece)

    def finish_guilty(self) -> None:
        """Run what is left of the guilty explainers, each piece apart from everything else."""
        with Apart() as apart:
            for shard in self.shards(guilty=True):
                for piece in shard.by_explainer():
                    if not self._survives(apart, piece):
                        self._fail(piece)

    def _hung(self, shard: Shard) -> bool:
        """Whether the process that had this shard was ended because an explainer hung; its cells are failed then."""
        found = limits.hung(self._note(shard))
        piece = next((piece for piece in shard.by_explainer() if found and text_of(piece.cells[0]) == found[0]), None)
        if piece is None:
            return False
        self.guilty.add(piece.cells[0]["explainer"])
        self._fail(piece, shard)
        return True

    def _note(self, shard: Shard) -> Path:
        return self.store.path / FOLDER / f"{shard.id}.note"

    def _survives(self, apart: Apart, shard: Shard) -> bool:
        text = apart.run(worker.run_shard, self.common, shard.to_json())
        if text is not None:
            self.take(text)
        return text is not None

    def _fail(self, piece: Shard, shard: Shard | None = None) -> None:
        """Record the cells of a piece as failed; `shard` is what ran when the process died."""
        note = self._note(shard or piece)
        found = limits.hung(note)
        if found:
            about = {
                "type": limits.Timeout.__name__,
                "message": f"it took longer than --timeout {self.context.timeout:g} seconds for a cell, and could not be "
                "interrupted; its process was ended",
                "traceback": found[1],
            }
        else:
            about = {
                "type": CRASHED,
                "message": f"the worker process died while it computed {piece.cells[0]['explainer']} ({piece.label}), alone and "
                "more than once; memory ran out, or native code crashed",
            }
        note.unlink(missing_ok=True)
        self.take(json.dumps(_record_failures(piece, self.store, about)))


class Apart:
    """One process beside the pool, made again when it dies."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Apart:
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


def _record_failures(shard: Shard, store: Store, about: dict[str, Any]) -> dict[str, Any]:
    done = store.done(cell["key"] for cell in shard.cells)
    failed = {}
    for cell in shard.cells:
        if cell["key"] not in done:
            labels = {name: cell[name] for name in worker.LABELS}
            store.write_failure(cell["key"], {**about, **worker.failure_context(), **labels})
            failed[cell["key"]] = f"{cell['explainer']}: {about['type']}: {about['message']}"
    return {"shard": shard.id, "failed": failed}
