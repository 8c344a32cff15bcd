"""Sequences of simulated rain, and how HKO-7 scores forecasts of it.

Rain cells move, grow, decay and spread. The rain rate in mm/h at place x and time t is

    R(x, t) = Σ_i A_i(t) · s_i / s_i(t) · exp(-|x - x_i - v_i t|² / (2 s_i(t)))
    s_i(t) = s_i + 2 D t
    A_i(t) = A_i · exp(-(t - t_i)² / (2 w_i²))

the exact solution of ∂R/∂t + v·∇R = D ∇²R + (A'/A) R for Gaussian cells. All cells of a
sequence share a wind with small deviations; places are in pixels, the edges periodic.
"""

import numpy as np

from evidence.setting import Part, Split

SIZE, SEEN, AHEAD = 16, 5, 20
DIFFUSION = 0.05  # pixels² a frame
# Marshall-Palmer in HKO-7's form, Z = 58.53 R^1.56, and its pixel values.
Z_FACTOR, Z_POWER = 58.53, 1.56
WEIGHTS = ((30.0, 30.0), (10.0, 10.0), (5.0, 5.0), (2.0, 2.0), (0.0, 1.0))


def rain(seed: int, number: int, size: int = SIZE) -> np.ndarray:
    """Rain rates in mm/h, `(number, SEEN + AHEAD, size, size)`."""
    rng = np.random.default_rng([11, seed])
    time, place = np.arange(SEEN + AHEAD), np.arange(size)
    found = np.zeros((number, len(time), size, size), "float32")
    for sequence in found:
        wind = rng.normal(0, 0.5, 2)
        for _ in range(rng.integers(3, 9)):
            velocity = wind + rng.normal(0, 0.1, 2)
            start = rng.uniform(0, size, 2)
            spread = rng.uniform(1.5, 4.0) ** 2
            peak, width = rng.uniform(-5, len(time)), rng.uniform(6, 15)
            strength = min(rng.lognormal(2.0, 0.9), 80.0)
            sequence += cell(
                time, place, size, start, velocity, spread, strength, peak, width
            )
    return found


def cell(time, place, size, start, velocity, spread, strength, peak, width):
    """One cell's rates, `(times, places, places)`."""
    time = np.asarray(time)[:, None, None]
    wide = spread + 2 * DIFFUSION * time
    strength = strength * np.exp(-((time - peak) ** 2) / (2 * width**2))
    squared = 0.0
    for axis, shape in enumerate(((1, -1, 1), (1, 1, -1))):
        away = place.reshape(shape) - start[axis] - velocity[axis] * time
        away = (away + size / 2) % size - size / 2
        squared = squared + away**2
    return strength * spread / wide * np.exp(-squared / (2 * wide))


def pixels(rate: np.ndarray) -> np.ndarray:
    """HKO-7's pixel values: (dBZ + 10) / 70, cut off at 0 and 1."""
    decibel = 10 * np.log10(Z_FACTOR * np.maximum(rate, 1e-6) ** Z_POWER)
    return np.clip((decibel + 10) / 70, 0, 1).astype("float32")


def rates(pixel: np.ndarray) -> np.ndarray:
    """Rain rates in mm/h of pixel values."""
    return (10 ** ((70 * pixel - 10) / 10) / Z_FACTOR) ** (1 / Z_POWER)


def balance(pixel: np.ndarray) -> np.ndarray:
    """HKO-7's weight of every pixel: 1, 2, 5, 10 or 30 by the rain rate there."""
    rate = rates(pixel)
    levels = [rate >= least for least, _ in WEIGHTS]
    return np.select(levels, [weight for _, weight in WEIGHTS]).astype("float32")


def sequences(seed: int, train: int = 160, test: int = 96, size: int = SIZE) -> Split:
    """Five frames, and the twenty after them with their weights as a second channel.

    The seed draws the training sequences; validation and test are the same for all.
    """
    parts = []
    for its_seed, number in ((seed, train), (10_001, test), (10_002, test)):
        frames = pixels(rain(its_seed, number, size))[..., None]
        seen, ahead = frames[:, :SEEN], frames[:, SEEN:]
        parts.append(Part(seen, np.concatenate([ahead, balance(ahead)], axis=-1)))
    return Split(*parts)
