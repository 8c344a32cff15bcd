import numpy as np


class UniformSample:
    """A uniform random sample of a stream of inputs, of bounded size."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = np.random.default_rng(seed)
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._held = 0

    def add(self, z: np.ndarray, labels: np.ndarray, units: np.ndarray) -> None:
        """Add activations `(inputs, neurons)`, their labels and what was labelled."""
        keys = self._random.random(len(z))
        self._parts.append((keys, np.asarray(z, np.float32), labels, units))
        self._held += len(z)
        if self._held > 2 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        """Keep the inputs with the smallest random keys."""
        parts = [np.concatenate(p) for p in zip(*self._parts, strict=True)]
        keys = parts[0]
        if len(keys) > self.size:
            kept = np.sort(np.argpartition(keys, self.size)[: self.size])
            parts = [part[kept] for part in parts]
        self._parts, self._held = [tuple(parts)], len(parts[0])

    def taken(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Activations, labels and units of the sample, in the order of the stream."""
        self._shrink()
        _, z, labels, units = self._parts[0]
        return z, labels, units
