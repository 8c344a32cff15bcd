"""Paired comparisons over seeds: differences, intervals, tests, corrections."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """Of paired values, one a seed.

    Attributes:
        number: Of pairs.
        mean: Of the differences.
        deviation: Their standard deviation.
        low, high: 95 % interval of the mean (Student).
        p: Paired t-test, two-sided.
        wilcoxon: Wilcoxon's signed-rank test, two-sided.
        effect: Cohen's d_z, mean over standard deviation.
    """

    number: int
    mean: float
    deviation: float
    low: float
    high: float
    p: float
    wilcoxon: float
    effect: float

    def prediction(self, number: int) -> tuple[float, float]:
        """95 % interval of the mean of so many new pairs."""
        quantile = float(stats.t.ppf(0.975, self.number - 1))
        half = quantile * self.deviation * np.sqrt(1 / self.number + 1 / number)
        return self.mean - half, self.mean + half

    def in_words(self) -> str:
        return (
            f"mean {self.mean:+.4g}, 95 % interval {self.low:+.4g} to "
            f"{self.high:+.4g}, "
            f"paired t-test p = {self.p:.2g}, Wilcoxon p = {self.wilcoxon:.2g}, "
            f"d_z = {self.effect:+.2f}, {self.number} pairs"
        )


def compare(differences: np.ndarray) -> Difference:
    """Statistics of paired differences, at least two."""
    values = np.asarray(differences, np.float64)
    number, mean = len(values), float(values.mean())
    deviation = float(values.std(ddof=1))
    if deviation == 0:
        p = 1.0 if mean == 0 else 0.0
        effect = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
        return Difference(number, mean, 0.0, mean, mean, p, p, effect)
    return Difference(
        number,
        mean,
        deviation,
        *interval(values),
        float(stats.ttest_1samp(values, 0.0).pvalue),
        _wilcoxon(values),
        mean / deviation,
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean (Student), of at least two values."""
    number = len(values)
    half = float(stats.t.ppf(0.975, number - 1) * np.std(values, ddof=1))
    half, mean = half / np.sqrt(number), float(np.mean(values))
    return mean - half, mean + half


def _wilcoxon(values: np.ndarray) -> float:
    """Two-sided p of the signed-rank test.

    Of few values with ties, SciPy takes the exact p from all choices of signs and ranks
    the values again for each. The ranks do not depend on the signs.
    """
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    if len(kept) < 2:  # either sign is as likely
        return 1.0
    tied = len(np.unique(ranks)) < len(values)
    if not tied or len(values) > 13:
        return float(stats.wilcoxon(values).pvalue)

    def positive(signed: np.ndarray, axis: int) -> np.ndarray:
        return np.where(signed > 0, ranks, 0.0).sum(axis=axis)

    found = stats.permutation_test(
        (kept,), positive, permutation_type="samples", vectorized=True, axis=-1
    )
    return float(found.pvalue)


def one_sided(differences: np.ndarray) -> float:
    """p of the t-test against a mean of 0 or less."""
    values = np.asarray(differences, np.float64)
    if len(values) < 2:  # one pair says nothing
        return 1.0
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
