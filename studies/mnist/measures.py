"""What is measured of a network trained on MNIST."""

from functools import cached_property

import keras
import numpy as np

import keras_mono as km
from evidence.arms import Arm
from evidence.methods import Method
from evidence.setting import Part, Setting, Split
from evidence.training import Trainer, Variant, assign, values
from manipulation.measures import dead, entries, selectivity, tail
from mnist import data

PREDICTED = 256  # at once
READ = 512  # test digits whose activations are read
Activations = dict[str, np.ndarray]


def decorrelation(z: np.ndarray) -> float:
    """1 - mean |correlation| of pairs of neurons that change; NaN if there is none.

    DecPO takes what features have in common as its proxy of monosemanticity.
    """
    z = z[:, np.ptp(z, axis=0) > 0]
    number = z.shape[1]
    if number < 2:
        return np.nan
    together = np.abs(np.corrcoef(z, rowvar=False)).sum() - number
    return 1 - float(together) / (number * (number - 1))


class Reader:
    """Predictions and activations, by one model for every method."""

    def __init__(self, setting: Setting) -> None:
        self.model = setting.tasks[-1].build(None)
        self.units = km.middle(self.model, setting.units, setting.middle)
        outputs = [self.model.get_layer(name).output for name in self.units]
        self._reads = keras.Model(self.model.inputs, outputs)

    def predicted(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x, PREDICTED, verbose=0)

    def activations(self, x: np.ndarray) -> Activations:
        found = self._reads.predict(x, PREDICTED, verbose=0)
        found = found if isinstance(found, list) else [found]
        return dict(zip(self.units, found, strict=True))


class Measuring(Trainer):
    """`others`: the arms that are also tested on `data.OTHER`."""

    def __init__(self, setting: Setting, others: tuple[str, ...] = ()) -> None:
        super().__init__(setting, Arm)
        self._with_others = others

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.setting)

    @cached_property
    def _others(self) -> dict[str, Part]:
        """Made of the test digits, which are the same for every seed."""
        test = self.split(len(self.setting.tasks) - 1, 0).test
        return {name: of(test) for name, of in data.OTHER.items()}

    def figures(
        self, variant: Variant, method: Method, split: Split
    ) -> dict[str, float]:
        assign(self.reader.model, values(variant.model))
        found = self._task("validation", split.validation)
        found |= self._task("test", split.test)
        found |= self.of_neurons(split.test)
        if method.text in self._with_others:
            for name, part in self._others.items():
                found |= self._task(name, part)
        if method.name == "memel":
            found |= self._left_on(variant, split.test)
        # What is not there, such as the tail of a dead layer, is left out.
        return {key: value for key, value in found.items() if np.isfinite(value)}

    def _task(self, name: str, part: Part) -> dict[str, float]:
        task = self.setting.tasks[-1]
        predicted = self.reader.predicted(part.x)
        loss = keras.ops.convert_to_numpy(task.loss(part.y, predicted))
        found = {**task.measure(predicted, part.y), "loss": float(np.mean(loss))}
        return {f"{name} {key}": value for key, value in found.items()}

    def of_neurons(self, test: Part) -> dict[str, float]:
        """Tail, selectivity, scale, dead neurons and decorrelation of hidden units."""
        z = self.reader.activations(test.x[:READ])
        flat = [entries(each) for each in z.values()]
        labels = test.y[:READ]
        found = {
            "tail": [tail(each) for each in flat],
            "selectivity": [selectivity(each, labels, True) for each in z.values()],
            "scale": [each.std(axis=0).mean() for each in flat],
            "dead": [dead(each) for each in flat],
            "decorrelation": [decorrelation(each) for each in flat],
        }
        return {f"test {name}": float(np.mean(each)) for name, each in found.items()}

    def _left_on(self, variant: Variant, test: Part) -> dict[str, float]:
        """The task's figures with inhibition left on at test."""
        inhibits = km.layers.MonosemanticInhibition
        config = variant.model.get_config()
        for layer in config["layers"]:
            if layer["class_name"].rpartition(">")[2] == inhibits.__name__:
                layer["config"]["active"] = "always"
        always = keras.Model.from_config(config)
        always.set_weights(variant.model.get_weights())
        predicted = always.predict(test.x, PREDICTED, verbose=0)
        figures = self.setting.tasks[-1].measure(predicted, test.y)
        return {f"test {name}, left on": value for name, value in figures.items()}


class Planted(Measuring):
    """φ of the leaked label too, in the neuron into which it was leaked."""

    def of_neurons(self, test: Part) -> dict[str, float]:
        z = self.reader.activations(test.x)["block_0"][:, 0]
        phi = (z - z.mean()) ** 2 / z.var() if z.var() else np.full(len(z), np.nan)
        leaked = float(phi[test.y == data.LEAKED].mean())
        return {**super().of_neurons(test), "planted phi": leaked}
