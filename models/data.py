"""Images to explain: the embedded Fashion-MNIST, folders of class sub-folders, `.npz` files."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .decoding import UNREADABLE, decode
from .naming import UsageError, near

if TYPE_CHECKING:
    from torch import Tensor

    from .truth.base import Truth

EMBEDDED = Path(__file__).parent / "zoo" / "data" / "fashion-mnist"
SYSTEM = (
    Path("/usr/share/datasets/fashion-mnist"),
    Path.home() / ".cache" / "fashion-mnist",
    Path("data/FashionMNIST/raw"),
)
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
MAX_IDX = 1 << 28
"""Unpacked bytes of an idx file; all of Fashion-MNIST has 47 million."""
MAX_BYTES = 8 << 30
"""Unpacked bytes of an archive; a small file can name any number of them."""
MAX_CLASSES = 1_000_000
"""Classes that labels may name; one number can name any number of them."""


@dataclass(frozen=True)
class DataCard:
    """What `bench list datasets` shows of one data set."""

    name: str
    summary: str
    origin: str
    count: int


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images with stable ids, decoded when asked for.

    Attributes:
        name: data set and part, the first part of every id.
        labels: (N,) int64 class indices.
        ids: N stable names, for example `fashion-mnist/test/00042`.
        class_names: one per class.
        shape: (C, H, W) of an image.
        read: indices -> (n, C, H, W) uint8 or float32 in [0, 1].
        truth: where the evidence of each class is in each image, None where that is not known.
        content: `pixels`, or `words` where each row is a sentence (see `models.text.networks`).
    """

    name: str
    labels: np.ndarray
    ids: Sequence[str]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    read: Callable[[Sequence[int]], np.ndarray] = field(repr=False)
    truth: Truth | None = None
    content: str = "pixels"

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, indices: Sequence[int]) -> Tensor:
        """The images at these indices, (n, C, H, W) float32 in [0, 1]."""
        import torch

        pixels = np.ascontiguousarray(self.read(list(indices)))
        scale = 255.0 if pixels.dtype == np.uint8 else 1.0
        return torch.from_numpy(pixels).to(torch.float32).div_(scale)

    def digest(self, indices: Sequence[int]) -> str:
        """sha256 of the ids, labels and pixels at these indices, in order."""
        total = hashlib.sha256()
        for index in indices:
            total.update(f"{self.ids[index]}\0{int(self.labels[index])}\0".encode())
            total.update(np.ascontiguousarray(self.read([index])).tobytes())
        return total.hexdigest()


def datasets() -> list[DataCard]:
    """The data sets that need no download.

    Example:
        >>> [card.name for card in datasets()][:3]
        ['fashion-mnist', 'fashion-mnist-train', 'fmnist-mosaic']
    """
    from . import planted, variants
    from .truth.sets import cards

    return [
        DataCard("fashion-mnist", "10,000 test images, 28x28 gray padded to 32x32, 10 classes", "embedded", 10_000),
        DataCard("fashion-mnist-train", "the first 10,000 training images, likewise", "embedded", 10_000),
        *cards(),
        *variants.cards(),
        *planted.cards(),
    ]


def load_data(name: str) -> ImageSet:
    """A data set by name, a folder of class sub-folders of images, or an `.npz` with `images` and `labels`.

    Raises:
        UsageError: unknown name, unreadable or ill-formed file, images of different sizes.

    Example:
        >>> data = load_data("fashion-mnist")
        >>> len(data), data.shape, tuple(data.load([0, 1]).shape)
        (10000, (1, 32, 32), (2, 1, 32, 32))
    """
    if name == "fashion-mnist":
        return fashion_mnist("test")
    if name == "fashion-mnist-train":
        return fashion_mnist("train10k")
    from . import planted, variants
    from .truth.sets import NAMES, made_set

    if name in NAMES:
        return made_set(name)
    if name.removesuffix("-train") in variants.NAMES:
        return variants.variant(name)
    if name in planted.NAMES:
        return planted.planted(name)
    path = Path(name)
    if path.is_dir():
        return _folder(path, called(name))
    if path.suffix == ".npz" and path.is_file():
        return _npz(path)
    known = [card.name for card in datasets()]
    what = "does not exist" if not path.exists() else "is neither a folder nor an .npz file"
    raise UsageError(
        f"data {name!r}: no data set has this name and the path {what}; allowed are {', '.join(known)}, "
        f"a folder of class sub-folders, an .npz with images and labels{near(name, known)}"
    )


