"""Workers that die, processes that are killed, Ctrl-C, full disks: what is finished is kept, and going on gives the same."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import bench as package
import reports
from reports import files
from tests.harness.support import ROOT, SMALL, bench, command, environment, jumping_clock, same, toy_run, values

CHOSEN = "toy-gradient,toy-noisy,toy-slow"


def start(*words: object, **extra: str) -> subprocess.Popen[str]:
    """Start `bench` in a process group of its own, listening to Ctrl-C even where the tests run in the background."""
    return subprocess.Popen(
        command(*words), cwd=ROOT, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(condition, process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait until something is so, or the process has ended."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nothing disturbed, with one process."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    return package.run(**SMALL, explainers=CHOSEN, out=out).path


def kill_and_go_on(out, times: int, seed: int, **extra: str) -> int:
    """Kill the process group at random moments, then let the command finish; returns how often it was killed at work."""
    moments = random.Random(seed)
    words = toy_run(out, "--quiet", explainers=CHOSEN, jobs=2)
    at_work = 0
    for number in range(times):
        # It finishes some records and then waits to be killed, however quick this machine is.
        process = start(*words, TOY_SLEEP="0.3", TOY_HOLD=f"{out}:{2 * number}", **extra)
        wait_for((out / "claims").exists, process)
        time.sleep(moments.uniform(0.0, 2.5))
        at_work += process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = bench(*words, **extra)
    assert done.returncode == 0, done.stderr
    return at_work


def test_going_on_after_sigkill_gives_the_records_of_an_undisturbed_run(undisturbed, tmp_path):
    assert kill_and_go_on(tmp_path / "a", times=2, seed=1) == 2
    same(tmp_path / "a", undisturbed)


@pytest.mark.slow
def test_going_on_after_ten_sigkills_gives_the_records_of_an_undisturbed_run(undisturbed, tmp_path):
    assert kill_and_go_on(tmp_path / "a", times=10, seed=2) > 5
    same(tmp_path / "a", undisturbed)


@pytest.mark.slow
def test_a_clock_that_jumps_by_years_at_every_look_changes_nothing(undisturbed, tmp_path):
    log = tmp_path / "looked"
    assert kill_and_go_on(tmp_path / "a", times=1, seed=3, **jumping_clock(log)) == 1
    # The command and its workers, before the kill and after it.
    assert len(log.read_text().split()) >= 4
    same(tmp_path / "a", undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit the memory of a process")
@pytest.mark.parametrize(("hunger", "code"), [("40", 0), ("200", 3)])
def test_a_worker_that_gets_no_more_memory(hunger, code, undisturbed, tmp_path):
    words = toy_run(tmp_path / "a", "--quiet", explainers=f"{CHOSEN},toy-hungry", jobs=2)
    done = bench(*words, TOY_HUNGER=hunger)
    assert done.returncode == code, done.stderr
    store, found = reports.Store.open(tmp_path / "a"), values(tmp_path / "a")
    others = found[found["explainer"] != "toy-hungry"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, values(undisturbed), check_exact=True)
    notes = [note for record in store.provenance().values() for note in record.get("memory-ran-out", {}).values()]
    assert {(note["explainer"], note["images-at-once"]) for note in notes} == {("toy-hungry", 1)}
    assert all("allocate memory" in note["error"] for note in notes)
    failed = {(failure["explainer"], failure["type"]) for failure in store.failures().values()}
    assert failed == ({("toy-hungry", "RuntimeError")} if code else set())


def test_one_process_and_two_give_the_same_bits(undisturbed, tmp_path):
    done = bench(*toy_run(tmp_path / "a", "--quiet", explainers=CHOSEN, jobs=2))
    assert done.returncode == 0, done.stderr
    same(tmp_path / "a", undisturbed)


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(undisturbed, tmp_path):
    out = tmp_path / "a"
    words = toy_run(out, explainers=CHOSEN, jobs=2)
    process = start(*words, TOY_HOLD=f"{out}:1")
    wait_for(lambda: list(out.glob("records/*/*.parquet")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert "goes on where this one stopped" in said and "Traceback" not in said
    assert len(values(out))
    assert bench(*words).returncode == 0
    same(out, undisturbed)


def test_ctrl_c_with_one_process(tmp_path):
    out = tmp_path / "a"
    process = start(*toy_run(out, explainers=CHOSEN, jobs=1), TOY_HOLD=f"{out}:0")
    wait_for(lambda: list(out.glob("claims/*")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130 and "Traceback" not in said, said


def test_ctrl_c_that_foreign_code_swallows_still_stops_the_run(tmp_path):
    process = start(*toy_run(tmp_path / "a", explainers="toy-unlucky,toy-gradient", jobs=1))
    _, said = process.communicate(timeout=240)
    assert "Exception ignored in" in said, "the destructor should have swallowed it"
    assert process.returncode == 130 and "goes on where this one stopped" in said, said
    assert len(reports.Store.open(tmp_path / "a").done()) < 4


def test_an_interrupt_inside_exec_keeps_its_exit_code(tmp_path):
    (tmp_path / "program.py").write_text(
        "from bench.cli.guard import guarded\nimport typer\napp = typer.Typer()\n@app.command()\ndef main():\n"
        "    with guarded():\n        exec('raise KeyboardInterrupt')\napp()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 130, done


def test_an_explainer_that_kills_its_process_fails_alone(tmp_path):
    done = bench(*toy_run(tmp_path / "a", explainers="toy-gradient,toy-deadly", jobs=2))
    assert done.returncode == 3, done.stderr
    failures = reports.Store.open(tmp_path / "a").failures()
    assert {(failure["explainer"], failure["type"]) for failure in failures.values()} == {("toy-deadly", "WorkerDied")}
    alone = package.run(**SMALL, explainers="toy-gradient", out=tmp_path / "b")
    others = values(tmp_path / "a").query("explainer != 'toy-deadly'").reset_index(drop=True)
    assert others.equals(values(alone.path))


@pytest.mark.slow
def test_explainers_that_misbehave_in_many_ways_in_one_run(undisturbed, tmp_path):
    guilty = {
        "toy-crash": "WorkerDied",
        "toy-exit": "WorkerDied",
        "toy-quitter": "Quit",
        "toy-broken": "RuntimeError",
    }
    harmless = ("toy-loud", "toy-leaky", "toy-forking")
    chosen = ",".join((CHOSEN, *guilty, *harmless))
    done = bench(*toy_run(tmp_path / "a", "--quiet", explainers=chosen, jobs=2), timeout=480)
    assert done.returncode == 3 and len(done.stdout) < 20_000, done.stderr[-2000:]
    failures = reports.Store.open(tmp_path / "a").failures()
    assert {failure["explainer"]: failure["type"] for failure in failures.values()} == guilty
    found, expected = values(tmp_path / "a"), values(undisturbed)
    assert found[found["cell"].isin(set(expected["cell"]))].reset_index(drop=True).equals(expected)
    answered = set(found[found["status"] == "ok"]["explainer"])
    assert set(harmless) <= answered and not set(guilty) & answered


def test_a_worker_that_dies_once_leaves_no_trace(tmp_path):
    words = toy_run(tmp_path / "a", explainers="toy-gradient,toy-once", jobs=2)
    done = bench(*words, TOY_MARK=str(tmp_path / "mark"))
    assert (tmp_path / "mark").exists()
    assert done.returncode == 0, done.stderr
    assert not reports.Store.open(tmp_path / "a").failures()


def test_a_full_disk_is_one_message_and_finished_cells_are_kept(tmp_path, monkeypatch):
    real, written = files.write, []

    def full(path, data):
        if "records" in path.parts:
            if len(written) == 5:
                raise files.unwritable(path, OSError(28, "No space left on device"))
            written.append(path)
        real(path, data)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(ValueError, match="the disk is full"):
        package.run(**SMALL, explainers="toy-gradient", out=tmp_path / "a")
    assert len(reports.Store.open(tmp_path / "a").done()) == 5
    monkeypatch.setattr(files, "write", real)
    assert package.run(**SMALL, explainers="toy-gradient", out=tmp_path / "a").complete


def test_a_torn_record_counts_as_missing(undisturbed, tmp_path):
    done = package.run(**SMALL, explainers=CHOSEN, out=tmp_path / "a")
    torn = sorted(done.path.glob("records/*/*.parquet"))[:2]
    for file in torn:
        file.write_bytes(file.read_bytes()[:-40])
    again = package.run(**SMALL, explainers=CHOSEN, out=done.path)
    assert again.computed == 2 and again.complete
    same(done.path, undisturbed)


def test_workers_do_not_outlive_the_command(tmp_path):
    process = start(*toy_run(tmp_path / "a", explainers=CHOSEN, jobs=2), TOY_HOLD=f"{tmp_path / 'a'}:0")
    wait_for(lambda: list((tmp_path / "a").glob("claims/*")), process)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=240)
    end = time.monotonic() + 120
    while time.monotonic() < end and _members(process.pid):
        time.sleep(0.2)
    assert not _members(process.pid)


def _members(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if "Z" not in line]
