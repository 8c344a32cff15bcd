"""What is measured of a trained network, on validation and test data."""

from typing import Any

import keras
import numpy as np

import keras_mono as km
from evidence.methods import FRACTION, Method
from evidence.setting import Part, Split
from evidence.training import PREDICTED, Trainer, Variant, assign, values
from manipulation.methods import Manipulation
from manipulation.networks import Network

Activations = dict[str, np.ndarray]


def tail(z: np.ndarray) -> float:
    """Mean of the 2 % largest φ, against the mean and variance of `z` itself.

    Neurons that never change are left out; NaN if there are no others.
    """
    z = z[:, np.ptp(z, axis=0) > 0].astype("float64")
    if not z.size:
        return np.nan
    variance = z.var(axis=0, ddof=1)
    phi = (z - z.mean(axis=0)) ** 2 / (variance + 0.01 * variance.mean())
    largest = max(round(FRACTION * phi.size), 1)
    return float(np.partition(phi, -largest, axis=None)[-largest:].mean())


def dead(z: np.ndarray) -> float:
    """Share of neurons without variance, in percent."""
    return 100 * float((np.ptp(z, axis=0) == 0).mean())


def selectivity(z: np.ndarray, labels: np.ndarray, by_sample: bool) -> float:
    """CSI, or φ_ℓ* - 1: the mean over neurons that change; NaN if none does."""
    if by_sample:
        found = km.analysis.measures(z, labels).class_selectivity
    else:
        found = km.analysis.feature_scores(z, labels).best_phi - 1
    return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan


class Reader:
    """Predictions and activations of a network, by one model for every method.

    All methods are the identity at inference, so that the plain model will do.
    """

    def __init__(self, network: Network) -> None:
        setting = network.setting
        self.network = network
        self.model = setting.tasks[-1].build(None)
        self.penalized = km.middle(self.model, setting.units, setting.middle)
        self.layers = [network.below, *self.penalized]
        outputs = [self.model.get_layer(name).output for name in self.layers]
        self.reads = keras.Model(self.model.inputs, [self.model.output, *outputs])

    def read(self, x: np.ndarray) -> tuple[np.ndarray, Activations]:
        """Activations are `(inputs, ..., neurons)`, NaN at padding."""
        predicted, *found = self.reads.predict(x, PREDICTED, verbose=0)
        if self.network.padding:
            found = [np.where((x > 0)[..., None], z, np.nan) for z in found]
        return predicted, dict(zip(self.layers, found, strict=True))


def entries(z: np.ndarray) -> np.ndarray:
    """`(entries, neurons)` without padding."""
    z = z.reshape(-1, z.shape[-1])
    return z[np.isfinite(z).all(axis=1)]


class Measuring(Trainer):
    """Trains as the study of the claims does, and measures what its title says."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.setting, Manipulation)
        self.network = network
        self.reader = Reader(network)

    def figures(
        self,
        variant: Variant,
        method: Method,  # noqa: ARG002
        split: Split,
    ) -> dict[str, float]:
        assign(self.reader.model, values(variant.model))
        found: dict[str, float] = {}
        for name in ("validation", "test"):
            figures = self._of_part(name, getattr(split, name))
            found |= {f"{name} {key}": value for key, value in figures.items()}
        # What is not there, such as the tail of a dead layer, is left out.
        return {key: value for key, value in found.items() if np.isfinite(value)}

    def _of_part(self, name: str, part: Part) -> dict[str, float]:
        task = self.setting.tasks[-1]
        predicted, z = self.reader.read(part.x)
        flat = {layer: entries(values) for layer, values in z.items()}
        units = [flat[layer] for layer in self.reader.penalized]
        return {
            **task.measure(predicted, part.y),
            "loss": _loss(task.loss, part.y, predicted),
            "constant": self.network.constant(part.y),
            "tail": float(np.mean([tail(each) for each in units])),
            "tail below": tail(flat[self.network.below]),
            "scale": float(np.mean([each.std(axis=0).mean() for each in units])),
            "dead": float(np.mean([dead(each) for each in units])),
            "selectivity": self._selectivity(name, part, z),
        }

    def _selectivity(self, name: str, part: Part, z: Activations) -> float:
        found = []
        for layer in self.reader.penalized:
            x, labels = self.network.labelled(part, name, layer)
            if x is not None:
                _, z = self.reader.read(x)
            found.append(selectivity(z[layer], labels, self.network.by_sample))
        return float(np.mean(found))


def _loss(loss: Any, y: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean(keras.ops.convert_to_numpy(loss(y, predicted))))