def called(name: str) -> str:
    """What the images of `load_data(name)` are called, without reading them: a path's last part, wherever it lies.

    Example:
        >>> called("fashion-mnist"), called("some/where/pets/"), called("../mine.npz")
        ('fashion-mnist', 'pets', 'mine')
    """
    if name in {card.name for card in datasets()}:
        return name
    path = Path(os.path.abspath(name))
    return path.stem if path.suffix == ".npz" else path.name


def fashion_mnist(part: str = "test") -> ImageSet:
    """Fashion-MNIST padded with two black pixels on each side to 32x32.

    Args:
        part: `test` (10,000), `train10k` (the embedded first 10,000 training images) or `train` (all 60,000, from
            the Debian package dataset-fashion-mnist, `~/.cache/fashion-mnist` or torchvision's folder).

    Source: Xiao, Rasul, Vollgraf 2017.
    """
    stem = {"test": "t10k", "train10k": "train10k", "train": "train"}[part]
    images = np.pad(_idx(_find(f"{stem}-images-idx3-ubyte.gz"), 3), ((0, 0), (2, 2), (2, 2)))[:, None]
    labels = _idx(_find(f"{stem}-labels-idx1-ubyte.gz"), 1).astype(np.int64)
    name = f"fashion-mnist/{'test' if part == 'test' else 'train'}"
    ids = [f"{name}/{index:05d}" for index in range(len(labels))]
    return ImageSet(name, labels, ids, FASHION_CLASSES, (1, 32, 32), lambda indices: images[list(indices)])


def full_training_set() -> ImageSet | None:
    """All 60,000 training images where they are found, else None."""
    try:
        return fashion_mnist("train")
    except UsageError:
        return None


def _find(file: str) -> Path:
    for folder in (EMBEDDED, *SYSTEM):
        if (folder / file).is_file():
            return folder / file
    raise UsageError(
        f"{file} was not found in {', '.join(str(folder) for folder in SYSTEM)}; "
        "install the Debian package dataset-fashion-mnist, or put the file in one of these folders"
    )


def _idx(path: Path, dimensions: int) -> np.ndarray:
    try:
        with gzip.open(path) as file:
            raw = file.read(MAX_IDX + 1)
        if len(raw) > MAX_IDX:
            raise ValueError(f"more than {MAX_IDX:,} bytes when unpacked")
        magic, *shape = struct.unpack(f">{dimensions + 1}I", raw[: 4 * (dimensions + 1)])
        if magic != 0x0800 + dimensions:
            raise ValueError(f"magic number {magic:#x}")
        return np.frombuffer(raw, np.uint8, offset=4 * (dimensions + 1)).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise UsageError(f"{path} is not a readable idx file ({error}); install the data again") from error


