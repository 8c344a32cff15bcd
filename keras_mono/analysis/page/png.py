"""Small images as PNG files in data URLs."""

import base64
import struct
import zlib

import numpy as np

LONGEST = 96  # pixels of a side
_KINDS = {1: 0, 3: 2, 4: 6}  # channels to PNG's colour types


def as_url(content: bytes) -> str:
    """A PNG file as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def png_of(image: np.ndarray) -> bytes:
    """A PNG file of an image `(height, width, 1, 3 or 4)` of uint8.

    An image with a side of more than 96 pixels becomes smaller by a whole number, of
    whose pixels means are taken.
    """
    image = _smaller(image)
    height, width, channels = image.shape
    rows: np.ndarray = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = image.reshape(height, -1)  # before each row stands its filter: none
    header = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    parts = (
        _part(b"IHDR", header),
        _part(b"IDAT", zlib.compress(rows.tobytes(), 9)),
        _part(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _part(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _smaller(image: np.ndarray) -> np.ndarray:
    by = -(-max(image.shape[:2]) // LONGEST)
    if by == 1:
        return image
    height, width = (max(side // by, 1) for side in image.shape[:2])
    tall, wide = (min(by, side) for side in image.shape[:2])
    cut = image[: height * tall, : width * wide]
    blocks = cut.reshape(height, tall, width, wide, -1)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)
