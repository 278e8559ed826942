"""Damage to the files of a run folder, each kind a function of a source of chance and the folder."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from reports.store import Store


def files_of(out: Path, kind: str = "records") -> list[Path]:
    """The files of one kind in a run folder."""
    return sorted(path for path in (out / kind).rglob("*") if path.is_file())


def torn(draw: random.Random, out: Path) -> None:
    path = draw.choice(files_of(out))
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


def emptied(draw: random.Random, out: Path) -> None:
    draw.choice(files_of(out)).write_bytes(b"")


def flipped(draw: random.Random, out: Path, kind: str = "records") -> None:
    path = draw.choice(files_of(out, kind))
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def swapped(draw: random.Random, out: Path) -> None:
    one, other = draw.sample(files_of(out), 2)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def grown(draw: random.Random, out: Path) -> None:
    with draw.choice(files_of(out)).open("ab") as file:
        file.write(draw.randbytes(draw.randrange(1, 2000)))


def deleted(draw: random.Random, out: Path) -> None:
    draw.choice(files_of(out)).unlink()


def replaced_by_a_folder(draw: random.Random, out: Path) -> None:
    path = draw.choice(files_of(out))
    path.unlink()
    path.symlink_to(out / "nowhere")


def in_a_pack(draw: random.Random, out: Path) -> None:
    store = Store.open(out)
    store.compact(least=1)
    flipped(draw, out, "packs")


def clock(draw: random.Random, out: Path) -> None:
    """Times of files that lie decades before or after now."""
    for path in files_of(out):
        moment = draw.choice([0.0, 1e8, 4e9])
        os.utime(path, (moment, moment))
    flipped(draw, out)


def stale_mark(draw: random.Random, out: Path) -> None:
    """Marks of dead processes, torn marks, and what a dead writer leaves."""
    deleted(draw, out)
    (out / "claims").mkdir(exist_ok=True)
    name = f"{draw.getrandbits(64):016x}"
    content = ['{"label": "x", "host": "h", "process": 1}', "{", '{"process": "x", "host": 5}', "[]"]
    (out / "claims" / name).write_text(draw.choice(content))
    (out / "records" / "00").mkdir(parents=True, exist_ok=True)
    (out / "records" / "00" / ".x.parquet.host.1.uuid.tmp").write_bytes(b"half")


DAMAGE: dict[str, tuple[Callable[[random.Random, Path], None], int]] = {
    "record file cut at a random place": (torn, 25),
    "record file emptied": (emptied, 8),
    "one bit of a record file flipped": (flipped, 30),
    "two record files swapped": (swapped, 20),
    "bytes appended to a record file": (grown, 8),
    "record file deleted": (deleted, 8),
    "record file replaced by a dead link": (replaced_by_a_folder, 6),
    "one bit of a pack flipped": (in_a_pack, 10),
    "clock set decades off, one bit flipped": (clock, 8),
    "marks and half-written files of dead processes": (stale_mark, 10),
}
