"""How the samples of a report are shown: as images, texts, pieces or numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_mono._internal.data import Batches, as_array
from keras_mono._internal.visible_text import as_text
from keras_mono.analysis.page.numbers import numbers
from keras_mono.analysis.page.png import as_url, png_of

_CHANNELS = (1, 3, 4)
_AT_ONCE = 256
_MOST_NUMBERS = 12
_MOST_PIECES = 4000
_MOST_CHARACTERS = 8_000_000  # of all samples of a page, images in base64


class Shown:
    """What a page shows for a sample.

    Args:
        held: The model's inputs.
        given: One image, text or list of pieces per sample. None: what `held` looks
            like.
        more: Whether `given` may have entries beyond the samples.

    Attributes:
        kind: "images"; "texts", whose positions are characters; "pieces", one text a
            position; "strings", whose positions are not known; or "numbers".
    """

    def __init__(self, held: Batches, given: Any = None, more: bool = False) -> None:
        self._held, self._given = held, None
        if given is None:
            self.kind, low, high = _kind_of(held)
        else:
            self.kind, self._given = _checked(given, held.samples(), more)
            low, high = _range([self._given]) if self.kind == "images" else (0.0, 1.0)
        self._low, self._high = low, high

    def some(self, samples: Sequence[int]) -> dict[str, Any]:
        """Number of a sample to its image, text, pieces or numbers.

        Args:
            samples: Their numbers, the most important first. Where a page would become
                too large, the last are left out.
        """
        found, size = {}, 0
        for sample, value in self._values(samples):
            shown = self._shown(value)
            size += len(shown) if isinstance(shown, str) else len(str(shown))
            if size > _MOST_CHARACTERS:
                break
            found[str(sample)] = shown
        return found

    def _values(self, samples: Sequence[int]) -> Iterator[tuple[int, Any]]:
        if self._given is not None:
            yield from ((sample, self._given[sample]) for sample in samples)
            return
        for start in range(0, len(samples), _AT_ONCE):
            few = samples[start : start + _AT_ONCE]
            batches = [_first(inputs) for inputs, _ in self._held.some(np.sort(few))]
            rows = dict(
                zip(sorted(few), (row for b in batches for row in b), strict=True)
            )
            yield from ((sample, rows[sample]) for sample in few)

    def _shown(self, value: Any) -> Any:
        if self.kind == "images":
            return as_url(png_of(self._as_bytes(np.asarray(value))))
        if self.kind == "texts":
            return as_text(value)[:_MOST_PIECES]
        if self.kind == "pieces":
            return [as_text(piece) for piece in value[:_MOST_PIECES]]
        if self.kind == "strings":
            text = np.ravel(value)[0]
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            return as_text(text)[:_MOST_PIECES]
        return numbers(np.asarray(value, float).reshape(-1)[:_MOST_NUMBERS])

    def _as_bytes(self, image: np.ndarray) -> np.ndarray:
        image = image[..., None] if image.ndim == 2 else image
        if image.dtype == np.uint8:
            return image
        scaled = (image.astype(float) - self._low) / (self._high - self._low)
        return (255 * np.clip(np.nan_to_num(scaled), 0, 1)).round().astype(np.uint8)


def _first(inputs: Any) -> np.ndarray:
    """The first array of a batch of inputs."""
    return next(x for x in keras.tree.flatten(inputs) if x is not None)


def _kind_of(held: Batches) -> tuple[str, float, float]:
    arrays = [_first(inputs) for inputs, _ in held]
    first = arrays[0]
    if first.ndim == 4 and first.shape[-1] in _CHANNELS:
        return "images", *_range(arrays)
    if first.dtype.kind in "OSU":
        return "strings", 0.0, 1.0
    whole = first.dtype.kind in "iu" and first.ndim == 2
    return "pieces" if whole else "numbers", 0.0, 1.0


def _range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """What is black and what is white: 0 to 1, 0 to 255, or what occurs."""
    known = [a[np.isfinite(a)] for a in arrays]
    low = min((float(k.min()) for k in known if k.size), default=0.0)
    high = max((float(k.max()) for k in known if k.size), default=1.0)
    if low >= 0 and high <= 255:
        return 0.0, 1.0 if high <= 1 else 255.0
    return low, high if high > low else low + 1.0


def _checked(given: Any, samples: int, more: bool) -> tuple[str, Any]:
    """The kind of what is given to be shown, and it with an entry per sample."""
    kind, entries = _kind_and_entries(given)
    fits = len(entries) == samples or (more and len(entries) > samples)
    if kind is None or not fits:
        what = type(given).__name__ if kind is None else f"{len(entries)} {kind}"
        raise ValueError(
            "`shown` must hold what to show for each sample of `data`, that is "
            f"{samples} images, an array `(samples, height, width)` or `(samples, "
            "height, width, 1, 3 or 4)`; texts; or lists of texts, one a position. "
            f"Received: {what}."
        )
    return kind, entries


def _kind_and_entries(given: Any) -> tuple[str | None, Any]:
    if getattr(getattr(given, "dtype", None), "kind", "") in ("U", "O"):
        given = given.tolist()
    if isinstance(given, list | tuple) and given:
        if all(isinstance(x, str) for x in given):
            return "texts", given
        pieces = all(isinstance(x, list | tuple) for x in given)
        if pieces and all(isinstance(p, str) for x in given for p in x):
            return "pieces", given
    try:
        array = as_array(given)
    except ValueError:  # lists of different lengths
        return None, ()
    grey, in_colour = array.ndim == 3, array.ndim == 4 and array.shape[-1] in _CHANNELS
    is_image = array.dtype.kind in "biuf" and (grey or in_colour) and array.size
    return ("images", array) if is_image else (None, ())
