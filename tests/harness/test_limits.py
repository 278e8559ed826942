"""Explainers that hang, fork or want to end the program: each is the failure of its own cells and of nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch

import bench as package
import models
import reports
from bench import limits, protocols
from bench.checks.passes import Guard, Request
from tests.harness.support import ROOT, SMALL, values

CHOSEN = "toy-gradient,toy-noisy"


def spend(seconds):
    """Pass time in Python."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def test_a_call_that_takes_too_long_is_interrupted_and_the_next_is_not_begun():
    before = signal.getsignal(signal.SIGALRM)
    with limits.watched(0.2, {"slow": 1, "quick": 3000}, None):
        with pytest.raises(limits.Timeout, match=r"longer than --timeout 0\.2 seconds"), limits.explaining("slow"):
            spend(60)
        with pytest.raises(limits.Timeout), limits.explaining("slow"):
            pytest.fail("it must not be called again")
        limits._watch.get().seconds = 600.0  # so that nothing is too slow for it
        with limits.explaining("quick"):
            spend(0.02)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def press(swallowed: bool):
    """Ctrl-C at this moment."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        if not swallowed:
            raise


@pytest.fixture
def handler():
    """Python's own reaction to Ctrl-C, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_a_swallowed_ctrl_c_is_raised_again_before_the_next_call(handler):
    with pytest.raises(KeyboardInterrupt), limits.interruptible():
        with limits.explaining("before"):
            press(swallowed=True)
        with limits.explaining("after"):
            pytest.fail("it must not be called")
    assert signal.getsignal(signal.SIGINT) is handler
    limits.raise_interrupt()  # the next run knows nothing of it


def test_ctrl_c_that_nobody_swallows_arrives_at_once(handler):
    with pytest.raises(KeyboardInterrupt), limits.interruptible():
        press(swallowed=False)
        pytest.fail("it should have arrived")


def test_the_ctrl_c_of_a_program_that_handles_it_is_its_own():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        with limits.interruptible():
            press(swallowed=False)
            limits.raise_interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [1]


def test_a_thread_is_not_interrupted_by_ctrl_c(handler):
    went = []

    def call():
        with limits.interruptible(), limits.explaining("one"):
            went.append(1)

    with limits.interruptible():
        press(swallowed=True)
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        limits._pressed.clear()
    assert went == [1]


def test_the_time_of_the_calls_for_one_cell_adds_up(monkeypatch):
    now, real, given = [1000.0], signal.setitimer, []
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(signal, "setitimer", lambda which, *times: (given.append(times[0]), real(which, *times)))
    with limits.watched(600, {"one": 1, "two": 2}, None):
        for name, calls in (("one", 2), ("two", 4)):
            for _ in range(calls):
                with limits.explaining(name):
                    now[0] += 340
            with pytest.raises(limits.Timeout), limits.explaining(name):
                pytest.fail("it must not be called again")
    assert [seconds for seconds in given if seconds] == [600, 260, 600, 600, 520, 180]


def test_a_clock_that_rings_as_a_call_ends_does_not_ring_on(monkeypatch):
    before, real = signal.getsignal(signal.SIGALRM), signal.setitimer

    def late(which, seconds, interval=0.0):
        """It rings before it is stopped."""
        if not seconds:
            signal.raise_signal(signal.SIGALRM)
        return real(which, seconds, interval)

    monkeypatch.setattr(signal, "setitimer", late)
    with limits.watched(600, {"quick": 1}, None), limits.explaining("quick"):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_call_in_another_thread_is_interrupted_too():
    found = []

    def work():
        with limits.watched(0.2, {"slow": 1}, None):
            try:
                with limits.explaining("slow"):
                    spend(60)
            except limits.Timeout as error:
                found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert found


def test_without_a_limit_nothing_is_limited():
    with limits.watched(None, {"slow": 1}, None), limits.explaining("slow"):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_ending_the_program_is_an_error_like_others():
    with pytest.raises(limits.Quit, match=r"sys\.exit\(3\)"), limits.explaining("quitter"):
        sys.exit(3)


