"""The rules of the moving threshold in float64 NumPy, with a sort."""

import math

import numpy as np

LARGEST, SMALLEST = 1e30, 1.2e-38


class ThresholdOracle:
    def __init__(self, fraction):
        self.fraction = fraction
        self.threshold = self.error = self.noise = 0.0
        self.above = 1.0
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
        self.window = []
        found = np.sort(phi.ravel())[::-1][max(round(f * n), 1) - 1]
        equal, _ = self.ties_at(found, phi)
        constant = equal > max(n * (0.5 if expected < 1 else 0.95), 1.5)
        tie = equal >= max(0.1 * expected, 2) and expected >= 1 and not constant
        quantile = np.clip(found, SMALLEST, LARGEST)
        changed, share_above = False, 1.0
        if self.number >= 32:
            _, above = self.ties_at(t if self.ties else found, phi)
            share_above = self.above + (above / expected - self.above) / 4
            weight = 1 - (1 - hits / 32) ** length
            self.error += weight * (mean - self.error)
            weight = 1 - (1 - hits / 256) ** length
            self.noise += weight * (square / 2 - self.noise)
            changed = self.error**2 > max(0.04, self.noise) and not self.ties
        if self.number == 0 or t >= LARGEST or changed:
            self.threshold, self.ties = LARGEST if constant else quantile, tie
            self.noise, self.error = 0.5 / hits, 0.0
            self.above = share_above if tie else 1.0
        elif self.number < 32:
            self.jump(mean, length, expected)
        else:
            self.check(phi, mean, found, tie, share_above)

    def check(self, phi, mean, found, tie, share_above):
        t, expected = self.threshold, self.fraction * phi.size
        equal, _ = self.ties_at(t, phi)
        keeps = self.ties and equal >= max(0.1 * expected, 2)
        keeps = keeps and share_above <= 1.1 and (mean >= -0.1 or t <= SMALLEST)
        self.jump(mean, 32 if self.number > 32 else 16, expected)
        lands = tie and t / 2 <= found <= 2 * t and not self.ties
        if lands:
            self.threshold = np.clip(found, SMALLEST, LARGEST)
        self.ties = keeps or lands
        self.error = 0.0 if self.ties else self.error
        self.above = share_above if self.ties else 1.0

    def jump(self, mean, length, expected):
        size = 0.15 * min(1, 64 / self.number)
        if self.number > 64:
            size = max(size - 32 * min(0.012, self.fraction), 0)
        if not self.ties:
            move = np.clip(min(size, expected * length) * mean, -1, 1)
            self.threshold *= math.exp(move)

    @staticmethod
    def ties_at(level, phi):
        """How many equal a level, and how many exceed it."""
        if level <= SMALLEST:
            above = (phi >= SMALLEST).sum()
            return phi.size - above, above
        return (phi == level).sum(), (phi > level).sum()
