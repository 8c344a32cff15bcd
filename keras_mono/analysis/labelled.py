"""Activations and the features of their inputs, checked, as arrays."""

from typing import Any

import numpy as np

from keras_mono._internal.data import as_array


def labelled(z: np.ndarray, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations `(inputs, neurons)`, the feature index of each input, the features.

    The last axis of `z` indexes neurons, the others inputs. `labels` has one entry per
    input, or one per sample, which then holds for all of its positions. Entries of `z`
    that are not finite become NaN.

    Raises:
        ValueError: if the lengths do not agree, for fewer than two features or inputs,
            and for labels that are missing or of several kinds.
    """
    z = np.asarray(as_array(z), np.float64)
    labels = as_labels(labels)
    if z.ndim < 2 or z.shape[-1] == 0:
        raise ValueError(
            "`z` must hold activations of shape (inputs, neurons) or (samples, ..., "
            f"neurons). Received: shape {z.shape}."
        )
    inputs = z.shape[:-1]
    if labels.ndim == 0 or labels.shape != inputs[: labels.ndim]:
        raise ValueError(
            "`labels` must have one entry per sample or per input, that is the shape "
            f"{' or '.join(dict.fromkeys(map(str, (inputs[:1], inputs))))}. Received: "
            f"shape {labels.shape} for activations of shape {z.shape}."
            f"{advice_on_classes(labels)}"
        )
    flat = label_of_inputs(labels, inputs)
    features, numbers = np.unique(flat, return_inverse=True)
    if len(features) < 2:
        raise ValueError(
            "An analysis by features needs inputs of at least two. Received: only "
            f"{features.tolist()}. Add inputs of other features."
        )
    z = z.reshape(-1, z.shape[-1])
    return np.where(np.isfinite(z), z, np.nan), numbers.reshape(-1), features


def advice_on_classes(labels: np.ndarray) -> str:
    """What to do with labels that have an axis of classes; empty if they have none."""
    if labels.ndim < 2 or labels.dtype.kind not in _KINDS:
        return ""
    if labels.shape[-1] == 1:
        return " Pass `labels[..., 0]`."
    if labels.dtype.kind in "US" or not np.isin(labels, (0, 1)).all():
        return ""
    if (np.count_nonzero(labels, axis=-1) != 1).any():
        return ""
    return " They are one-hot: pass the classes, `labels.argmax(axis=-1)`."


def as_labels(labels: Any) -> np.ndarray:
    """Labels as an array of numbers, truth values or strings.

    Strings (those of pandas too) become NumPy strings, dates ISO strings.

    Raises:
        ValueError: for missing labels (NaN, None) and for labels of several kinds.
    """
    if labels is None:
        raise ValueError(
            "`labels` must name the feature of every input. Received: None."
        )
    found = as_array(labels)
    if isinstance(labels, list | tuple):
        found = _without_conversion(labels, found)
    if found.dtype.name == "bfloat16":  # NumPy cannot sort it
        found = found.astype("float32")
    if found.dtype.kind == "f" and not hasattr(labels, "dtype"):
        found = _without_rounding(labels, found)
    missing, found = _missing_labels(found)
    if missing.any():
        raise ValueError(
            "`labels` must name the feature of every input. Received: "
            f"{int(missing.sum())} missing ones (NaN or None). Leave those inputs out."
        )
    return found


def _missing_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are missing, and the labels in a dtype that NumPy sorts."""
    if labels.dtype.kind in "Mm":
        return np.isnat(labels), labels.astype(str)
    if labels.dtype.kind == "f":
        return np.isnan(labels), labels
    if labels.dtype.kind in _KINDS:
        return np.zeros((), bool), labels
    if labels.dtype.kind != "O":
        raise ValueError(
            "`labels` must be numbers that have an order, truth values or strings. "
            f"Received: labels of dtype {labels.dtype}. Convert them, for example with "
            "`str`."
        )
    each = labels.reshape(-1).tolist()
    missing = np.array([_is_missing(x) for x in each], bool)
    if not missing.any():
        labels = _of_one_kind(each).reshape(labels.shape)
    return missing, labels


_KINDS = "biufUS"


def _is_missing(x: Any) -> bool:
    if x is None:
        return True
    try:
        return bool(x != x)
    except TypeError:  # pandas' NA is neither equal nor unequal to itself
        return True
    except ValueError:  # an array
        return False


def _without_conversion(labels: Any, found: np.ndarray) -> np.ndarray:
    """Undo NumPy's conversion of mixed lists to strings, or of booleans to numbers."""
    given = np.asarray(labels, object)
    if found.dtype.kind not in "USiuf" or given.shape != found.shape:
        return found
    each = given.reshape(-1).tolist()
    if found.dtype.kind in "US":
        return found if all(isinstance(x, str | bytes) for x in each) else given
    return given if any(isinstance(x, bool | np.bool_) for x in each) else found


def _without_rounding(labels: Any, found: np.ndarray) -> np.ndarray:
    """Undo NumPy's conversion of integers on both sides of 2⁶³ to floats."""
    each = np.asarray(labels, object).reshape(-1).tolist()
    if not all(isinstance(x, int | np.integer) for x in each):
        return found
    return _of_one_kind([int(x) for x in each]).reshape(found.shape)


def _of_one_kind(labels: list[Any]) -> np.ndarray:
    kinds = {type(label) for label in labels}
    if kinds == {int} and max(labels) >= 2**63:
        return _large_integers(labels)
    found = np.array(labels) if len(kinds) < 2 else np.empty(0, object)
    if found.dtype.kind not in _KINDS:
        names = sorted(kind.__name__ for kind in kinds)
        raise ValueError(
            "`labels` must be of one kind: numbers, truth values or strings. Received: "
            f"{names}. Convert them, for example with `str`."
        )
    return found


def _large_integers(labels: list[int]) -> np.ndarray:
    if min(labels) < 0 or max(labels) >= 2**64:
        raise ValueError(
            "`labels` that are integers must fit into int64 or into uint64. Received: "
            f"{min(labels)} to {max(labels)}. Convert them, for example with `str`."
        )
    return np.array(labels, np.uint64)


def label_of_inputs(labels: np.ndarray, inputs: tuple[int, ...]) -> np.ndarray:
    """One label per input, flat: a sample's label holds for all of its positions."""
    labels = labels.reshape(labels.shape + (1,) * (len(inputs) - labels.ndim))
    return np.broadcast_to(labels, inputs).reshape(-1)
