import gzip
import hashlib
import struct

import numpy as np
import pytest
from PIL import Image

from models import data as source
from models.data import fashion_mnist, full_training_set, load_data
from models.decoding import decode
from models.naming import UsageError


def test_fashion_mnist_is_padded_and_complete():
    data = load_data("fashion-mnist")
    images = data.load([0, 9_999])
    assert len(data) == 10_000 and data.shape == (1, 32, 32) and images.shape == (2, 1, 32, 32)
    assert float(images[:, :, :2].abs().sum() + images[:, :, :, -2:].abs().sum()) == 0
    assert float(images.min()) == 0 and float(images.max()) <= 1
    assert np.bincount(data.labels).tolist() == [1000] * 10
    assert data.ids[42] == "fashion-mnist/test/00042" and len(set(data.ids)) == 10_000


def test_the_embedded_training_images_are_other_images():
    test, train = load_data("fashion-mnist"), load_data("fashion-mnist-train")
    assert len(train) == 10_000 and set(test.ids).isdisjoint(train.ids)
    assert test.digest(range(8)) != train.digest(range(8))


EMBEDDED = {
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    "train10k-images-idx3-ubyte.gz": "dbc97073061adfe46b8bf8af6112364d34cf4cf2363dd8191a14d6515e121e6b",
    "train10k-labels-idx1-ubyte.gz": "0b1c9fd85da433904cd8c43816d58e9156256c8dde6e23698c4b9340b0494067",
}


@pytest.mark.parametrize("file", EMBEDDED)
def test_the_embedded_files_are_the_ones_that_results_rest_on(file):
    assert hashlib.sha256((source.EMBEDDED / file).read_bytes()).hexdigest() == EMBEDDED[file]


def test_the_full_training_set_is_used_where_a_folder_has_it(tmp_path, monkeypatch):
    absent, present = tmp_path / "absent", tmp_path / "present"
    present.mkdir()
    monkeypatch.setattr(source, "SYSTEM", (absent, present))
    assert full_training_set() is None
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz was not found in .*dataset-fashion-mnist"):
        fashion_mnist("train")
    pixels, labels = (
        np.arange(3 * 784, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28),
        np.array([7, 0, 9], np.uint8),
    )
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape)
        (present / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    found = full_training_set()
    assert found.labels.tolist() == [7, 0, 9] and found.ids[1] == "fashion-mnist/train/00001"
    np.testing.assert_array_equal((found.load([0, 1, 2])[:, 0, 2:-2, 2:-2] * 255).round().numpy(), pixels)
    (present / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">2I", 0x0803, 3) + labels.tobytes())
    )
    with pytest.raises(UsageError, match=r"train-labels.* is not a readable idx file \(magic number"):
        fashion_mnist("train")


def test_the_digest_sees_pixels_labels_and_order():
    data = load_data("fashion-mnist")
    assert data.digest([0, 1]) == data.digest([0, 1]) != data.digest([1, 0])


def write_folder(path, size=(8, 8), mode="RGB"):
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for index in range(3):
            Image.new(mode, size, 40 * index).save(path / name / f"{index}.png")


def test_a_folder_of_class_folders(tmp_path):
    write_folder(tmp_path / "pets")
    data = load_data(str(tmp_path / "pets"))
    assert data.class_names == ("cat", "dog") and len(data) == 6 and data.shape == (3, 8, 8)
    assert data.ids[4] == "pets/dog/1.png" and data.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_gray_folders_keep_one_channel(tmp_path):
    write_folder(tmp_path / "pets", mode="L")
    assert load_data(str(tmp_path / "pets")).shape == (1, 8, 8)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3), ("P", 3), ("1", 1)])
def test_modes_of_files(tmp_path, mode, channels):
    write_folder(tmp_path / "pets", mode=mode)
    assert load_data(str(tmp_path / "pets")).shape == (channels, 8, 8)


@pytest.mark.parametrize("name", ["cat/0.png", "cat/0.tif"])
def test_sixteen_bits_become_eight(tmp_path, name):
    """Pillow's own conversion cuts at 255, which makes nearly every pixel white."""
    (tmp_path / "cat").mkdir()
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / name)
    data = load_data(str(tmp_path))
    np.testing.assert_allclose(data.load([0])[0, 0].numpy(), deep / 65535, atol=0.5001 / 255)
    np.testing.assert_array_equal(decode(tmp_path / name, 3), np.repeat(data.read([0])[0], 3, axis=0))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_of_32_bits_are_refused(tmp_path, kind):
    """Read as bytes, a float image in [0, 1] would be black throughout."""
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "cat" / "0.tif")
    with pytest.raises(UsageError, match=r"0\.tif holds .* 32 bits.*save it"):
        load_data(str(tmp_path))


def test_hidden_files_and_folders_are_no_data(tmp_path):
    """Otherwise .ipynb_checkpoints would be class 0 and all labels shifted."""
    write_folder(tmp_path / "pets")
    (tmp_path / "pets" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "pets" / "cat" / "._0.png").write_bytes(b"of another system")
    data = load_data(str(tmp_path / "pets"))
    assert data.class_names == ("cat", "dog") and len(data) == 6 and data.labels[0] == 0


def test_a_truncated_image_is_named(tmp_path):
    write_folder(tmp_path / "pets")
    file = tmp_path / "pets" / "dog" / "2.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UsageError, match=r"2\.png"):
        load_data(str(tmp_path / "pets")).load([5])


def test_images_of_another_size_are_named(tmp_path):
    write_folder(tmp_path / "pets")
    Image.new("RGB", (9, 8)).save(tmp_path / "pets" / "dog" / "9.png")
    with pytest.raises(UsageError, match="8x9"):
        load_data(str(tmp_path / "pets")).load([6])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_npz(tmp_path, dtype):
    images = (np.random.default_rng(0).random((5, 6, 7, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.array([0, 1, 2, 1, 0]))
    data = load_data(str(tmp_path / "mine.npz"))
    assert data.shape == (3, 6, 7) and len(data.class_names) == 3
    np.testing.assert_allclose(
        data.load([1])[0].permute(1, 2, 0), images[1] / (255 if dtype == np.uint8 else 1), atol=1e-6
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "labels"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8), "labels": np.zeros(2, int)}, "shape"),
        ({"images": np.full((2, 4, 4), 2.0), "labels": np.zeros(2, int)}, "divide by 255"),
        ({"images": np.full((2, 4, 4), np.nan), "labels": np.zeros(2, int)}, "finite"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)}, "the class of each image"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array(["a", "b"])}, "whole numbers"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([-1, 0])}, "from -1 to 0.*counted from 0"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, 2**62])}, "of 0 to 999,999"),
        ({"images": np.zeros((2, 3, 4, 4), np.uint8), "labels": np.zeros(2, int)}, "channels come last"),
        ({"images": np.array([{"a": 1}, None], object), "labels": np.zeros(2, int)}, "pickled"),
    ],
)
def test_ill_formed_npz_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        load_data(str(tmp_path / "bad.npz"))


def test_a_truncated_npz_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", images=np.zeros((9, 8, 8), np.uint8), labels=np.zeros(9, int))
    raw = (tmp_path / "bad.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UsageError, match="cannot be read"):
        load_data(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("name", ["fashion-minst", "/nowhere/at/all", __file__])
def test_unknown_data(name):
    with pytest.raises(UsageError, match="fashion-mnist"):
        load_data(name)
