import torch

from models.transfer import chunks, moved


class Pretended:
    """Images that write down what is done with them, as if there were a GPU."""

    def __init__(self, count, log, device="cpu", name="all"):
        self.count, self.log, self.device, self.name = count, log, torch.device(device), name

    def __len__(self):
        return self.count

    def __getitem__(self, part):
        start, stop, _ = part.indices(self.count)
        return Pretended(stop - start, self.log, self.device, f"{start}:{stop}")

    def pin_memory(self):
        self.log.append(("pinned", self.name))
        return self

    def to(self, device, non_blocking=False):
        self.log.append(("copied", self.name, str(device), non_blocking))
        return Pretended(self.count, self.log, device, self.name)


def test_on_the_way_to_a_gpu_images_are_pinned_and_nobody_waits():
    log = []
    assert moved(Pretended(3, log), "cuda:1").device == torch.device("cuda:1")
    assert log == [("pinned", "all"), ("copied", "all", "cuda:1", True)]


def test_what_is_on_a_gpu_or_stays_on_the_processor_is_not_pinned():
    log = []
    moved(Pretended(3, log, "cuda:0"), "cuda:0")
    moved(Pretended(3, log, "cuda:0"), "cpu")
    moved(Pretended(3, log), "cpu")
    assert not [step for step in log if step[0] == "pinned" or step[-1] is True]


def test_the_next_chunk_is_on_its_way_while_one_is_used():
    log = []
    for chunk in chunks(Pretended(5, log), 2, "cuda"):
        log.append(("used", chunk.name))
    assert [step[:2] for step in log if step[0] != "pinned"] == [
        ("copied", "0:2"), ("copied", "2:4"), ("used", "0:2"), ("copied", "4:5"), ("used", "2:4"), ("used", "4:5"),
    ]  # fmt: skip


def test_chunks_are_the_images_in_their_order():
    images = torch.arange(7.0)
    for size in (1, 3, 7, 100):
        assert torch.equal(torch.cat(list(chunks(images, size, "cpu"))), images)
    assert list(chunks(images[:0], 3, "cpu")) == []
    assert moved(images, "cpu") is images
