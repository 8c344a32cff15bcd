from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_mono._internal.tail_figures import own_phi
from keras_mono.analysis.feature_scores import FeatureScores, feature_scores
from keras_mono.analysis.labelled import labelled


class FalseKillingRate(NamedTuple):
    """Shares in [0, 1]: numbers, or arrays if several fractions were given.

    Attributes:
        fraction: Share of all activations to select.
        rate: Of the selected ones, the share whose input does not belong to the
            neuron's own feature ℓ*. NaN if nothing is selected.
        chance: The rate if as many activations were selected at random.
        selected: Share that was selected; more than `fraction` if φ has ties.
    """

    fraction: float | np.ndarray
    rate: float | np.ndarray
    chance: float | np.ndarray
    selected: float | np.ndarray


def false_killing_rate(
    z: np.ndarray, labels: Any, fraction: float | Sequence[float] = 0.02
) -> FalseKillingRate:
    """How often a threshold on φ selects a neuron on a feature other than its own.

    All (input, neuron) pairs whose φ is among the largest `fraction` are selected, as
    `MovingThreshold` does; φ = 0 never is. A pair is killed *falsely* if the input does
    not belong to ℓ*, the feature that the neuron is relatively monosemantic for.

    Reference: L2E (arXiv:2503.23298), FKR, with a minimum near 2 % on Pythia.

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`. NaN and
            infinite entries are left out, as are neurons that never change.
        labels: The feature of each sample, or of each input.
        fraction: Share to select, between 0 and 1, or several for a curve.

    Returns:
        `FalseKillingRate`.

    Raises:
        ValueError: if the lengths do not agree, for fewer than two features, and for a
            fraction that is not between 0 and 1.

    Example:

    >>> z = np.array([[0.0, 5.0], [0.0, 5.1], [9.0, 5.0], [0.0, 4.9]])
    >>> found = km.analysis.false_killing_rate(z, ["de", "de", "fr", "it"], 0.125)
    >>> float(found.rate), round(float(found.chance), 3)
    (0.0, 0.75)
    """
    return rate_for(z, labels, feature_scores(z, labels), fraction)


def rate_for(
    z: np.ndarray,
    labels: Any,
    scores: FeatureScores,
    fraction: float | Sequence[float],
) -> FalseKillingRate:
    """`false_killing_rate` with the features ℓ* of given scores.

    Neurons whose ℓ* has no input in `z`, which may be a sample, are left out.
    """
    fractions = checked_fractions("fraction", fraction)
    z, numbers, features = labelled(z, labels)
    changes = ~np.isnan(scores.best_phi) & np.isin(scores.best_feature, features)
    phi = own_phi(z, 0.0)[:, changes]
    other = features[numbers][:, None] != scores.best_feature[changes][None, :]
    counted = ~np.isnan(phi)
    values, other = phi[counted], other[counted]
    order = np.argsort(-values, kind="stable")
    ranked, falsely = values[order], np.cumsum(other[order])
    rates, shares = [], []
    for each in fractions:
        wanted = max(round(each * len(ranked)), 1)
        level = ranked[wanted - 1] if len(ranked) else np.inf
        number = int((ranked >= level).sum()) if level > 0 else int((ranked > 0).sum())
        rates.append(falsely[number - 1] / number if number else np.nan)
        shares.append(number / len(ranked) if len(ranked) else np.nan)
    chance = np.full(len(fractions), other.mean() if len(other) else np.nan)
    found = (fractions, np.array(rates), chance, np.array(shares))
    if np.ndim(fraction) == 0:
        return FalseKillingRate(*(float(x[0]) for x in found))
    return FalseKillingRate(*found)


def checked_fractions(name: str, fraction: Any) -> np.ndarray:
    """Fractions between 0 and 1 as an array, or a `ValueError`."""
    fractions = np.atleast_1d(np.asarray(fraction, np.float64))
    if not fractions.size or not ((fractions > 0) & (fractions < 1)).all():
        raise ValueError(
            f"`{name}` must lie between 0 and 1, one or several. Received: "
            f"{name}={fraction!r}. Pass 0.02 for L2E's setting."
        )
    return fractions