def test_the_second_half_of_a_fork_does_not_come_back():
    reader, writer = os.pipe()
    process = os.getpid()
    with limits.explaining("forking"):
        child = os.fork()
    os.write(writer, b"back " if os.getpid() == process else b"twice")
    os.close(writer)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert os.read(reader, 100) == b"back "
    os.close(reader)


NATIVE = """
import contextlib, itertools, pathlib
from bench import limits
limits.GRACE = 0.2
with limits.watched(0.2, {{"native": 1}}, pathlib.Path({note!r})), limits.explaining("native"):
    while True:
        # The first clock may ring before the native code begins.
        with contextlib.suppress(limits.Timeout):
            sum(itertools.repeat(0))
"""


def test_native_code_that_does_not_return_ends_its_process_with_a_note(tmp_path):
    note = tmp_path / "note"
    done = subprocess.run([sys.executable, "-c", NATIVE.format(note=str(note))], cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 1
    name, traceback = limits.hung(note)
    assert name == "native" and "most recent call first" in traceback


def test_a_note_of_a_process_that_did_not_hang_says_nothing(tmp_path):
    assert limits.hung(tmp_path / "absent") is None
    (tmp_path / "note").write_text("saliency\n")
    assert limits.hung(tmp_path / "note") is None
    with limits.watched(600, {"a": 1}, tmp_path / "other"), limits.explaining("a"):
        assert (tmp_path / "other").read_text() == "a\n"
    assert not (tmp_path / "other").exists()


def test_a_hanging_explainer_fails_alone_in_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_HURRY", "1")
    options = {**SMALL, "images": 1, "seeds": 1}
    done = package.run(**options, explainers=f"{CHOSEN},toy-sleeper", timeout=600.0, out=tmp_path / "a")
    failures = reports.Store.open(done.path).failures()
    assert {(failure["explainer"], failure["type"]) for failure in failures.values()} == {("toy-sleeper", "Timeout")}
    assert all("--timeout 600 seconds" in failure["message"] for failure in failures.values())
    alone = package.run(**options, explainers=CHOSEN, out=tmp_path / "b")
    assert values(done.path).query("explainer != 'toy-sleeper'").reset_index(drop=True).equals(values(alone.path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy-stubborn", "toy-native"])
def test_one_that_cannot_be_interrupted_costs_its_process_and_fails_alone(name, tmp_path, monkeypatch):
    options = {**SMALL, "images": 1, "seeds": 1, "suite": "smoke"}
    done = package.run(**options, explainers=f"toy-gradient,{name}", timeout=2.0, out=tmp_path / "a")
    failures = reports.Store.open(done.path).failures()
    assert {(failure["explainer"], failure["type"]) for failure in failures.values()} == {(name, "Timeout")}
    assert set(done.missing) == set(failures) and not list((done.path / "claims").iterdir())
    alone = package.run(**options, explainers="toy-gradient", out=tmp_path / "b")
    assert values(done.path).query(f"explainer != '{name}'").reset_index(drop=True).equals(values(alone.path))


def test_settings_that_an_explainer_changes_are_put_back_for_the_next_one():
    with limits.explaining("switching"):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_a_call_within_a_call_is_a_part_of_it(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with limits.watched(600, {"one": 1}, None):
        for _ in range(2):
            with limits.explaining("one"), limits.explaining("one"):
                now[0] += 290
        with limits.explaining("one"):
            now[0] += 30
        with pytest.raises(limits.Timeout), limits.explaining("one"):
            pytest.fail("it must not be called again")


def misbehaved(subject, request):
    """An explainer's own search that switches derivatives off and ends the program."""
    torch.set_grad_enabled(False)
    sys.exit(3)


def test_whatever_calls_an_explainer_is_guarded_alike():
    subject = models.load("fmnist-lenet")
    images, targets = subject.sample(2, seed=0)
    guard = Guard(subject, Request(images, targets, 0, protocols.get("recommended")))
    with pytest.raises(limits.Quit, match=r"sys\.exit\(3\)"):
        guard.call("misbehaved", misbehaved)
    assert torch.is_grad_enabled()
    with limits.watched(0.2, {"slow": 1}, None), pytest.raises(limits.Timeout):
        guard.call("slow", lambda subject, request: spend(60))
    assert guard.call("quick", lambda subject, request: len(request.images)) == 2
