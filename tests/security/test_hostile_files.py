"""Files made to harm: each is refused in one sentence, nothing in it runs, and nothing grows out of bounds."""

import contextlib
import io
import json
import os
import pickle
import random
import resource
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, PngImagePlugin

from models import data
from models.naming import UsageError
from reports import files, pictures, schema
from reports.files import DamagedFile, RunFolderError
from reports.store import Store

KEY = "ab" * 32
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.fixture
def mark(tmp_path):
    """A file that exists if hostile code ran; the test fails then."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists()


@pytest.fixture
def memory():
    """Fails if the process grew by more than 400 MB at any moment."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 400_000


def npz(path, members, compression=zipfile.ZIP_DEFLATED):
    """A zip archive with these members, whatever they are."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def header(shape, kind="|u1", body=b""):
    """The bytes of an `.npy` that declares a shape and holds something else."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + body


GOOD = {"images.npy": npy(np.zeros((2, 4, 4), np.uint8)), "labels.npy": npy(np.zeros(2, np.int64))}


def hostile_archives(mark):
    """Name -> members of an `.npz` that must be refused."""
    evil = np.array([Evil(mark)], dtype=object)
    return {
        "objects": {"images.npy": npy(evil, True), "labels.npy": npy(evil, True)},
        "pickled-labels": {**GOOD, "labels.npy": npy(evil, True)},
        "a-bare-pickle": {**GOOD, "images.npy": pickle.dumps(Evil(mark))},
        "a-name-with-a-path": {"../../images.npy": GOOD["images.npy"], "/labels.npy": GOOD["labels.npy"]},
        "more-declared-than-there-is": {**GOOD, "images.npy": header((10**12, 32, 32))},
        "more-than-an-address": {**GOOD, "images.npy": header((2**62, 2**62))},
        "negative": {**GOOD, "images.npy": header((-1, 32, 32))},
        "code-in-the-header": {
            **GOOD,
            "images.npy": b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').system('x')".ljust(64),
        },
        "text": {**GOOD, "images.npy": npy(np.array(["a", "b"]))},
        "empty-member": {**GOOD, "images.npy": b""},
        "complex": {**GOOD, "images.npy": npy(np.zeros((2, 4, 4), np.complex64))},
    }


@pytest.mark.parametrize("name", sorted(hostile_archives("x")))
def test_hostile_archives_of_images_are_refused(name, tmp_path, mark, memory):
    path = npz(tmp_path / "images.npz", hostile_archives(mark)[name])
    with pytest.raises(UsageError, match=r"images\.npz"):
        data.load_data(str(path))


