"""The state of this library's layers in a model, at a glance.

Example:

>>> model = keras.Sequential([
...     keras.Input((8,)),
...     keras.layers.Dense(16, activation="relu"),
...     km.layers.MonosemanticInhibition(2, name="inhibition"),
... ])
>>> row = km.status(model)[0]
>>> row["layer"], row["steps"], row["neurons"], row["on"], row["selected_fraction"]
('inhibition', 0, 16, False, 0.125)
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._internal.as_model import as_model
from keras_mono._internal.model_layers import monosemantic_layers
from keras_mono._internal.table import Table
from keras_mono._internal.varies import varies
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.layers.selecting_layer import SelectingLayer
from keras_mono.selectors import TopK

_COLUMNS = [
    "layer",
    "kind",
    "steps",
    "neurons",
    "on",
    "form",
    "factor",
    "select",
    "selected_fraction",
    "threshold",
    "scale",
    "dead",
    "drowned",
    "non_finite",
]


def status(model: keras.Model) -> Table:
    """A table of this library's layers in a model; needs no data and no forward pass.

    Args:
        model: Any Keras model, subclassed ones too, or a PyTorch module with adapters.

    Returns:
        A `Table` with one row per layer. Cells that do not apply are None.

        - `layer`: its name, or its path where several layers share a name (numbered,
          such as `block_0/inhibition`, where they share that too). `kind`: its class.
        - `steps`: training batches seen. `neurons`: how many have statistics.
        - `on`: whether it acts in training: trainable, `enabled`, past its `start_step`
          and with finite statistics.
        - `form`: that of a penalty, the `gradient` of an inhibition. `factor`: its
          `weight` or `strength` in force.
        - `select`: the selector. `selected_fraction`: of the activations, how many are
          selected: by a `MovingThreshold` or `Random` in the latest training batch, k
          of those ranked by `TopK`.
        - `threshold`: τ of a `MovingThreshold` that has started.
        - `scale`: mean running standard deviation of the neurons. Compare it with an
          earlier one: nothing tells a small layer from one that has shrunk. The
          monitor's figure of this name is relative to its first measurement.
        - `dead`: share of neurons whose running variance is 0, but for rounding. It
          takes time to fade: a neuron that dies counts some 900 batches later with
          `forget_steps=10`, and never with None. The monitor sees it at once.
        - `drowned`: share of the varying neurons whose variance is below ε times the
          layer's average, which at least halves their φ. Near 1, a few neurons of
          enormous variance silence the others: leave them out, scale them, or lower
          `variance_compensation`.
        - `non_finite`: entries skipped because they were NaN, infinite or too large.
    """
    model = as_model(model)
    rows = [_row(name, x) for name, x in monosemantic_layers(model).items()]
    number = f"{len(rows)} layer{'' if len(rows) == 1 else 's'}"
    return Table(_COLUMNS, rows, f"{number} of keras_mono in '{model.name}'")


def _row(name: str, layer: RunningStatistics) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {"layer": name, "kind": type(layer).__name__, "steps": 0, "non_finite": 0}
    if layer.built:
        layer.check_present("be looked at")
        row["steps"] = int(ops.convert_to_numpy(layer.step))
        row["neurons"] = math.prod(layer.mean.shape)
        row |= _spread(layer)
        row["non_finite"] = int(ops.convert_to_numpy(layer.non_finite))
    if isinstance(layer, SelectingLayer):
        started = row["steps"] >= layer.start_step
        state = layer.selector_state
        is_on = layer.trainable and layer.enabled and started
        row["on"] = bool(is_on and layer.is_finite())
        if isinstance(layer, MonosemanticPenalty):
            row |= {"form": layer.form, "factor": layer.weight}
        else:
            row |= {"form": layer.gradient, "factor": layer.strength}
        row["select"] = repr(layer.select)
        row["selected_fraction"] = state.get(
            "selected_fraction", _share_of_top_k(layer)
        )
        if state.get("num_batches", 0) > 0:  # before, it selects nothing
            row["threshold"] = state.get("threshold")
    return row


def _spread(layer: RunningStatistics) -> dict[str, float | None]:
    """How much the neurons vary, of those with a history."""
    known = ops.convert_to_numpy(layer.count) >= 2
    mean, variance = (
        ops.convert_to_numpy(v).astype("float64")[known]
        for v in (layer.mean, layer.variance)
    )
    if not known.any():
        return dict.fromkeys(("scale", "dead", "drowned"))
    # NaN counts as varying, and with a NaN average all are drowned.
    alive = varies(mean, variance) | ~np.isfinite(mean + variance)
    varying = variance[alive]
    least = layer.variance_compensation * variance.mean()
    return {
        "scale": float(np.sqrt(variance).mean()),
        "dead": float((~alive).mean()),
        "drowned": float((~(varying >= least)).mean()) if varying.size else None,
    }


def _share_of_top_k(layer: SelectingLayer) -> float | None:
    if not (isinstance(layer.select, TopK) and layer.built):
        return None
    ranked = layer.ranked_activations()
    return None if ranked is None else layer.select.k / ranked