def _npz(path: Path) -> ImageSet:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(
                item.file_size for item in archive.infolist() if item.filename in ("images.npy", "labels.npy")
            )
        if unpacked > MAX_BYTES:
            raise UsageError(
                f"{path} holds {unpacked:,} bytes when unpacked; at most {MAX_BYTES:,} are read at once: give a folder of "
                "images instead, which are read as they are needed"
            )
        with np.load(path, allow_pickle=False) as file:
            missing = {"images", "labels"} - set(file.files)
            if missing:
                raise UsageError(
                    f"{path} holds {sorted(file.files)}; {sorted(missing)} missing: save images (N,H,W[,C]) and labels (N,)"
                )
            images, labels = file["images"], file["labels"]
        if not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)):
            raise ValueError("its members are no arrays")
    except UsageError:
        raise
    except UNREADABLE as error:
        raise UsageError(
            f"{path} cannot be read as an .npz without pickled objects ({error}); write it with np.savez"
        ) from error
    images = _checked_images(images, path)
    _check_labels(labels, len(images), path)
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    ids = [f"{path.stem}/{index:05d}" for index in range(len(labels))]
    names = tuple(str(index) for index in range(int(labels.max()) + 1))
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    return ImageSet(path.stem, labels.astype(np.int64), ids, names, shape, lambda indices: pixels[list(indices)])


def _check_labels(labels: np.ndarray, count: int, path: Path) -> None:
    whole = labels.shape == (count,) and np.issubdtype(labels.dtype, np.integer)
    if whole and labels.min() >= 0 and labels.max() < MAX_CLASSES:
        return
    span = f" from {labels.min()} to {labels.max()}" if whole else ""
    raise UsageError(
        f"{path}: labels are {labels.dtype} of shape {labels.shape}{span}; allowed are {count} whole numbers of 0 to "
        f"{MAX_CLASSES - 1:,}, the class of each image: save labels.astype(int), counted from 0"
    )


def _checked_images(images: np.ndarray, path: Path) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        turned = images.ndim == 4 and images.shape[1] in (1, 3) and 0 not in images.shape
        raise UsageError(
            f"{path}: images have shape {images.shape}; allowed are (N,H,W), (N,H,W,1) and (N,H,W,3), N >= 1"
            f"{'; channels come last: save images.transpose(0, 2, 3, 1)' if turned else ''}"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UsageError(f"{path}: images are {images.dtype}; allowed are uint8, or float in [0, 1]")
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        finite = images[np.isfinite(images)]
        span = f"[{finite.min():.4g}, {finite.max():.4g}]" if finite.size else "no finite number"
        raise UsageError(
            f"{path}: float images must be finite and in [0, 1], these hold {span}"
            f"{'' if finite.size == images.size else ' and NaN or infinity'}; bring them to [0, 1] (such as divide by 255) or "
            "save uint8"
        )
    return images.astype(np.float32)


def _folder(path: Path, name: str) -> ImageSet:
    classes = sorted(child.name for child in path.iterdir() if child.is_dir() and not _hidden(child))
    files = [(index, file) for index, label in enumerate(classes) for file in sorted((path / label).iterdir())
             if file.suffix.lower() in SUFFIXES and not _hidden(file) and file.is_file()]  # fmt: skip
    if not files:
        raise UsageError(
            f"{path} has no class sub-folders with images ({', '.join(SUFFIXES)}); put FOLDER/CLASS/IMAGE.png there"
        )
    first = _decode(files[0][1], None)
    shape = (first.shape[0], first.shape[1], first.shape[2])

    def read(indices: Sequence[int]) -> np.ndarray:
        return np.stack([_decode(files[index][1], shape) for index in indices])

    labels = np.array([label for label, _ in files], dtype=np.int64)
    ids = [f"{name}/{file.parent.name}/{file.name}" for _, file in files]
    return ImageSet(name, labels, ids, tuple(classes), shape, read)


def _hidden(path: Path) -> bool:
    """Whether other programs left it behind (.ipynb_checkpoints, ._photo.jpg); as a class it would shift all labels."""
    return path.name.startswith(".") and not path.name.startswith("..")


def _decode(file: Path, shape: tuple[int, int, int] | None) -> np.ndarray:
    pixels = decode(file, None if shape is None else shape[0])
    if shape is not None and pixels.shape != shape:
        raise UsageError(
            f"{file} is {pixels.shape[1]}x{pixels.shape[2]}, the first image is {shape[1]}x{shape[2]}; all must agree"
        )
    return pixels
