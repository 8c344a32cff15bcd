from typing import NamedTuple

import numpy as np

from keras_mono.analysis.profile import Profile

_MEASURES = (
    "phi_tail",
    "best_phi",
    "class_selectivity",
    "class_purity",
    "mono_score",
    "hoyer",
    "treves_rolls",
    "wasserstein",
)


class MeasureAgreement(NamedTuple):
    """How alike measures order the neurons of a layer.

    Attributes:
        measures: Their names, as in `Profile.to_frame()`.
        correlation: Spearman's rank correlation over neurons, `(measures, measures)`,
            from -1 to 1. NaN where one of the two is the same for all neurons, and for
            fewer than three neurons.
        neurons: How many have both measures, same shape.
    """

    measures: tuple[str, ...]
    correlation: np.ndarray
    neurons: np.ndarray


def measure_agreement(found: Profile) -> MeasureAgreement:
    """Rank correlation of φ_ℓ* and the measures over a layer's neurons.

    Two measures that order the neurons alike say the same thing about the layer. They
    need not: a heavy tail of φ, sparseness and selectivity differ (see `measures`).

    Args:
        found: The `Profile` of one layer.

    Returns:
        `MeasureAgreement`.

    Raises:
        ValueError: for a profile without measures.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(9, name="a")])
    >>> rng = np.random.default_rng(0)
    >>> x, labels = rng.normal(size=(64, 4)), rng.integers(2, size=64)
    >>> found = km.analysis.profile(model, x, labels, ["a"], verbose=0)["a"]
    >>> km.analysis.measure_agreement(found).correlation.shape
    (8, 8)
    """
    columns = list(measures_of(found).values())
    shape = (len(columns), len(columns))
    correlation, neurons = np.full(shape, np.nan), np.zeros(shape, int)
    for i, first in enumerate(columns):
        for j, second in enumerate(columns):
            both = np.isfinite(first) & np.isfinite(second)
            neurons[i, j] = both.sum()
            correlation[i, j] = _spearman(first[both], second[both])
    return MeasureAgreement(_MEASURES, correlation, neurons)


def measures_of(found: Profile) -> dict[str, np.ndarray]:
    """φ_ℓ* and the measures of each neuron, by name."""
    if not isinstance(found, Profile):
        raise ValueError(
            "Expected the profile of one layer, as `profile(...)['LAYER']` gives it. "
            f"Received: a {type(found).__name__}."
        )
    if found.measures is None:
        raise ValueError(
            f"The profile of layer '{found.layer}' must hold measures. Received: one "
            "that `profile(..., measures=False)` gave. Profile with `measures=True`."
        )
    every = {"best_phi": found.scores.best_phi, **vars(found.measures)}
    return {name: every[name] for name in _MEASURES}


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of ranks, ties at the middle of theirs."""
    if len(a) < 3 or (a == a[0]).all() or (b == b[0]).all():
        return np.nan
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, numbers, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[numbers]
