"""Streams of φ of several shapes."""

import numpy as np


def normal(rng, size):
    return rng.normal(size=size) ** 2


def student_t3(rng, size):
    return rng.standard_t(3, size=size) ** 2 / 3


def exponential(rng, size):
    return (rng.exponential(size=size) - 1) ** 2


def relu_sparse(rng, size):
    """90 % of the activations are 0, all with the same φ."""
    z = np.maximum(rng.normal(size=size) - 1.2816, 0)
    return ((z - 0.047) / 0.19) ** 2


def relu_sparse_around_zero(rng, size):
    """90 % of the activations are their neuron's mean: φ = 0."""
    return np.maximum(rng.normal(size=size) - 1.2816, 0) ** 2


def heavy_duplicates(rng, size):
    """Activations rounded to a quarter of their standard deviation."""
    return (np.round(4 * rng.normal(size=size)) / 4) ** 2


def few_values(rng, size):
    return rng.integers(0, 4, size=size) * 1.0


ALL = {
    f.__name__: f
    for f in (
        normal,
        student_t3,
        exponential,
        relu_sparse,
        relu_sparse_around_zero,
        heavy_duplicates,
        few_values,
    )
}


def drawn(name, seed, *shape):
    return ALL[name](np.random.default_rng(seed), shape).astype("float32")
