"""What runs in a worker process: computing one shard.

Only texts cross the border of a process. The worker loads subjects and explainers by name, writes each finished cell
itself, and hands back a short status; so a worker that dies loses only the cells that it had not finished.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from models.naming import UsageError
from reports import maps as kept
from reports.files import RunFolderError
from reports.store import Store

from . import balance, devices, limits, memory, parcels, plugins, protocols, provenance
from .checks.base import MODEL, CellResult
from .claims import FOLDER, Claims
from .plan import Shard, text_of
from .subjects import forget, subject_of

if TYPE_CHECKING:
    from explainers import Explainer
    from models.base import Subject

PICTURES, KEPT, CALIBRATION = 4, ("randomization", "calibration"), ("ceiling", "floor")
LABELS = ("suite", "check", "subject", "explainer", "seed")


@dataclass(frozen=True)
class Context:
    """What all shards of a run have in common, made of texts and numbers only.

    Attributes:
        store: the run folder.
        protocol: name of the protocol.
        choices: what the suites change in it.
        base: base seed.
        devices: devices to spread over.
        slots: workers per device.
        precision: numerics.
        batch_size: images per pass, None = chosen per explainer.
        plugins: files and modules to import first.
        own_process: the worker may set process-wide things (threads, signals).
        fail_fast: stop the shard at the first failed cell.
        memory: bytes one worker may use for explanations; None = half of what is free on its device.
        run: token of the run, the same for all its workers.
        timeout: seconds for one cell, None for no limit.
        home: the mark that is in the run folder, and in no other at the same path on another machine; empty = it is here.
        settings: configuration and protocol of the folder, for workers that cannot reach it.
        keep: of how many images of each block the compared maps are kept, for scoring them again.
    """

    store: str
    protocol: str
    choices: dict[str, Any]
    base: int
    devices: tuple[str, ...]
    slots: int
    precision: str
    batch_size: int | None
    plugins: tuple[str, ...]
    own_process: bool
    fail_fast: bool = False
    memory: int | None = None
    run: str = ""
    timeout: float | None = None
    home: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    keep: int = 0

    def to_json(self) -> str:
        """The context as text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Context:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return Context(**{**values, "devices": tuple(values["devices"]), "plugins": tuple(values["plugins"])})


@dataclass
class Status:
    """What a shard hands back.

    Attributes:
        shard: its id.
        done: number of cells that it finished.
        failed: key -> first line of the error.
        usage: what the user got wrong, empty if nothing; it ends the run.
        seconds: time that it took.
        notices: remarks for the user.
        busy: another run is computing it, so nothing was done.
        files: what the run folder is to hold, where the worker could not reach it.
    """

    shard: str
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    usage: str = ""
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)
    busy: bool = False
    files: dict[str, str] = field(default_factory=dict)


def run_shard(context_text: str, shard_text: str) -> str:
    """Compute the cells of a shard that are not done, and store each as it finishes.

    Args:
        context_text: JSON of `Context`.
        shard_text: JSON of `Shard`.

    Returns:
        JSON of `Status`. Errors of cells are stored as failures; only a run folder that cannot be written, or a model
        that cannot be loaded, ends the run, through `Status.usage`.
    """
    context, shard = Context.from_json(context_text), Shard.from_json(shard_text)
    status = Status(shard.id)
    started = time.perf_counter()
    try:
        with (
            _process(context) as used,
            parcels.reached(context.store, context.home, context.settings, status.files) as store,
            Claims(store.path).taken(shard.id, shard.label, context.run) as free,
        ):
            if free:
                _compute(context, shard, store, status, used)
            status.busy = not free
    except (UsageError, RunFolderError) as error:
        status.usage = str(error)
    memory.give_back()
    status.seconds = time.perf_counter() - started
    return json.dumps(asdict(status))


def _compute(context: Context, shard: Shard, store: Store, status: Status, used: list[dict[str, str]]) -> None:
    from explainers.memory import Limit, limited
    from models.snapshot import Snapshot

    done = store.done(cell["key"] for cell in shard.cells)
    missing = {(cell["check"], text_of(cell)): cell for cell in shard.cells if cell["key"] not in done}
    if not missing:
        return
    # The second clock ends the process, so it runs only in a process that is there for nothing else.
    note = store.path / FOLDER / f"{shard.id}.note" if context.own_process else None
    try:
        device = devices.take_slot(context.devices, context.slots)
        subject = subject_of(shard.model, shard.data, device, context.precision)
        before = Snapshot(subject.model)
        _note(store, context, device, subject, used)
        allowed = context.memory or memory.default(device, context.slots)
        with (
            limited(Limit(allowed)) as limit,
            limits.watched(context.timeout, Counter(e for _, e in missing), note),
            balance.booked(store, shard.id, (check for check, name in missing if name != MODEL)),
        ):
            shortage = memory.Shortage(store, shard.id, limit, status.notices)
            for result in _results(context, shard, subject, missing, shortage):
                cell = missing.pop((result.check, result.explainer), None)
                if cell is not None:
                    _keep(store, cell, result, status)
                    _keep_maps(store, cell, result, context, shard)
                if context.fail_fast and status.failed:
                    return
        if not before.holds(subject.model):
            forget()
            raise RuntimeError(f"an explainer changed the model {subject.name} and did not put it back")
    except (UsageError, RunFolderError):
        raise
    except Exception as error:
        record = failure(error)
        for cell in missing.values():
            _fail(store, cell, record, status)
        missing = {}
    for cell in missing.values():
        _fail(store, cell, {"type": "Missing", "message": "the check gave no result for this cell"}, status)


