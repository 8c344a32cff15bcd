"""Small images as PNG files in data URLs."""

import base64
import io

import numpy as np

from keras_mono._internal.optional_imports import require

LONGEST = 96  # pixels of a side


def as_url(content: bytes) -> str:
    """A PNG file as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def png_of(image: np.ndarray) -> bytes:
    """A PNG file of an image `(height, width, 1, 3 or 4)` of uint8.

    An image with a side of more than 96 pixels becomes smaller by a whole number, of
    whose pixels means are taken.
    """
    image = _smaller(image)
    image = image[..., 0] if image.shape[-1] == 1 else image
    file = io.BytesIO()
    require("PIL.Image").fromarray(image).save(file, "png", optimize=True)
    return file.getvalue()


def _smaller(image: np.ndarray) -> np.ndarray:
    by = -(-max(image.shape[:2]) // LONGEST)
    if by == 1:
        return image
    height, width = (max(side // by, 1) for side in image.shape[:2])
    tall, wide = (min(by, side) for side in image.shape[:2])
    cut = image[: height * tall, : width * wide]
    blocks = cut.reshape(height, tall, width, wide, -1)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)
