"""The rules of the moving threshold in float64 NumPy, with a sort."""

import math

import numpy as np

LARGEST = 1e30


class ThresholdOracle:
    def __init__(self, fraction):
        self.fraction = fraction
        self.threshold = self.error = self.square = self.share = 0.0
        self.age, self.tied = 0, False

    def follow(self, phi):
        """What is selected of a batch without masked entries; moves the state."""
        f, n = self.fraction, phi.size
        if self.age % 32 == 0:
            self.look(np.sort(phi.ravel())[::-1][max(round(f * n), 1) - 1], phi)
        else:
            self.wait_if_flooded(phi)
        t = self.threshold
        selected = (phi >= t) & (phi > 0)
        share = selected.mean()
        above = (phi > t).mean() if self.tied else share
        reaching = share if t > 0 else 1.0
        wrong = max(above / f - 1, 0) + min(reaching / f - 1, 0)
        hits = min(f * n, 1)
        self.error += (wrong - self.error) * hits / 32
        self.square += (wrong**2 - self.square) * hits / 256
        self.tied = self.tied and abs(self.error) < 0.1
        if not self.tied and t < LARGEST:
            gain = min(max(min(0.012, f), 0.5 / (self.age + 1)), f * n)
            self.threshold = min(t * math.exp(min(gain * wrong, 1)), LARGEST)
        self.age += 1
        self.share = share
        return selected

    def look(self, found, phi):
        f, n, t = self.fraction, phi.size, self.threshold
        unset = self.age == 0 or t == 0 or t >= LARGEST
        one_sided = self.error**2 > self.square / 2 and abs(self.error) > 0.2
        reaching = (phi >= found).sum() if found > 0 else n
        equal = reaching - (phi > found).sum()
        tie, enough = equal >= max(0.1 * f * n, 2), f * n >= 1
        if unset or one_sided:
            if tie and not enough and equal > n / 2:
                found = LARGEST
            self.threshold, self.tied = min(found, LARGEST), tie and enough
            self.error, self.square, self.age = 0.0, 1 + 1 / (f * n), 0
        elif tie and enough and not self.tied and t / 2 < found < 2 * t:
            self.threshold, self.tied, self.error = found, True, 0.0

    def wait_if_flooded(self, phi):
        f, t = self.fraction, self.threshold
        much = f + 0.9 * (1 - f) * (1 + 1 / (f * phi.size))
        above = (phi > t) if self.tied or t == 0 else (phi >= t)
        if above.mean() > much and (self.share > much or t == 0):
            self.threshold = LARGEST
