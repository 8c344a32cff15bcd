from typing import NamedTuple

import numpy as np

from keras_mono._internal.optional_imports import require


class LabelledInputs(NamedTuple):
    """Inputs and their labels.

    Attributes:
        x: Inputs, samples on the first axis.
        labels: One label per sample.
    """

    x: np.ndarray
    labels: np.ndarray


def digits() -> LabelledInputs:
    """The handwritten digits of scikit-learn: 8 x 8 grey images of ten classes.

    Returns:
        `LabelledInputs`: 1,797 images, shape `(1797, 8, 8, 1)`, float32 from 0 to 1,
        and their classes 0 to 9, int32.

    Raises:
        ImportError: if scikit-learn is missing, naming the extra.

    Example:

    >>> found = km.analysis.digits()
    >>> found.x.shape, sorted(set(found.labels.tolist()))
    ((1797, 8, 8, 1), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    x, labels = require("sklearn.datasets").load_digits(return_X_y=True)
    images = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    return LabelledInputs(images, labels.astype("int32"))
