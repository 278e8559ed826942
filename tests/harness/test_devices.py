import os
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
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
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


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_memory_that_really_ran_out_is_recognised_also_by_what_was_written_down(library):
    import numpy
    import torch

    take = torch.empty if library == "torch" else numpy.empty
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        take(1 << 50)
    assert devices.out_of_memory(caught.value)
    assert devices.says_out_of_memory(type(caught.value).__name__, str(caught.value))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("AcceleratorError", "CUDA error: out of memory"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_what_a_gpu_says_when_its_memory_ran_out(kind, message):
    assert devices.says_out_of_memory(kind, message)
    assert not devices.says_out_of_memory("ValueError", message)


def test_the_batch_is_halved_down_to_one_image():
    sizes, size = [], 16
    while (size := devices.smaller_batch(size)) is not None:
        sizes.append(size)
    assert sizes == [8, 4, 2, 1]


HOLD = (
    "import sys, pathlib; from bench.devices import take_slot; "
    "print(take_slot({devices!r}, {slots}, pathlib.Path({place!r})), flush=True); sys.stdin.read()"
)


def held(place, devices, slots, count, **extra):
    """So many processes that hold a slot each, and what each got."""
    code = HOLD.format(devices=devices, slots=slots, place=str(place))
    environment = {**os.environ, **extra}
    made = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(count)
    ]
    return made, [process.stdout.readline().strip() for process in made]


def end(processes):
    for process in processes:
        process.kill()
        process.communicate()


def test_every_device_has_as_many_workers_as_it_has_slots(tmp_path):
    processes, taken = held(tmp_path, ["cuda:0", "cuda:1"], 2, 4)
    try:
        assert sorted(taken) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
        assert len(list(tmp_path.iterdir())) == 4
    finally:
        end(processes)


def test_a_slot_is_one_of_the_real_device_whatever_is_visible(tmp_path):
    first, taken = held(tmp_path, ["cuda:0"], 1, 1, CUDA_VISIBLE_DEVICES="3,5")
    # The same number is another device here, and the same device has another number.
    second, _ = held(tmp_path, ["cuda:0"], 1, 1, CUDA_VISIBLE_DEVICES="5")
    third, shared = held(tmp_path, ["cuda:1", "cuda:0"], 1, 1, CUDA_VISIBLE_DEVICES="7,3")
    try:
        assert taken == ["cuda:0"] and len({path.name for path in tmp_path.iterdir()}) == 3
        assert shared == ["cuda:0"]
    finally:
        end([*first, *second, *third])


def test_a_slot_is_kept_by_the_process_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_held", {})
    assert [devices.take_slot(["cuda:0", "cuda:1"], 1, tmp_path) for _ in range(3)] == ["cuda:0"] * 3
    assert devices.take_slot(["cpu"]) == "cpu"


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_held", {})
    victim = tmp_path / "victim"
    victim.write_text("dear reader")
    place = tmp_path / "locks"
    place.mkdir()
    (place / f"{devices._HOST}.cuda-0.0.lock").symlink_to(victim)
    with pytest.raises(UsageError, match="remove it"):
        devices.take_slot(["cuda:0"], 1, place)
    assert victim.read_text() == "dear reader"


def test_a_folder_of_locks_that_is_a_link_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_held", {})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="belongs to somebody else"):
        devices.take_slot(["cuda:0"], 1, tmp_path / "locks")


def test_a_gpu_is_warmed_up_before_anything_is_timed(monkeypatch):
    from types import SimpleNamespace

    import torch

    log = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("waited"))

    def subject(kind, logits):
        image = SimpleNamespace(to=lambda device: torch.ones(1, 1, 2, 2))
        data = SimpleNamespace(load=lambda indices: image)
        return SimpleNamespace(device=torch.device(kind), data=data, logits=logits)

    def differentiable(images):
        log.append("passed")
        images.register_hook(lambda gradient: log.append("returned"))
        return images.flatten(1) * 2

    devices.warm_up(subject("cpu", differentiable))
    assert not log
    devices.warm_up(subject("cuda", differentiable))
    assert log == ["passed", "returned", "waited"]
    devices.warm_up(subject("cuda", lambda images: torch.ones(1, 3)))
    assert log == ["passed", "returned", "waited", "waited"]
