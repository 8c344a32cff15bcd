"""The papers' definitions in float64 NumPy, written without the package's tricks."""

import itertools
import math

import numpy as np


class Oracle:
    """What a layer has to do with one training batch after another.

    Keeps, for every neuron, the mean, the sum of squared deviations and the number of
    values it stands for. `strength`, `select_count` and `per` are the layer's.
    """

    def __init__(
        self,
        axes,
        select_count=1,
        per="sample",
        strength=1.0,
        forget_steps=10,
        start_step=10,
        variance_compensation=0.01,
        include_current_batch=False,
    ):
        self.axes = axes  # neuron axes, non-negative
        self.select_count, self.per, self.strength = select_count, per, strength
        self.forget_steps, self.start_step = forget_steps, start_step
        self.compensation = variance_compensation
        self.include_current_batch = include_current_batch
        self.step = 0
        self.count = None

    def train(self, z, upstream=None, mask=None):
        """Output and input gradient of one training batch; moves the state."""
        z = np.asarray(z, np.float64)
        valid = self._valid(z, mask)
        if self.count is None:
            shape = [n if i in self.axes else 1 for i, n in enumerate(z.shape)]
            self.count, self.largest = np.zeros(shape), np.zeros(shape)
            self.mean, self.variance = np.zeros(shape), np.zeros(shape)
        before = self.mean, self.variance, self.count
        self._learn(z, valid)
        after = self.mean, self.variance, self.count
        mean, variance, count = after if self.include_current_batch else before
        phi = self.phi(z, valid, mean, variance, count)
        selected = self.select(phi) & (self.step >= self.start_step)
        self.step += 1
        out = np.where(selected, np.broadcast_to(mean, z.shape), z)
        if upstream is None:
            return out, selected
        return out, np.where(selected, -self.strength, 1.0) * upstream

    def phi(self, z, valid, mean, variance, count):
        known = count >= 2
        average = variance[known].mean() if known.any() else 0.0
        denominator = np.broadcast_to(variance + self.compensation * average, z.shape)
        usable = valid & np.broadcast_to(known, z.shape) & (denominator > 0)
        phi = np.zeros(z.shape)
        centred = z - mean
        phi[usable] = centred[usable] ** 2 / denominator[usable]
        return phi

    def select(self, phi):
        if self.per == "sample":
            rows = phi.reshape(len(phi), math.prod(phi.shape[1:]))
            return self._largest(rows).reshape(phi.shape)
        channels = self.axes[-1]
        moved = np.moveaxis(phi, channels, -1)
        rows = moved.reshape(-1, moved.shape[-1])
        return np.moveaxis(self._largest(rows).reshape(moved.shape), -1, channels)

    def _largest(self, rows):
        if not rows.size:
            return np.zeros(rows.shape, bool)
        k = min(self.select_count, rows.shape[1])
        kth = np.sort(rows, axis=1)[:, ::-1][:, k - 1 : k]
        return (rows >= kth) & (rows > 0)

    def _valid(self, z, mask):
        valid = np.isfinite(z)
        if mask is not None:
            mask = np.asarray(mask, bool)
            valid &= mask.reshape(mask.shape + (1,) * (z.ndim - mask.ndim))
        return valid

    def _learn(self, z, valid):
        """Merge, neuron by neuron, by the definition of mean and variance."""
        self.mean, self.variance = self.mean.copy(), self.variance.copy()
        self.count, self.largest = self.count.copy(), self.largest.copy()
        ranges = [range(n) if n > 1 else [0] for n in self.count.shape]
        for neuron in itertools.product(*ranges):
            index = tuple(
                neuron[i] if i in self.axes else slice(None) for i in range(z.ndim)
            )
            values = z[index][valid[index]]
            self._merge(neuron, values)

    def _merge(self, neuron, values):
        b = values.size
        if not b:
            return
        self.largest[neuron] = max(self.largest[neuron], b)
        m = self.count[neuron]
        if self.forget_steps is not None:
            m = min(m, self.forget_steps * self.largest[neuron])
        mean, variance = self.mean[neuron], self.variance[neuron]
        # m values of this mean and unbiased variance, and the new ones, together
        total = m + b
        union = (m * mean + values.sum()) / total
        squares = max(m - 1, 0) * variance + m * (mean - union) ** 2
        squares += ((values - union) ** 2).sum()
        self.count[neuron] = total
        self.mean[neuron] = union
        self.variance[neuron] = squares / (total - 1) if total > 1 else 0.0
