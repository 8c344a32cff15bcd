"""Comparing the profiles of models."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


def test_one_fraction():
    z, labels = labelled_data()
    profiles = {
        name: A.profile(one_layer(n), z, labels, ["units"], 0.02, verbose=0)
        for name, n in {"a": 3, "b": 6}.items()
    }
    assert len(A.compare(profiles)) == 2
    with pytest.raises(ValueError, match="`resamples` must be a positive integer"):
        A.compare(profiles, resamples=0)
    with pytest.raises(ValueError, match="must be what `profile` gave"):
        A.compare({"a": profiles["a"]["units"], "b": profiles["b"]})
    with pytest.raises(ValueError, match="at least two models"):
        A.compare(list(profiles.values()))


def test_comparison_in_numbers():
    """Interval as scipy's bootstrap, the nearest fraction, layer by layer."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(400, 5)), np.arange(400) % 4
    z[labels == 1, 0] += 3
    x = z.astype("float32")

    def of(units):
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(units, name="first"),
                keras.layers.Dense(units, activation="relu", name="second"),
            ]
        )
        return A.profile(model, x, labels, ["first", "second"], verbose=0)

    keras.utils.set_random_seed(1)
    profiles = {"a": of(20), "b": of(30)}
    rows = A.compare(profiles, fraction=0.019)
    from scipy import stats

    from keras_mono.analysis.compare import cliffs_delta

    for row, layer in zip(list(rows)[2:], ["first", "second"], strict=True):
        ours, base = (profiles[m][layer].scores.best_phi for m in "ba")
        ours, base = ours[~np.isnan(ours)], base[~np.isnan(base)]
        brute = np.mean(np.sign(ours[:, None] - base[None, :]))
        assert row["effect"] == pytest.approx(brute)
        interval = stats.bootstrap(
            (ours, base),
            cliffs_delta,
            vectorized=False,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(0),
        ).confidence_interval
        assert row["effect_low"] == pytest.approx(interval.low, abs=0.05)
        assert row["effect_high"] == pytest.approx(interval.high, abs=0.05)
        at = list(profiles["b"][layer].fkr.fraction).index(0.02)
        assert row["fkr"] == pytest.approx(profiles["b"][layer].fkr.rate[at])
