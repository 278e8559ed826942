import subprocess
import sys

import pytest

from bench import devices
from models.naming import UsageError


@pytest.mark.parametrize(
    ("text", "count", "found"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cpu", 2, ["cpu"]),
        ("cuda", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cuda:1,cuda:0", 2, ["cuda:1", "cuda:0"]),
    ],
)
def test_devices_that_are_here(text, count, found):
    assert devices.available(text, count=lambda: count) == found


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:0,cuda:7"])
def test_devices_that_are_not_here_are_refused(text):
    with pytest.raises(UsageError, match="this machine has cpu"):
        devices.available(text, count=lambda: 0)


@pytest.mark.parametrize("text", ["", "gpu", "cpu,cuda:0", "cuda:x"])
def test_texts_that_name_no_device_are_refused(text):
    with pytest.raises(UsageError, match="allowed are"):
        devices.check_device(text)


def test_slots_spread_processes_over_devices(tmp_path):
    code = (
        "import sys, pathlib; from bench.devices import take_slot; "
        f"print(take_slot(['cuda:0', 'cuda:1'], 1, pathlib.Path({str(tmp_path)!r})), flush=True); sys.stdin.read()"
    )
    taken = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        taken.append((process, process.stdout.readline().strip()))
    assert sorted(device for _, device in taken) == ["cuda:0", "cuda:1"]
    taken[0][0].kill()
    taken[0][0].wait()
    # The lock of a dead process is free again.
    again = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, check=True)
    assert again.stdout.strip() == taken[0][1]
    taken[1][0].kill()
    for process, _ in taken:
        process.communicate()


def test_memory_that_ran_out_is_recognised():
    assert devices.out_of_memory(MemoryError())
    assert devices.says_out_of_memory("OutOfMemoryError", "")
    assert not devices.out_of_memory(ValueError("out of memory of what was said"))


def test_the_batch_is_halved_down_to_one_image():
    sizes, size = [], 16
    while (size := devices.smaller_batch(size)) is not None:
        sizes.append(size)
    assert sizes == [8, 4, 2, 1]
