"""Running a configuration: open the folder, compute what is missing, judge the reference explainers."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reports import maps
from reports.schema import empty
from reports.store import Store

from . import facts as gathering
from . import features, limits, memory, parcels, provenance, subjects, suites, worker
from . import pool as pools
from .cell import digest
from .claims import Claims
from .config import Config, cores, resolve
from .plan import Plan, join
from .progress import Progress
from .sized import DEAR

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


@dataclass(frozen=True)
class Run:
    """A finished run and where its results are.

    Attributes:
        path: the run folder.
        expected: number of cells planned.
        computed: number of cells that this call computed.
        missing: keys of the cells without records.
        failed: key -> first line of the error, of the cells that failed in this call.
        notices: remarks for the user.
    """

    path: Path
    expected: int
    computed: int
    missing: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every planned cell has records."""
        return not self.missing

    def frame(self) -> pd.DataFrame:
        """The tidy records of the run folder."""
        import reports

        return reports.load(self.path)

    def verdicts(self) -> pd.DataFrame:
        """One row per subject, explainer and check."""
        import reports

        return reports.verdicts(self.frame())

    def claims(self, verdicts: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per claim of the papers that the run tests, empty for other suites.

        Args:
            verdicts: those of this run, where they are at hand.
        """
        from reports.claims import judge_claims

        papers = Store.open(self.path).papers()
        table = self.verdicts() if papers and verdicts is None else verdicts
        return judge_claims(self.frame(), papers, table) if papers else judge_claims(empty(), [])


@dataclass(frozen=True)
class Prepared:
    """A planned run before anything is computed.

    Attributes:
        config: the configuration.
        facts: what the plan was made from.
        plan: the part of the plan that this call is to run.
        done: keys of cells that have records.
        failures: stored failures by key.
        jobs: worker processes to use.
        notices: remarks for the user.
    """

    config: Config
    facts: gathering.Facts
    plan: Plan
    done: frozenset[str]
    failures: dict[str, dict[str, Any]]
    jobs: int
    notices: tuple[str, ...]


def run(**options: Any) -> Run:
    """Run a suite, or go on with it: finished cells of the run folder are not computed again.

    Args:
        options: as on the command line, with underscores: `suite`, `model`, `data`, `explainers`, `images`, `seeds`,
            `protocol`, `profile`, `device`, `precision`, `batch_size`, `memory`, `jobs`, `out`, `plugin`, `seed`, ...; `config`
            names a TOML file with the same keys. `quiet` is true unless it is given.

    Returns:
        The run, with `.path`, `.frame()` and `.verdicts()`.

    Raises:
        UsageError: an unknown option or name, or a value that cannot be used.
        RunFolderError: the run folder cannot be used.

    Example:
        >>> import bench, tempfile
        >>> done = bench.run(suite="smoke", explainers="saliency", images=1, seeds=1, jobs=1, out=tempfile.mkdtemp())
        >>> done.complete
        True
    """
    file = options.pop("config", None)
    return execute(resolve({"quiet": True, **options}, file))


def prepare(config: Config, pool: pools.Pool | None = None) -> Prepared:
    """Plan a configuration and look at what its folder already holds; computes nothing and writes nothing."""
    facts = gathering.gather(config, lambda text, here: _describe(text, here, pool))
    plan = facts.plan.part(*config.slice())
    folder = config.folder()
    store = Store.open(folder) if (folder / "config.json").exists() else None
    if store is not None:
        join(store.plan(), plan.entries(), str(folder))
    notices = [plugin.notice for plugin in facts.plugins if plugin.error]
    notices += [note for part in config.parts for note in part.too_small(config.profile, config.size(part))]
    notices += [note for part in config.parts for note in _reduced(part, config.size(part), facts)]
    notices += features.remarks(config.features)
    jobs = config.jobs or (cores() if facts.devices == ("cpu",) else len(facts.devices) * config.slots)
    if facts.in_process and jobs > 1:
        jobs = 1
        notices.append(
            f"{', '.join(facts.in_process)} exist only in this process, so everything runs in it; put them in a file and "
            "give it with --plugin to use more processes"
        )
    done = frozenset(store.done() if store else ())
    return Prepared(config, facts, plan, done, store.failures() if store else {}, jobs, tuple(notices))


def _reduced(suite: suites.Suite, size: suites.Size, facts: gathering.Facts) -> list[str]:
    """The remark about explainers that a suite runs on less than the others."""
    run = {task.cell.explainer for task in facts.plan.tasks if task.cell.suite == suite.filed}
    dear = [name for name, info in facts.explainers.items() if name in run and float(info.get("cost", 1.0)) > DEAR]
    if not dear or size.dear is None:
        return []
    return [
        f"{suite.name}: {', '.join(dear)} cost more than {DEAR:g} passes per image each and run on the first "
        f"{size.dear.images} images and {size.dear.seeds} seeds; --images and --seeds set it for all"
    ]


def execute(config: Config, console: Console | None = None) -> Run:
    """Run a configuration.

    Args:
        config: what to run.
        console: where progress goes; default: standard error.

    Raises:
        UsageError, RunFolderError: something that the user can mend.
        KeyboardInterrupt: after the workers were ended; finished cells are kept.
    """
    pool = pools.Pool(config.jobs or cores(), config.backend, config.scheduler, apart=config.timeout is not None)
    token = uuid4().hex
    with limits.interruptible(), _stopping(pool, config.folder(), token):
        prepared = prepare(config, pool)
        pool.jobs = prepared.jobs
        pool.apart = pool.apart and not prepared.facts.in_process
        store = open_folder(prepared)
        costs = {task.cell.key: task.cost for task in prepared.plan.tasks}
        with Progress(store, costs, prepared.done, quiet=config.quiet, console=console) as progress:
            progress.note(prepared.notices)
            if costs.keys() - prepared.done:
                with parcels.home(store.path) if pool.clustered else nullcontext("") as home:
                    common = context(prepared, pool, store, token, home)
                    pools.compute(prepared.plan, common, pool, store, progress.listen)
        done = store.done(costs)
        _keep_planned(store, prepared)
        store.compact()
    missing = tuple(key for key in costs if key not in done)
    computed = len(costs.keys() & (done - prepared.done))
    notices = (*prepared.notices, *progress.notices)
    return Run(store.path, len(costs), computed, missing, progress.failed, notices)


def open_folder(prepared: Prepared) -> Store:
    """Make or open the run folder and write what is expected of it.

    Raises:
        UsageError, RunFolderError: the folder belongs to another configuration or cannot be written.
    """
    config, facts = prepared.config, prepared.facts
    store = _created(prepared)
    store.write_plan(join(store.plan(), facts.plan.entries(), str(store.path)))
    store.write_papers(gathering.claimed(config))
    record = {
        "configuration": config.record(),
        "source": provenance.git_state(Path.cwd()),
        "hardware": provenance.hardware(),
    }
    name = f"run-{digest(record)[:16]}"
    if name not in store.provenance():
        store.write_provenance(name, record)
    return store


def _created(prepared: Prepared) -> Store:
    """The run folder with its settings and the descriptions of measures and explainers, beside what is there."""
    config, facts = prepared.config, prepared.facts
    protocol = facts.protocol
    declared = {
        "name": protocol.name,
        "hash": protocol.hash,
        "parameters": protocol.parameters(),
        "source": protocol.source,
    }
    # What all cells of one folder share; images, seeds, explainers and models may be added to it later.
    shared = {
        "protocol": protocol.name,
        "precision": config.precision,
        "seed": config.seed,
        "data": facts.data,
    }
    return Store.create(config.folder(), shared, declared, gathering.measures(), facts.explainers)


def _keep_planned(store: Store, prepared: Prepared) -> None:
    """Write what was planned once more if another run of the folder, begun at the same moment, wrote over it."""
    _created(prepared)
    entries = prepared.facts.plan.entries()
    planned = store.plan()
    if not {entry["key"] for entry in entries} <= {entry["key"] for entry in planned}:
        store.write_plan(join(planned, entries, str(store.path)))


def context(prepared: Prepared, pool: pools.Pool, store: Store, token: str = "", home: str = "") -> worker.Context:
    """What all shards of the run have in common.

    Args:
        prepared: the planned run.
        pool: where it computes.
        store: its folder.
        token: tells the run from others of the same folder.
        home: as `parcels.home` yields it; empty where the workers share the disk for sure.
    """
    config, facts = prepared.config, prepared.facts
    choices = {**suites.get(config.suite[0]).choices, "features": features.reachable(config.features)}
    slots = -(-prepared.jobs // len(facts.devices))
    # Once for the whole run, so that all its shards are computed alike; of a GPU only a worker can ask.
    here = facts.devices == ("cpu",) or config.memory is not None
    allowed = memory.share(config.memory, slots, None if config.memory else memory.free()) if here else None
    return worker.Context(
        store=str(store.path.resolve()), protocol=config.protocol, choices=choices, base=config.seed, devices=facts.devices,
        slots=slots, precision=config.precision, batch_size=config.batch_size,
        plugins=tuple(str(Path(name).resolve()) if name.endswith(".py") else name for name in config.plugin),
        own_process=pool.own_processes, fail_fast=config.fail_fast, memory=allowed,
        run=token, timeout=config.timeout, home=home,
        settings={"config": store.config, "protocol": store.protocol} if home else {}, keep=_kept(prepared),
    )  # fmt: skip


def _kept(prepared: Prepared) -> int:
    """Of how many images of each block maps are kept, so that `--keep-maps` bounds them all together."""
    limit = prepared.config.keep_maps
    if limit is None:
        return 0
    tasks = [task for task in prepared.plan.tasks if task.cell.check in maps.CHECKS]
    pixels = max((subject.pixels for subject in prepared.plan.subjects), default=0)
    block = max((task.stop - task.start for task in tasks), default=0)
    return maps.images_within(memory.size(limit, "--keep-maps"), len(tasks), (max(pixels, 1),), block)


def reference_faults(verdicts: pd.DataFrame) -> list[str]:
    """Reference explainers whose verdict is not the known one; then the run says nothing about the others.

    Args:
        verdicts: as `reports.verdicts` gives them.

    Returns:
        One sentence per fault, empty when all is well.
    """
    faults = []
    for row in verdicts.to_dict("records"):
        known = suites.EXPECTED if row["check"] == "cascading" else suites.OPPOSITE.get(str(row["check"]), {})
        wanted = known.get(str(row["explainer"]))
        undecided = row["check"] != "cascading" and row["verdict"] not in ("PASS", "FAIL")
        if wanted is not None and row["verdict"] != wanted and not undecided:
            faults.append(
                f"{row['explainer']} on {row['subject']} is {row['verdict']}, known is {wanted} ({row['reason']})"
            )
    return faults


def _describe(request: str, here: bool, pool: pools.Pool | None) -> str:
    if here or pool is None or not pool.own_processes:
        return subjects.describe(request)
    values = json.loads(request) | {"own_process": True}
    return next(iter(list(pool.map(subjects.describe, [(json.dumps(values),)]))))


@contextmanager
def _stopping(pool: pools.Pool, folder: Path, token: str) -> Iterator[None]:
    """End the workers with the run, however it ends: what follows needs the memory, and nobody died of his work."""
    try:
        yield
    finally:
        with _uninterrupted():
            pool.stop()
            Claims(folder).release(token)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C into the tidying up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
