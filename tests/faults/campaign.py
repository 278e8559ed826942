"""Hundreds of faults put into runs of the toy, each followed by the command that goes on; run by hand, printed as Markdown.

    python tests/faults/campaign.py [--scale 1.0] [--only KIND,KIND] [--out FILE]

After every fault the same command must finish in time, every planned cell must be done (those of a culprit: recorded as
failed), and the records must be those of a run that nothing disturbed, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not as `tests.harness`: another project may have installed a package called `tests`.
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "harness"), str(ROOT / "tests" / "faults")]

from again import Again, Hung  # noqa: E402
from damage import DAMAGE, torn  # noqa: E402
from support import SMALL, bench, command, environment, jumping_clock, toy_run, values  # noqa: E402

import bench as package  # noqa: E402
from reports.store import Store  # noqa: E402

CHOSEN = "toy-gradient,toy-noisy"
LIMIT = 240.0
"""Seconds after which a command counts as hanging."""
NO_MOUNT = "this user may not mount a file system"


@dataclass
class Tally:
    """What one kind of fault did."""

    faults: int = 0
    lost: int = 0
    wrong: int = 0
    hangs: int = 0
    seconds: float = 0.0
    note: str = ""
    """Why it could not be injected here."""


class Campaign:
    """The undisturbed run, and the faults.

    Args:
        place: folder for the runs.
        seed: of the random moments and places.
    """

    def __init__(self, place: Path, seed: int = 0) -> None:
        self.place = place
        self.draw = random.Random(seed)
        self.number = 0
        self.reference = place / "reference"
        package.run(**SMALL, explainers=CHOSEN, out=self.reference)
        self.expected = values(self.reference)
        self.keys = set(self.expected["cell"])
        self.again = Again({**SMALL, "explainers": CHOSEN})

    def fresh(self, finished: bool = True) -> Path:
        """A new run folder: a finished run, or none yet."""
        self.number += 1
        out = self.place / f"run-{self.number}"
        if finished:
            shutil.copytree(self.reference, out)
        return out

    def go_on(self, out: Path, tally: Tally) -> None:
        """Give the command again, and compare what there is then."""
        try:
            missing = self.again.run(out, LIMIT)
        except Hung:
            tally.hangs += 1
            shutil.rmtree(out, ignore_errors=True)
            return
        self.compare(out, tally)
        tally.lost += len(self.keys) if missing is None else missing

    def compare(self, out: Path, tally: Tally, culprit: str = "") -> None:
        """Count cells that are lost or wrong; those of culprits (names with commas) may have failed instead."""
        found = values(out)
        if culprit:
            store, guilty = Store.open(out), culprit.split(",")
            own = {cell["key"] for cell in store.plan() if cell["explainer"] in guilty}
            tally.lost += len(own - store.failures().keys() - store.done())
            found = found[~found["explainer"].isin(guilty)].reset_index(drop=True)
        tally.lost += len(self.keys - set(found["cell"]))
        if not found.equals(self.expected):
            same = found.merge(self.expected, how="outer", indicator=True)
            tally.wrong += same[same["_merge"] != "both"]["cell"].nunique()
        shutil.rmtree(out, ignore_errors=True)


def damage(campaign: Campaign, tally: Tally, kind: str, count: int) -> None:
    """Harm a finished folder, then go on."""
    for _ in range(count):
        out = campaign.fresh()
        DAMAGE[kind][0](campaign.draw, out)
        tally.faults += 1
        campaign.go_on(out, tally)


def start(words: list[object], **extra: str) -> subprocess.Popen[bytes]:
    """Start a command that listens to Ctrl-C, in a process group of its own."""
    return subprocess.Popen(
        command(*words), cwd=ROOT, env=environment(**extra), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def children(process: int) -> list[int]:
    """The worker processes of a command."""
    said = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 1) for line in said.stdout.splitlines()]
    return [int(pid) for pid, words in rows if "loky" in words and "tracker" not in words]


def strike(process: subprocess.Popen[bytes], what: str) -> None:
    """Do to a running command what the kind of fault says."""
    with contextlib.suppress(ProcessLookupError, IndexError):
        if what == "a worker":
            os.kill(children(process.pid)[0], signal.SIGKILL)
        elif what == "the parent":
            os.kill(process.pid, signal.SIGKILL)
        elif what == "both":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            for _ in range(2 if what == "Ctrl-C twice" else 1):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.15)


def killed(campaign: Campaign, tally: Tally, what: str, count: int, **extra: str) -> None:
    """Strike a run at random moments until there were enough faults, then let it finish; several kinds (with commas) in turn."""
    kinds = itertools.cycle(what.split(","))
    while tally.faults < count:
        out = campaign.fresh(finished=False)
        words = toy_run(out, "--quiet", explainers=CHOSEN + ",toy-slow", jobs=2)
        for _ in range(min(3, count - tally.faults)):
            process = start(words, TOY_SLEEP="0.25", **extra)
            while not (out / "claims").exists() and process.poll() is None:
                time.sleep(0.02)
            time.sleep(campaign.draw.uniform(0.0, 2.0))
            tally.faults += process.poll() is None
            strike(process, next(kinds))
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                tally.hangs += 1
                os.killpg(process.pid, signal.SIGKILL)
        finish(words, tally, TOY_SLEEP="0", **extra)
        drop(out, "toy-slow", campaign, tally)


def jumping(campaign: Campaign, tally: Tally, count: int) -> None:
    """The time of day jumps by years at every look, in a run that is killed and given again."""
    log = campaign.place / "looked"
    killed(campaign, tally, "both", count, **jumping_clock(log))
    if not log.exists():
        tally.note = "nobody looked at the clock"


def finish(words: list[object], tally: Tally, expected: int = 0, **extra: str) -> None:
    """Let a command finish; one that does not, or that ends in another way, is counted."""
    try:
        done = bench(*words, timeout=LIMIT, **extra)
    except subprocess.TimeoutExpired:
        tally.hangs += 1
        return
    if done.returncode != expected:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        tally.lost += 1


def mounted(place: str, *options: str) -> bool:
    """Put a small file system in memory at a place; False where the system does not allow it."""
    said = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], capture_output=True, check=False)
    return not said.returncode


def drop(out: Path, name: str, campaign: Campaign, tally: Tally) -> None:
    """Compare all but the explainer that was only there to take time."""
    campaign.compare(out, tally, culprit=name)


def guilty(campaign: Campaign, tally: Tally, name: str, count: int, code: int, **extra: str) -> None:
    """Runs with an explainer that misbehaves, or with several."""
    for _ in range(count):
        out = campaign.fresh(finished=False)
        words = toy_run(out, "--quiet", "--timeout", 4, explainers=f"{CHOSEN},{name}", jobs=2)
        tally.faults += 1
        finish(words, tally, expected=code, **extra)
        drop(out, name, campaign, tally)


def full_disk(campaign: Campaign, tally: Tally, count: int) -> None:
    """A small file system that fills up while the run writes into it, and has room again later."""
    with tempfile.TemporaryDirectory(dir=campaign.place) as place:
        if not mounted(place, "-o", "size=8m"):
            tally.note = NO_MOUNT
            return
        try:
            for _ in range(count):
                out = Path(place) / "run"
                ballast = Path(place) / "ballast"
                ballast.write_bytes(bytes((8 << 20) - campaign.draw.randrange(60_000, 350_000)))
                words = toy_run(out, "--quiet", explainers=CHOSEN, jobs=2)
                tally.faults += 1
                finish(words, tally, expected=2)
                ballast.unlink()
                finish(words, tally)
                drop(out, "", campaign, tally)
        finally:
            subprocess.run(["umount", place], check=False)


def read_only(campaign: Campaign, tally: Tally, count: int) -> None:
    """A folder on a file system that is mounted read-only, and writable later."""
    with tempfile.TemporaryDirectory(dir=campaign.place) as place:
        if not mounted(place):
            tally.note = NO_MOUNT
            return
        try:
            for _ in range(count):
                out = Path(place) / "run"
                shutil.copytree(campaign.reference, out)
                torn(campaign.draw, out)
                words = toy_run(out, "--quiet", explainers=CHOSEN, jobs=campaign.draw.choice([1, 2]))
                subprocess.run(["mount", "-o", "remount,ro", place], check=True)
                tally.faults += 1
                finish(words, tally, expected=2)
                subprocess.run(["mount", "-o", "remount,rw", place], check=True)
                finish(words, tally)
                drop(out, "", campaign, tally)
        finally:
            subprocess.run(["umount", place], check=False)


def race(campaign: Campaign, tally: Tally, count: int) -> None:
    """Two commands on one folder at once; sometimes one of them is killed."""
    for number in range(count):
        out = campaign.fresh(finished=False)
        words = toy_run(out, "--quiet", explainers=CHOSEN, jobs=2)
        both = [start(words), start(words)]
        tally.faults += 1
        if number % 2:
            time.sleep(campaign.draw.uniform(3.0, 7.0))
            os.killpg(both[1].pid, signal.SIGKILL)
        for process in both:
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                tally.hangs += 1
                os.killpg(process.pid, signal.SIGKILL)
        tally.lost += both[0].returncode != 0
        drop(out, "", campaign, tally)


CULPRITS = {
    "hangs in Python": ("toy-sleeper", 3), "hangs and catches what interrupts it": ("toy-stubborn", 3),
    "hangs in native code": ("toy-native", 3), "calls os._exit": ("toy-exit", 3), "segmentation fault": ("toy-crash", 3),
    "abort in native code": ("toy-abort", 3), "kills its process": ("toy-deadly", 3), "calls sys.exit": ("toy-quitter", 3),
    "raises": ("toy-broken", 3), "changes the model": ("toy-meddler", 3), "prints two megabytes per call": ("toy-loud", 0),
    "leaves threads behind": ("toy-leaky", 0), "forks": ("toy-forking", 0),
}  # fmt: skip
HUNGER = {"gets memory for one image at a time": ("40", 0), "gets memory for no image": ("200", 3)}
"""Megabytes that it takes per image, of a process that gets 100 more."""


def jobs(scale: float) -> dict[str, Callable[[Campaign, Tally], None]]:
    """Every kind of fault, with how often it is injected."""

    def times(count: int) -> int:
        return max(1, round(count * scale))

    found: dict[str, Callable[[Campaign, Tally], None]] = {}
    for kind, (_, count) in DAMAGE.items():
        found[kind] = partial(damage, kind=kind, count=times(count))
    for what, count in (("a worker", 12), ("the parent", 9), ("both", 12)):
        found[f"SIGKILL of {what}"] = partial(killed, what=what, count=times(count))
    for what, count in (("Ctrl-C", 6), ("Ctrl-C twice", 6)):
        found[what] = partial(killed, what=what, count=times(count))
    for what, (name, code) in CULPRITS.items():
        found[f"explainer {what}"] = partial(guilty, name=name, count=times(2), code=code)
    for what, (hunger, code) in HUNGER.items():
        found[f"explainer {what}"] = partial(guilty, name="toy-hungry", count=times(2), code=code, TOY_HUNGER=hunger)
    found["clock jumps by years at every look, SIGKILL of both"] = partial(jumping, count=times(4))
    found["disk full"] = partial(full_disk, count=times(4))
    found["folder read-only"] = partial(read_only, count=times(4))
    found["two runs of one folder at once"] = partial(race, count=times(4))
    return found


def table(tallies: dict[str, Tally]) -> str:
    """The result as a Markdown table."""
    lines = [
        "| fault | injected | cells lost | cells wrong | hangs | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = Tally()
    for kind, tally in tallies.items():
        for name in ("faults", "lost", "wrong", "hangs", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        injected = f"not injected: {tally.note}" if tally.note else tally.faults
        lines.append(f"| {kind} | {injected} | {tally.lost} | {tally.wrong} | {tally.hangs} | {tally.seconds:.0f} |")
    lines.append(
        f"| **all** | **{total.faults}** | **{total.lost}** | **{total.wrong}** | **{total.hangs}** | {total.seconds:.0f} |"
    )
    return "\n".join(lines) + "\n"


def run(scale: float = 1.0, only: tuple[str, ...] = (), place: Path | None = None) -> dict[str, Tally]:
    """Inject the faults of all kinds, or of those whose name holds one of the given texts."""
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(dir=place) as folder:
        campaign = Campaign(Path(folder))
        for kind, inject in jobs(scale).items():
            if only and not any(text in kind for text in only):
                continue
            tally = tallies[kind] = Tally()
            begun = time.monotonic()
            inject(campaign, tally)
            tally.seconds = time.monotonic() - begun
            print(f"{kind}: {tally}", file=sys.stderr, flush=True)
        campaign.again.end()
    return tallies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="how many faults of each kind, 1 = about 250 in all")
    parser.add_argument("--only", default="", help="kinds, by parts of their names, with commas")
    parser.add_argument("--out", type=Path, help="file for the table")
    given = parser.parse_args()
    text = table(run(given.scale, tuple(word for word in given.only.split(",") if word)))
    print(text)
    if given.out:
        given.out.write_text(text)
