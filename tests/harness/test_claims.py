"""Marks divide the work of one folder among runs; those of the dead stop nobody."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest

import bench
import reports
from bench import claims, worker
from bench.claims import Claims
from bench.config import resolve
from bench.pool import Pool
from bench.runner import context, open_folder, prepare
from tests.harness.support import ROOT, SMALL, command, environment, same, toy_run

NAME = "0123456789abcdef"


@pytest.fixture
def marks(tmp_path):
    """The marks of an empty folder."""
    return Claims(tmp_path)


def left(marks, **change):
    """A mark that somebody left."""
    marks.folder.mkdir(exist_ok=True)
    mark = {"label": "x", "host": socket.gethostname(), "process": os.getpid(), "run": "other", "beat": 0, **change}
    (marks.folder / NAME).write_text(json.dumps(mark))
    return mark


def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_shard_is_marked_while_it_is_computed(marks):
    with marks.taken(NAME, "label", "mine") as free:
        assert free and marks.live()[NAME]["label"] == "label" and marks.of("mine").keys() == {NAME}
    assert marks.all() == {} and list(marks.folder.iterdir()) == []


def test_what_another_run_computes_is_left_to_it(marks):
    mark = left(marks)
    with marks.taken(NAME, "label", "mine") as free:
        assert not free
    assert marks.all() == {NAME: mark}


def test_a_run_takes_its_own_shard_again(marks):
    left(marks, run="mine")
    with marks.taken(NAME, "label", "mine") as free:
        assert free


def test_the_shard_of_a_dead_process_is_taken_over_and_the_deaths_are_counted(marks):
    left(marks, process=dead(), deaths=1)
    assert marks.live() == {} and marks.deaths(NAME) == 2
    with marks.taken(NAME, "label", "mine") as free:
        assert free and marks.all()[NAME]["deaths"] == 2
    assert marks.deaths(NAME) == 0


def test_a_process_that_got_the_number_of_a_dead_one_is_another(marks):
    assert claims.process_lives(os.getpid(), claims.started(os.getpid()))
    if claims.started(os.getpid()) is not None:
        assert not claims.process_lives(os.getpid(), "1")


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = claims.started(process.pid)
    assert claims.process_lives(process.pid, born)
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    if born is not None:
        assert claims.started(process.pid) == "" and not claims.process_lives(process.pid, born)
    process.wait()
    assert not claims.process_lives(process.pid)


@pytest.mark.parametrize("process", [None, "7", -1, 0, 1.5])
def test_what_is_no_number_of_a_process_lives_not(process):
    assert not claims.process_lives(process)


def test_a_mark_of_another_machine_holds_as_long_as_it_changes(marks, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    for beat in range(3):
        left(marks, host="elsewhere", beat=beat)
        now[0] += claims.EXPIRE - 1
        assert marks.live() and marks.live()
    now[0] += claims.EXPIRE
    assert marks.live() == {} and marks.deaths(NAME) == 1


def test_clocks_that_are_set_back_or_forth_expire_nothing(marks, monkeypatch):
    left(marks, host="elsewhere")
    assert marks.live()
    os.utime(marks.folder / NAME, (0, 0))
    monkeypatch.setattr(claims.time, "time", lambda: 4e9)
    assert marks.live()


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"host": 5, "process": {}}', "\x00" * 99])
def test_torn_marks_stop_nobody(content, marks, monkeypatch):
    marks.folder.mkdir()
    (marks.folder / NAME).write_text(content)
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    marks.live()
    now[0] += 2 * claims.EXPIRE
    with marks.taken(NAME, "label", "mine") as free:
        assert free


def test_a_run_that_ends_in_good_order_leaves_nothing(marks):
    left(marks, run="mine")
    (marks.folder / NAME).rename(marks.folder / "a")
    left(marks, process=dead())
    (marks.folder / NAME).rename(marks.folder / "b")
    left(marks)
    marks.release("mine")
    assert set(marks.all()) == {NAME}


def test_a_worker_signs_that_it_lives(marks, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with marks.taken(NAME, "label", "mine"):
        end = time.monotonic() + 60
        while marks.all()[NAME]["beat"] <= 2:
            assert time.monotonic() < end, "no signs of life"
            time.sleep(0.02)
    assert list(marks.folder.iterdir()) == []


def test_a_sign_of_life_that_is_being_written_does_not_outlive_the_mark(marks, monkeypatch):
    writing, ended, real = threading.Event(), threading.Event(), claims._write

    def slow(path, mark, **how):
        if mark["beat"]:
            writing.set()
            ended.wait(0.3)
        return real(path, mark, **how)

    monkeypatch.setattr(claims, "BEAT", 0.01)
    monkeypatch.setattr(claims, "_write", slow)
    with marks.taken(NAME, "label", "mine"):
        assert writing.wait(60)
    assert list(marks.folder.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_begin_at_the_same_moment_one_gets_the_shard(links, marks, monkeypatch):
    """The other one sets its mark after it was seen that there is none; also where the disk has no hard links."""
    real, theirs = os.link, ExitStack()

    def link(source, target):
        if json.loads(source.read_text())["run"] == "mine":
            assert theirs.enter_context(Claims(marks.store).taken(NAME, "label", "theirs"))
        if not links:
            raise PermissionError("no links here")
        real(source, target)

    monkeypatch.setattr(claims.os, "link", link)
    with theirs, marks.taken(NAME, "label", "mine") as free:
        assert not free and marks.all()[NAME]["run"] == "theirs"
    assert list(marks.folder.iterdir()) == []


def test_what_a_killed_process_had_half_written_goes_with_the_run(marks):
    marks.folder.mkdir()
    names = [f".{NAME}.{claims._HOST}.{process}.00.tmp" for process in (dead(), os.getpid())]
    names.append(f".{NAME}.elsewhere.{dead()}.00.tmp")
    for name in names:
        (marks.folder / name).write_text("{")
    marks.release("mine")
    assert {path.name for path in marks.folder.iterdir()} == set(names[1:])


def test_the_note_of_a_worker_that_begins_while_another_run_ends_stays(marks, monkeypatch):
    real, begun = Claims.all, []

    def all_marks(self):
        found = real(self)
        begun.append(left(marks))
        (marks.folder / NAME).rename(marks.folder / f"{len(begun):016x}")
        (marks.folder / f"{len(begun):016x}.note").write_text("saliency\n")
        return found

    monkeypatch.setattr(Claims, "all", all_marks)
    marks.release("mine")
    assert len(list(marks.folder.glob("*.note"))) == len(begun) > 0


def test_a_worker_does_nothing_where_another_is_at_work(tmp_path):
    prepared = prepare(
        resolve({**SMALL, "explainers": "toy-gradient", "images": 1, "seeds": 1, "out": str(tmp_path / "a")})
    )
    store = open_folder(prepared)
    shard = prepared.plan.shards(prepared.plan.tasks)[0]
    here = Claims(store.path)
    common = context(prepared, Pool(1), store, "mine").to_json()
    with here.taken(shard.id, "x", "theirs"):
        status = json.loads(worker.run_shard(common, shard.to_json()))
    assert status["busy"] and not status["done"] and store.done() == set()
    assert not json.loads(worker.run_shard(common, shard.to_json()))["busy"]
    assert store.done() == {cell["key"] for cell in shard.cells}


@pytest.mark.slow
def test_two_runs_of_one_folder_divide_the_work(tmp_path, monkeypatch):
    words = toy_run(tmp_path / "a", explainers="toy-gradient,toy-slow", jobs=1)
    calls = {name: tmp_path / name for name in ("together", "alone")}
    # The first call of each waits for the other, so that neither is done before both are there.
    shared = {"TOY_CALLS": str(calls["together"]), "TOY_TOGETHER": "2"}
    both = [
        subprocess.Popen(
            command(*words),
            cwd=ROOT,
            env=environment(TOY_SLEEP=pause, **shared),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pause in ("0.2", "0.3")
    ]
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    monkeypatch.setenv("TOY_SLEEP", "0")
    monkeypatch.setenv("TOY_CALLS", str(calls["alone"]))
    bench.run(**SMALL, explainers="toy-gradient,toy-slow", out=tmp_path / "b")
    same(tmp_path / "a", tmp_path / "b")
    shares = Counter(calls["together"].read_text().split())
    needed = len(calls["alone"].read_text().split())
    assert set(shares) == {str(process.pid) for process in both}, "one of them computed nothing"
    assert needed <= sum(shares.values()) < 1.3 * needed, (shares, needed)
    assert not list((tmp_path / "a" / "claims").iterdir())
    assert reports.Store.open(tmp_path / "a").damaged() == []
