"""The rules of the moving threshold in float64 NumPy, with a sort."""

import math

import numpy as np

LARGEST, SMALLEST = 1e30, 1.2e-38


class ThresholdOracle:
    def __init__(self, fraction):
        self.fraction = fraction
        self.threshold = self.error = self.square = self.jump = self.tie_error = 0.0
        self.number, self.ties, self.window = 0, False, []

    def follow(self, phi):
        """What is selected of a batch without masked entries; moves the state."""
        f, number = self.fraction, self.number
        if number in (0, 1, 2, 4, 8, 16) or number % 32 == 0:
            self.search(phi)
        selected = phi >= self.threshold
        error = selected.mean() - f
        if not self.ties and self.threshold < LARGEST:
            self.threshold *= math.exp(min(0.012, f) / f * error)
        self.window.append(error / f)
        self.number += 1
        return selected

    def search(self, phi):
        f, n, t = self.fraction, phi.size, self.threshold
        expected, hits, length = f * n, min(f * n, 1), max(len(self.window), 1)
        mean = np.sum(self.window) / length
        square = np.sum(np.square(self.window)) / length
        error = self.error + (1 - (1 - hits / 32) ** length) * (mean - self.error)
        self.square += (1 - (1 - hits / 256) ** length) * (square - self.square)
        self.window = []
        found = np.sort(phi.ravel())[::-1][max(round(f * n), 1) - 1]
        equal, _ = self.ties_at(found, phi)
        constant = equal > n * (0.5 if expected < 1 else 0.95) and equal >= 2
        tie = equal >= max(0.1 * expected, 2) and expected >= 1 and not constant
        unset = self.number == 0 or t >= LARGEST
        changed = abs(error) > 0.2 and error**2 > self.square / 2 and not self.ties
        jump, self.jump = min(self.jump, expected * length), self.jump * 0.7
        quantile = np.clip(found, SMALLEST, LARGEST)
        if unset or changed:
            self.threshold, self.ties = LARGEST if constant else quantile, tie
            self.square, self.jump, self.tie_error = 1 + 1 / expected, 0.5, 0.0
            self.error = 0.0
            return
        equal, above = self.ties_at(t, phi)
        tie_error = self.tie_error + (above / expected - 1 - self.tie_error) / 4
        keeps = self.ties and equal >= max(0.1 * expected, 2)
        keeps = keeps and tie_error <= 0.1 and mean >= -0.1
        lands = tie and t / 2 < found < 2 * t and not self.ties
        if lands:
            self.threshold = quantile
        elif not keeps:
            self.threshold = t * math.exp(np.clip(jump * mean, -1, 1))
        self.threshold = np.clip(self.threshold, SMALLEST, LARGEST)
        self.ties = keeps or lands
        self.error = 0.0 if self.ties else error
        self.tie_error = tie_error if keeps else 0.0

    @staticmethod
    def ties_at(level, phi):
        """How many equal a level, and how many exceed it."""
        if level <= SMALLEST:
            above = (phi >= SMALLEST).sum()
            return phi.size - above, above
        return (phi == level).sum(), (phi > level).sum()
