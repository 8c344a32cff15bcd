"""Paired comparisons over seeds: differences, intervals, tests, corrections."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """Of pairs, "better" being positive.

    Attributes:
        number: Of pairs.
        mean: Of the differences.
        low, high: 95 % interval of the mean (Student).
        p: Paired t-test, two-sided.
        wilcoxon: Wilcoxon's signed-rank test, two-sided.
        effect: Cohen's d_z, the mean over the standard deviation of the differences.
        next_low, next_high: 95 % prediction interval of the mean of as many new pairs.
    """

    number: int
    mean: float
    low: float
    high: float
    p: float
    wilcoxon: float
    effect: float
    next_low: float
    next_high: float


def compare(differences: np.ndarray) -> Difference:
    """Statistics of paired differences, at least two."""
    values = np.asarray(differences, np.float64)
    number, mean = len(values), float(values.mean())
    deviation = float(values.std(ddof=1))
    if deviation == 0:
        p = wilcoxon = 1.0 if mean == 0 else 0.0
        effect = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
        return Difference(number, mean, mean, mean, p, wilcoxon, effect, mean, mean)
    quantile = float(stats.t.ppf(0.975, number - 1))
    half = quantile * deviation / np.sqrt(number)
    ahead = quantile * deviation * np.sqrt(2 / number)
    return Difference(
        number,
        mean,
        mean - half,
        mean + half,
        float(stats.ttest_1samp(values, 0.0).pvalue),
        float(stats.wilcoxon(values).pvalue),
        mean / deviation,
        mean - ahead,
        mean + ahead,
    )


def one_sided(differences: np.ndarray) -> float:
    """p of the t-test against a mean of 0 or less."""
    values = np.asarray(differences, np.float64)
    if np.ptp(values) == 0:
        return 0.0 if values[0] > 0 else 1.0
    return float(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)


def equivalence(differences: np.ndarray, margin: float) -> float:
    """p of two one-sided t-tests: is the mean within ± `margin`?"""
    values = np.asarray(differences, np.float64)
    return max(one_sided(values + margin), one_sided(margin - values))


def holm(p_values: list[float]) -> list[float]:
    """p corrected for their number, by Holm's step-down procedure."""
    order = np.argsort(p_values)
    corrected, highest = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return [float(p) for p in corrected]
