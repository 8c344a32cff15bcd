"""The rules of the moving threshold in float64 NumPy, with a sort."""

import math

import numpy as np


class ThresholdOracle:
    def __init__(self, fraction):
        self.fraction = fraction
        self.threshold = self.error = 0.0
        self.age, self.tied = 0, False

    def follow(self, phi):
        """What is selected of a batch without masked entries; moves the state."""
        f, n = self.fraction, phi.size
        noise = 1 / math.sqrt(f * n)
        new = self.age == 0 or abs(self.error) > 0.5 + 0.8 * noise
        settled = self.tied and abs(self.error) < 0.1
        error = self.error
        if new or (self.age % 32 == 0 and not settled):
            found = np.sort(phi.ravel())[::-1][max(round(f * n), 1) - 1]
            if new or self.ties(phi, found) or self.threshold == 0:
                error = 0.0 if found != self.threshold else error
                self.threshold = found
        if new:
            self.age = 0
        t = self.threshold
        selected = (phi >= t) & (phi > 0)
        above, reaching = self.shares(phi, t)
        self.tied = self.ties(phi, t)
        wrong = max(above / f - 1, 0) + min(reaching / f - 1, 0)
        wrong = min(wrong, 1 + 4 * noise**2)
        if not (self.tied and abs(error) < 0.1):
            gain = max(0.012, 0.3 / (self.age + 1))
            self.threshold = t * math.exp(min(gain * wrong, 1))
        self.error = error + (wrong - error) / 16
        self.age += 1
        return selected

    def shares(self, phi, t):
        return (phi > t).mean(), (phi >= t).mean() if t > 0 else 1.0

    def ties(self, phi, t):
        above, reaching = self.shares(phi, t)
        equal = reaching - above
        return equal >= 0.1 * self.fraction and equal * phi.size >= 2