def _results(
    context: Context,
    shard: Shard,
    subject: Subject,
    missing: dict[tuple[str, str], dict[str, Any]],
    shortage: memory.Shortage,
) -> Iterator[CellResult]:
    """The results of a shard; when memory runs out, what is left is tried again with half as many images at once."""
    family = shard.family if "." in shard.family else f"bench.checks.{shard.family}"
    run_block = import_module(family).run_block
    pictures = PICTURES if _pictured(shard) else 0
    if shard.family in KEPT:
        pictures = max(pictures, min(context.keep, len(shard.indices)))
    protocol = protocols.get(context.protocol).with_(**context.choices)
    batch_size = context.batch_size
    while True:
        found = explainers_of(name for _, name in missing if name != MODEL)
        common: dict[str, Any] = {
            "protocol": protocol,
            "wanted": set(missing),
            "base": context.base,
            "batch_size": batch_size,
            "pictures": pictures,
        }
        results = run_block(subject, found, list(shard.indices), shard.seed, **common)
        smaller = shortage.next(subject, found, min(batch_size or len(shard.indices), len(shard.indices)))
        short: dict[str, str] = {}
        try:
            for result in results:
                error = result.error
                if smaller is not None and error is not None and devices.says_out_of_memory(**_said(error)):
                    short[missing[result.check, result.explainer]["key"]] = str(error.get("message", ""))
                else:
                    yield result
        except Exception as error:
            if smaller is None or not devices.out_of_memory(error):
                raise
            short = {cell["key"]: str(error) for cell in missing.values()}
        if not short or smaller is None:
            return
        devices.release()
        shortage.note(short, smaller, {cell["key"]: cell["explainer"] for cell in missing.values()})
        batch_size = min(batch_size or smaller, smaller)


def _said(error: dict[str, Any]) -> dict[str, str]:
    return {"kind": str(error.get("type", "")), "message": str(error.get("message", ""))}


def _keep(store: Store, cell: dict[str, Any], result: CellResult, status: Status) -> None:
    if result.error is not None:
        _fail(store, cell, {**failure_context(), **result.error}, status)
        return
    same = {**{name: cell[name] for name in LABELS}, "seconds": result.seconds, "cell": cell["key"]}
    store.write_records(cell["key"], [{**row, **same} for row in result.rows])
    status.done += 1


def _pictured(shard: Shard) -> bool:
    """Whether the pictures of the page come from here: from the first block and the first seed."""
    return shard.start == 0 and shard.seed == 0


def _keep_maps(store: Store, cell: dict[str, Any], result: CellResult, context: Context, shard: Shard) -> None:
    """Store the maps that a result brings: a few for the page, and those that are to be scored again."""
    if result.error is not None or result.pictures is None:
        return
    arrays, meta = result.pictures["arrays"], result.pictures["meta"]
    labels = {name: cell[name] for name in LABELS[1:]}
    if _pictured(shard) and cell["check"] not in CALIBRATION:
        first = {name: array[:PICTURES] for name, array in arrays.items()}
        store.write_picture(cell["key"], first, {**meta, **labels, **_head(meta, PICTURES)})
    if context.keep and cell["check"] in kept.CHECKS:
        pair = arrays["maps"][: context.keep, :2]
        if pair.shape[1] == 2:
            kept.write_maps(store.path, cell["key"], pair, {**meta, **labels, **_head(meta, context.keep)})


def _head(meta: dict[str, Any], count: int) -> dict[str, Any]:
    """What a description says of the first images."""
    return {name: meta[name][:count] for name in ("images", "targets", "classes") if name in meta}


def _fail(store: Store, cell: dict[str, Any], record: dict[str, Any], status: Status) -> None:
    store.write_failure(cell["key"], {**record, **{name: cell[name] for name in LABELS}})
    first = (str(record.get("message") or "no message").splitlines() or [""])[0]
    status.failed[cell["key"]] = f"{cell['explainer']}: {record.get('type')}: {first}"


def failure(error: BaseException) -> dict[str, Any]:
    """What is stored of an error: type, message, traceback, host and process."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        **failure_context(),
    }


def failure_context() -> dict[str, Any]:
    """Host and process of a failure."""
    return {"host": socket.gethostname(), "process": os.getpid()}


def explainers_of(names: Iterable[str]) -> list[Explainer]:
    """The explainers of these names, each once, in order."""
    import explainers

    return [explainers.get(name) for name in dict.fromkeys(names)]


def _note(store: Store, context: Context, device: str, subject: Subject, used: list[dict[str, str]]) -> None:
    """Store where this process's results come from."""
    name, record = provenance.collect(
        device=device, precision=context.precision, subjects={subject.name: subject.identity()}, plugins=used
    )
    if not (store.path / "provenance" / f"{name}.json").exists():
        store.write_provenance(name, record)


@contextmanager
def _process(context: Context) -> Iterator[list[dict[str, str]]]:
    """One torch thread, for one order of sums everywhere; prints go to standard error; yields the plug-ins that load."""
    import torch

    if context.own_process:
        _settle()
    used = [{"name": each.name, "origin": each.origin} for each in plugins.load(context.plugins) if not each.error]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    in_main = not context.own_process and threading.current_thread() is threading.main_thread()
    try:
        with redirect_stdout(sys.stderr) if in_main else nullcontext():
            yield used
    finally:
        if not context.own_process:
            torch.set_num_threads(threads)


@cache
def _settle() -> None:
    """Set what concerns a whole worker process, once."""
    memory.reuse_freed()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.flush()
    os.dup2(2, 1)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    """End this process when its parent is gone: nobody would ask it for results, or stop it."""
    while parent > 1:
        time.sleep(1.0)
        if os.getppid() != parent:
            os._exit(1)
