"""The rules of the moving threshold in float64 NumPy, with a sort."""

import math

import numpy as np


class ThresholdOracle:
    def __init__(self, fraction):
        self.fraction = fraction
        self.threshold = self.error = self.share = 0.0
        self.age, self.tied = 0, False

    def follow(self, phi):
        """What is selected of a batch without masked entries; moves the state."""
        f, n = self.fraction, phi.size
        noise = 1 / math.sqrt(f * n)
        changed = abs(self.error) > 0.5 + max(0.8 * noise, 0.25 * noise**2)
        much = f + (1 - f) / 2 * (1 + noise**2)
        changed = changed or (self.share > much and not self.tied)
        settled = self.tied and abs(self.error) < 0.1
        turn = self.threshold == 0 or (self.age % 32 == 0 and not settled)
        level, look = self.threshold, changed or turn
        if look:
            level = np.sort(phi.ravel())[::-1][max(round(f * n), 1) - 1]
        above, reaching = self.shares(phi, level)
        equal = reaching - above
        self.tied = equal >= 0.1 * f and equal * n >= 2
        t, error = self.threshold, self.error
        if not look or changed or self.tied or t == 0:
            t = level
        if t != self.threshold:
            error = 0.0
        if changed:
            self.age = 0
        self.threshold = t
        selected = (phi >= t) & (phi > 0)
        wrong = max(above / f - 1, 0) + min(reaching / f - 1, 0)
        wrong = min(wrong, 1 + 4 * noise**2)
        if not (self.tied and abs(error) < 0.1):
            gain = min(max(0.012, 0.3 / (self.age + 1)), f * n)
            self.threshold = t * math.exp(min(gain * wrong, 1))
        self.error = error + (wrong - error) / 16
        self.age += 1
        self.share = selected.mean()
        return selected

    def shares(self, phi, t):
        return (phi > t).mean(), (phi >= t).mean() if t > 0 else 1.0
