"""Measures of the shape of a neuron's distribution, which need its sorted values."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from keras_mono._internal.tail_figures import TOP_FRACTION
from keras_mono._internal.varies import varies


def of_distribution(z: np.ndarray) -> dict[str, np.ndarray]:
    """`wasserstein` and `phi_tail` of each column of `z`, NaN if constant.

    Entries that are not finite are left out.
    """
    found = np.array([_of_values(column) for column in z.T]).reshape(-1, 2)
    return dict(zip(("wasserstein", "phi_tail"), found.T, strict=True))


def _of_values(values: np.ndarray) -> tuple[float, float]:
    values = np.asarray(values, np.float64)
    counted = np.isfinite(values)
    values = np.sort(values if counted.all() else values[counted])
    if len(values) < 2 or values[0] == values[-1]:
        return np.nan, np.nan
    mean, variance = values.mean(), values.var()
    if not varies(mean, variance):
        return np.nan, np.nan
    values = (values - mean) / math.sqrt(variance)
    return _distance_to_normal(values), _tail(values)


def _tail(values: np.ndarray) -> float:
    """The mean of the largest φ, from sorted and standardized values."""
    most = max(round(TOP_FRACTION * len(values)), 1)
    ends = np.concatenate([values[:most], values[-most:]]) ** 2
    # φ is taken against the unbiased variance.
    unbiased = (len(values) - 1) / len(values)
    return float(np.sort(ends)[-most:].mean() * unbiased)


def _distance_to_normal(values: np.ndarray) -> float:
    """∫ |F⁻¹(q) - Φ⁻¹(q)| dq, exactly for the distribution F of sorted values."""
    edges, density, number = *_quantiles(len(values)), len(values)
    low, high = edges[:-1], edges[1:]
    # F⁻¹ is one value from q to q + 1/n, and may cross Φ⁻¹ there.
    shares = np.where(values < high, 0.0, 1 / number)
    turn_density = np.where(values < high, density[:-1], density[1:])
    inside = np.flatnonzero((values > low) & (values < high))
    crossing = values[inside]
    shares[inside] = [_probability(x) for x in crossing] - inside / number
    turn_density[inside] = _density(crossing)
    # ∫ Φ⁻¹ dq from q to q' is the difference of densities, φ(Φ⁻¹(q)) - φ(Φ⁻¹(q')).
    below = values * shares - (density[:-1] - turn_density)
    above = (turn_density - density[1:]) - values * (1 / number - shares)
    return float((below + above).sum())


@lru_cache(maxsize=2)
def _quantiles(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges between `number` parts of a normal of equal probability, and its density.

    A layer's neurons have the same number of values, so that these are found once.
    """
    inverse = NormalDist().inv_cdf
    half = (number - 1) // 2  # the others by symmetry
    below = np.array([inverse(i / number) for i in range(1, half + 1)])
    middle = np.zeros((number - 1) % 2)
    edges = np.concatenate([[-np.inf], below, middle, -below[::-1], [np.inf]])
    return edges, _density(edges)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _probability(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2
