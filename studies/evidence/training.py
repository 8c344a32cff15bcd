"""Training one path of methods from one seed, with models that are compiled once."""

import hashlib
import itertools
import time
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from evidence import extra
from evidence.methods import Method
from evidence.setting import Setting, Split, Task
from keras_mono.layers.running_statistics import RunningStatistics

Weights = dict[str, np.ndarray]
PREDICTED = 32  # at once; all parts are multiples of it: one compilation


class Variant:
    """A compiled model of one task, used again for every seed."""

    def __init__(self, setting: Setting, task: int, method: Method) -> None:
        self.task: Task = setting.tasks[task]
        self.model = method.model(setting, task)
        optimizer = keras.optimizers.Adam(self.task.learning_rate)
        self.model.compile(optimizer, self.task.loss)
        optimizer.build(self.model.trainable_variables)
        self.first = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]
        self.layers = our_layers(self.model)

    def train(
        self, split: Split, weights: Weights, seed: int, method: Method
    ) -> list[float]:
        """Start from `weights`; the test loss after each epoch, if wanted."""
        optimizer = self.model.optimizer
        for variable, value in zip(optimizer.variables, self.first, strict=True):
            variable.assign(value)
        rate = method.given.get("rate", self.task.learning_rate)
        optimizer.learning_rate = rate
        assign(self.model, weights)
        history = self.model.fit(
            *split.train,
            batch_size=self.task.batch_size,
            epochs=self.task.epochs,
            validation_data=tuple(split.test) if self.task.curve else None,
            validation_batch_size=self.task.batch_size,
            callbacks=[
                Seeded(method.order(seed)),
                *self._decay(rate),
                *method.callbacks(self.task),
            ],
            verbose=0,
        ).history
        return [float(loss) for loss in history.get("val_loss", [])]

    def _decay(self, rate: float) -> list[keras.callbacks.Callback]:
        epochs = self.task.epochs
        if not self.task.decays:
            return []
        return [
            keras.callbacks.LearningRateScheduler(lambda e: rate * (1 - e / epochs))
        ]


class Seeded(keras.callbacks.Callback):
    """The order of the samples depends on the seed only.

    A model's first `fit` draws an order more than its later ones, before it begins.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        keras.utils.set_random_seed(self._seed)


class Trainer:
    """Everything that the runs of one setting share.

    `method` makes a method of a text: `Method`, or a study's own kind of it.
    """

    def __init__(self, setting: Setting, method: type[Method] = Method) -> None:
        self.setting, self.method = setting, method
        self._variants: dict[tuple[int, str], Variant] = {}
        self._before: dict[tuple[int, tuple[str, ...]], Weights] = {}
        self.kept: dict[str, Any] = {}  # what is measured by, made once
        self.split = lru_cache(maxsize=4)(self._split)
        self.first = lru_cache(maxsize=4)(self._first)

    def _split(self, task: int, seed: int) -> Split:
        return self.setting.tasks[task].data(seed)

    def _first(self, task: int, seed: int) -> Weights:
        """The random start of a seed."""
        keras.utils.set_random_seed(seed)
        return values(self.setting.tasks[task].build(None))

    def run(self, path: tuple[str, ...], seed: int) -> dict[str, Any]:
        """Train all tasks of the path; figures of the last one."""
        start = time.perf_counter()
        methods = [self.method(text) for text in path]
        weights: Weights = {}
        if len(methods) > 1:
            weights = self._trained(methods[:-1], seed)
        last = len(methods) - 1
        method = methods[last]
        split = self.split(last, seed)
        variant = self._train(last, method, split, weights, seed)
        figures = self.figures(variant, method, split)
        for name in self.setting.extras:
            figures |= getattr(extra, name)(
                extra.Trained(self, variant, method, split, seed)
            )
        return {
            "data": fingerprint([self.split(task, seed) for task in range(last + 1)]),
            "seconds": round(time.perf_counter() - start, 1),
            "figures": {k: float(f"{v:.6g}") for k, v in figures.items()},
        }

    def variant(self, task: int, method: Method) -> Variant:
        """The compiled model of a method, with its strength or weight."""
        key = (task, method.sharing(self.setting))
        if key not in self._variants:
            self._variants[key] = Variant(self.setting, task, method)
        method.set_up(self.setting, self._variants[key].layers)
        return self._variants[key]

    def _trained(self, methods: list[Method], seed: int) -> Weights:
        """Weights after the first tasks; they are kept for the paths that follow."""
        key = (seed, tuple(method.text for method in methods))
        if key not in self._before:
            weights: Weights = {}
            for task, method in enumerate(methods):
                split = self.split(task, seed)
                variant = self._train(task, method, split, weights, seed)
                weights |= values(variant.model)
            self._before[key] = weights
        return self._before[key]

    def _train(
        self, task: int, method: Method, split: Split, before: Weights, seed: int
    ) -> Variant:
        variant = self.variant(task, method)
        weights = self.first(task, seed) | before
        variant.losses = variant.train(split, weights, seed, method)
        return variant

    def figures(
        self,
        variant: Variant,
        method: Method,  # noqa: ARG002
        split: Split,
    ) -> dict[str, float]:
        """What is measured of a trained model."""
        task, found = variant.task, {}
        for name in ("validation", "test"):
            part = getattr(split, name)
            predicted = variant.model.predict(part.x, PREDICTED, verbose=0)
            measured = task.measure(predicted, part.y)
            found |= {f"{name} {key}": value for key, value in measured.items()}
            loss = keras.ops.convert_to_numpy(task.loss(part.y, predicted))
            found[f"{name} loss"] = float(np.mean(loss))
        for epoch, loss in enumerate(variant.losses, 1):
            found[f"test loss after epoch {epoch}"] = loss
        return found


def our_layers(model: keras.Model) -> list[RunningStatistics]:
    """This library's layers of the model, those inside a recurrence too."""
    found = []
    for layer in model.layers:
        inside = getattr(layer, "inhibition", None)
        found += [x for x in (layer, inside) if isinstance(x, RunningStatistics)]
    return found


def values(model: keras.Model) -> Weights:
    """Weights by path, without this library's statistics.

    Models of one setting name their layers alike.
    """
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in its_own(model)}


def assign(model: keras.Model, weights: Weights) -> None:
    for variable in its_own(model):
        variable.assign(weights[variable.path])


def its_own(model: keras.Model) -> list[keras.Variable]:
    """Weights of the model, those that do not train too, without our layers'."""
    ours = {id(v) for layer in our_layers(model) for v in layer.variables}
    return [v for v in model.weights if id(v) not in ours]


def fingerprint(splits: list[Split]) -> str:
    """Of the data: installed files and libraries may give others elsewhere."""
    digest = hashlib.sha256()
    for part in itertools.chain(*splits):
        for array in part:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
