"""Image files as arrays: what is decoded, how deep pixels become bytes, and what is refused."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .naming import UsageError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
"""What is decoded, whatever the name of a file says: Pillow knows formats that start other programs."""
MAX_PIXELS = 64_000_000
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise on archives that are damaged or made to harm; NotImplementedError is a RuntimeError."""
GRAY = ("L", "1", "LA", "La", "I", "F")
"""Modes of Pillow without colour; those of 16 bits begin with `I;16`."""


def decode(file: Path, channels: int | None = None) -> np.ndarray:
    """The pixels of an image file, (C, H, W) uint8.

    Sixteen bits are scaled to eight, transparency is left out.

    Args:
        channels: 1 for gray, 3 for colour; None keeps gray images gray.

    Raises:
        UsageError: not an image, damaged, larger than 64 million pixels, or of 32 bits per pixel, whose scale is not known.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UsageError(f"{file} has {image.width}x{image.height} pixels; at most {MAX_PIXELS:,} are read")
            deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
            if image.mode in ("I", "F") and not deep:
                raise UsageError(
                    f"{file} holds {'whole' if image.mode == 'I' else 'floating'} numbers of 32 bits, whose range no file "
                    "tells; save it with 8 or 16 bits, or all images as an .npz of floats in [0, 1]"
                )
            gray = (deep or image.mode in GRAY) if channels is None else channels == 1
            if deep:  # Pillow would cut everything above 255 off
                pixels = ((np.asarray(image).astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8)
                return pixels[None] if gray else np.repeat(pixels[None], 3, axis=0)
            pixels = np.asarray(image.convert("L" if gray else "RGB"))
    except UsageError:
        raise
    except (SyntaxError, UnidentifiedImageError, Image.DecompressionBombError, struct.error, *UNREADABLE) as error:
        raise UsageError(f"{file} cannot be decoded ({error}); mend or remove the file") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