def test_a_bomb_of_an_archive_is_refused_before_it_is_unpacked(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(data, "MAX_BYTES", 1 << 20)
    path = npz(tmp_path / "bomb.npz", {**GOOD, "images.npy": npy(np.zeros((64, 256, 256), np.uint8))})
    assert path.stat().st_size < 10_000
    with pytest.raises(UsageError, match=r"when unpacked; at most 1,048,576"):
        data.load_data(str(path))


def test_a_compressed_idx_file_that_never_ends_is_refused(tmp_path, monkeypatch):
    import gzip

    monkeypatch.setattr(data, "MAX_IDX", 1 << 16)
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(UsageError, match="more than 65,536 bytes"):
        data._idx(tmp_path / "x.gz", 3)


def test_hostile_pictures_of_a_run_folder_are_damaged_files(tmp_path, mark, memory, monkeypatch):
    evil = np.array([Evil(mark)], dtype=object)
    meta = np.frombuffer(b"{}", np.uint8)
    deep = np.frombuffer(b"[" * 100_000, np.uint8)
    monkeypatch.setattr(pictures, "MAX_BYTES", 1 << 20)
    hostile = [
        {"maps.npy": npy(evil, True), "meta.json.npy": npy(meta)},
        {"maps.npy": npy(np.zeros((1, 64, 256, 256), np.float16)), "meta.json.npy": npy(meta)},
        {"maps.npy": header((10**12,), "<f2"), "meta.json.npy": npy(meta)},
        {"maps.npy": npy(np.zeros((1, 2, 3), np.float16)), "meta.json.npy": npy(meta)},
        {"meta.json.npy": npy(deep)},
        {"meta.json.npy": npy(np.frombuffer(b"[]", np.uint8))},
        {"meta.json.npy": pickle.dumps(Evil(mark))},
        {},
    ]
    for members in hostile:
        with pytest.raises(DamagedFile):
            pictures.decode(npz(tmp_path / f"{KEY}.npz", members))


def test_flipped_and_cut_archives_are_refused_in_one_sentence(tmp_path):
    draw = random.Random(0)
    whole = npz(tmp_path / "images.npz", GOOD).read_bytes()
    picture = pictures.encode({"maps": np.zeros((1, 2, 4, 4)), "images": np.zeros((1, 1, 4, 4))}, {"explainer": "e"})
    for number in range(300):
        broken = bytearray(whole if number % 2 else picture)
        for _ in range(draw.randint(1, 6)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        broken = broken[: draw.randrange(len(broken))] if number % 5 == 0 else broken
        path = tmp_path / f"{number}.npz"
        path.write_bytes(broken)
        try:
            if number % 2:
                data.load_data(str(path))
            else:
                pictures.decode(path)
        except (UsageError, DamagedFile):
            pass


def png(width, height, extra=b""):
    """A small file that says it is an image of this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(65_000, 65_000), (10_000, 10_000), (2**31 - 1, 1), (0, 5)])
def test_images_that_say_they_are_huge_are_not_decoded(size, tmp_path, memory):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with pytest.raises(UsageError, match=r"bomb\.png"):
        data.decode(tmp_path / "bomb.png")


def test_a_text_in_an_image_that_never_ends_is_refused(tmp_path, memory):
    note = PngImagePlugin.PngInfo()
    note.add_text("a", "x" * 50_000_000, zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "note.png", pnginfo=note)
    with pytest.raises(UsageError, match=r"note\.png"):
        data.decode(tmp_path / "note.png")


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "PDF"])
def test_formats_beyond_the_named_ones_are_not_tried_whatever_the_name_says(kind, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "image", format=kind)
    os.rename(tmp_path / "image", tmp_path / "image.png")
    with pytest.raises(UsageError, match="cannot be decoded"):
        data.decode(tmp_path / "image.png")


def test_flipped_images_are_decoded_or_refused(tmp_path):
    draw = random.Random(1)
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(buffer, kind)
        for _ in range(60):
            broken = bytearray(buffer.getvalue())
            for _ in range(draw.randint(1, 8)):
                broken[draw.randrange(len(broken))] = draw.randrange(256)
            (tmp_path / "image.png").write_bytes(broken)
            with contextlib.suppress(UsageError):
                assert data.decode(tmp_path / "image.png").dtype == np.uint8


def test_what_only_looks_like_an_image_file_is_passed_over(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "a" / "one.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert len(data.load_data(str(tmp_path))) == 1


def test_a_checkpoint_of_torchvision_is_never_unpickled(tmp_path, mark, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    from torchvision.models import get_model_weights

    name = get_model_weights("squeezenet1_1").DEFAULT.url.rpartition("/")[2]
    torch.save(Evil(mark), folder / name)
    import models

    with pytest.raises(UsageError, match="squeezenet1_1"):
        models.load("torchvision:squeezenet1_1?weights=DEFAULT")
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.bin", "data.pkl", "data.npy"])
def test_files_that_may_hold_pickles_are_no_model_and_no_data(name, tmp_path, mark):
    import models

    (tmp_path / name).write_bytes(pickle.dumps(Evil(mark)))
    for ask in (lambda: models.load(str(tmp_path / name)), lambda: data.load_data(str(tmp_path / name))):
        with pytest.raises(UsageError):
            ask()


def test_damaged_weights_of_the_zoo_are_refused(tmp_path, monkeypatch):
    import shutil

    import models
    from models.zoo import catalogue

    shutil.copytree(catalogue.FOLDER, tmp_path / "weights")
    draw = random.Random(2)
    for path in (tmp_path / "weights").glob("*.safetensors"):
        broken = bytearray(path.read_bytes())
        broken[draw.randrange(len(broken))] ^= 1
        path.write_bytes(struct.pack("<Q", 2**63) + broken[8:] if draw.random() < 0.5 else broken)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "weights")
    with pytest.raises(UsageError):
        models.load("fmnist-vgg")


def test_weights_that_are_flipped_cut_or_lie_are_read_or_refused_in_one_sentence(tmp_path):
    from safetensors.torch import save_file

    import models
    from explainers.contrastive import fits

    path = tmp_path / "fashion-mnist-vae.safetensors"
    tensors = {"a.weight": torch.rand(3, 4), "b": torch.rand(5)}
    save_file(tensors, path, {"report": '{"loss": 1.0}'})
    whole = path.read_bytes()
    head = struct.unpack("<Q", whole[:8])[0]
    draw = random.Random(0)
    damaged = [whole[: draw.randrange(len(whole))] for _ in range(20)]
    for _ in range(200):
        broken = bytearray(whole)
        broken[draw.randrange(8 + head if draw.random() < 0.7 else len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(broken))
    header = json.loads(whole[8 : 8 + head])
    lies = [
        {**header, "__metadata__": {"report": text}} for text in ("[" * 100_000, "5", "{")
    ] + [
        {**header, "b": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [48, 68]}},
        {**header, "b": {"dtype": "F32", "shape": [5], "data_offsets": [48, 2**62]}},
    ]  # fmt: skip
    texts = [json.dumps(lie).encode() for lie in lies]
    for content in (*damaged, *(struct.pack("<Q", len(text)) + text + whole[8 + head :] for text in texts)):
        path.write_bytes(content)
        with contextlib.suppress(UsageError):
            state, report = fits.read(path)
            assert isinstance(report, dict) and all(isinstance(value, torch.Tensor) for value in state.values())
        if draw.random() < 0.05:
            with pytest.raises(UsageError, match="do not fit"):
                models.load_generator(str(path))
    for text in texts:
        path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + head :])
        with pytest.raises(UsageError, match="damaged"):
            fits.read(path)


def store(tmp_path):
    return Store.create(tmp_path / "run", {"a": 1}, {"name": "p", "hash": "0"}, {}, {})


def row(**change):
    names = dict.fromkeys(schema.COLUMNS)
    return {
        **names,
        "suite": "s",
        "check": "c",
        "subject": "m",
        "explainer": "e",
        "status": "failed",
        "cell": KEY,
        **change,
    }


def sealed(data_bytes):
    """The bytes with a digest that fits, as somebody would write who knows the format."""
    import hashlib

    blank = bytearray(data_bytes)
    place = files._place(blank)
    blank[place : place + 64] = b"0" * 64
    blank[place : place + 64] = hashlib.sha256(blank).hexdigest().encode()
    return bytes(blank)


def test_a_parquet_of_another_shape_with_a_fitting_digest_is_not_counted(tmp_path):
    held = store(tmp_path)
    path = held.path / "records" / KEY[:2] / f"{KEY}.parquet"
    held.write_records(KEY, [row()])
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, pa.schema([("cell", pa.int64())])) as writer:
        writer.write_table(pa.table({"cell": [1]}))
        writer.add_key_value_metadata({files._VERSION: str(schema.SCHEMA_VERSION).encode(), files._MARK: b"0" * 64})
    path.write_bytes(sealed(buffer.getvalue()))
    opened = Store.open(held.path)
    assert len(opened.records()) == 0 and opened.done() == set() and opened.damaged() == [path]


def test_records_that_are_flipped_and_sealed_again_never_bring_a_reader_down(tmp_path):
    held = store(tmp_path)
    held.write_records(KEY, [row(measure="ssim", value=float(n), status="ok", seed=n) for n in range(40)])
    path = held.path / "records" / KEY[:2] / f"{KEY}.parquet"
    whole = path.read_bytes()
    draw = random.Random(3)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            broken[draw.randrange(len(broken) - 200)] = draw.randrange(256)
        try:
            broken = sealed(broken)
        except DamagedFile:
            continue
        path.write_bytes(broken)
        opened = Store.open(held.path)
        try:
            found = opened.records()
        except schema.SchemaError:
            continue
        assert list(found.columns) == list(schema.COLUMNS)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\xff\xfe",
        b"",
        b"null",
        b"1e999999",
        b'{"cells": 5}',
        b'{"cells": [1]}',
        b'{"cells": [{"key": "../../x"}]}',
        b'{"cells": [{"nokey": 1}]}',
    ],
)
@pytest.mark.parametrize(
    "name", ["config.json", "plan.json", "measures.json", f"failures/{KEY}.json", "provenance/a.json"]
)
def test_hostile_settings_are_refused_in_one_sentence(name, content, tmp_path):
    held = store(tmp_path)
    path = held.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        opened = Store.open(held.path)
        opened.plan(), opened.failures(), opened.provenance(), opened.records()
    except (RunFolderError, schema.SchemaError) as error:
        assert path.name in str(error)


def test_a_failure_of_any_shape_can_be_reported(tmp_path):
    import reports

    held = store(tmp_path)
    for number, info in enumerate(
        [{}, {"type": 5, "message": {"a": [1]}, "traceback": 7, "seed": "x"}, {"explainer": None}]
    ):
        (held.path / "failures").mkdir(exist_ok=True)
        (held.path / "failures" / f"{number:064x}.json").write_text(json.dumps(info))
    held.write_plan([])
    try:
        frame = reports.load(held.path)
    except (RunFolderError, schema.SchemaError):
        return
    assert len(frame) == 3
