"""How long the penalty's gradient is beside the loss's, at every penalized layer.

    KERAS_BACKEND=jax PYTHONPATH=studies python -m manipulation.doses

Trains each network once with `form="phi"` at one weight and writes the ratio of the two
lengths over the training, in standard deviations of the neurons, to doses.json.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from keras import ops

import keras_mono as km
from evidence.methods import FRACTION
from evidence.setting import Setting
from keras_mono._internal.masks import as_entries, combine_masks
from keras_mono.backend import backend
from keras_mono.ops.scale_invariant_penalty import (
    standardized,
    without_shift_and_scale,
)
from manipulation.measures import Measuring
from manipulation.methods import Manipulation
from manipulation.networks import networks
from manipulation.outcomes import STORED
from manipulation.relative import DOSES

WEIGHT, SEED = 0.003, 1000
heard: dict[str, list[tuple[float, float]]] = {}


class Probe(km.layers.MonosemanticPenalty):
    """Trains as its parent does, and tells how long both gradients are."""

    def _act(self, inputs, mask, selection):
        self._now = selection.selected
        return super()._act(inputs, mask, selection)

    def call(self, inputs, mask=None, training=None, padding_mask=None):
        outputs = super().call(inputs, mask, training, padding_mask)
        if not self._is_training(training):
            return outputs
        mask = combine_masks(mask, padding_mask)
        valid = backend.valid(*as_entries(inputs, mask))
        fixed, axes = ops.stop_gradient(inputs), self._reduction_axes
        unit = standardized(fixed, valid, axes)
        chosen = ops.cast(self._now, "float32")
        p = 2.0 * without_shift_and_scale(chosen * unit.deviation, unit, axes)
        p = p / ops.maximum(ops.sum(chosen), 1.0)
        scale = unit.valid * ops.where(unit.precision > 0, 1 / unit.precision, 0.0)

        def unchanged(upstream, p, scale):
            g = upstream * scale
            jax.debug.callback(self._hear, _length(p), _length(g), ops.sum(p * g))
            return upstream

        nothing, value = ops.zeros_like(inputs, "bool"), ops.zeros(())
        return backend.replace_by(outputs, nothing, value, unchanged, p, scale)

    def _hear(self, p, g, product):
        if p > 0 and g > 0:
            ratios = (WEIGHT * float(p / g), float(product / (p * g)))
            heard.setdefault(self.name, []).append(ratios)


def _length(x):
    return ops.sqrt(ops.sum(ops.square(x)))


class Probed(Manipulation):
    """The penalty of the study, with a probe."""

    def layer(self, setting: Setting):
        if self.name == "plain":
            return None
        guard = setting.guard
        return Probe(WEIGHT, FRACTION, forget_steps=guard, start_step=guard, form="phi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=STORED)
    given = parser.parse_args()
    found = {}
    for name, network in networks().items():
        heard.clear()
        trainer = Measuring(network)
        trainer.method = Probed
        trainer.run(network.path(f"phi:weight={WEIGHT:g}"), SEED)
        jax.effects_barrier()
        found[name] = {
            layer.rpartition("_")[0]: summed_up(np.array(ratios))
            for layer, ratios in sorted(heard.items())
        }
        print(name, found[name], flush=True)
    (given.out / DOSES).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def summed_up(batches: np.ndarray) -> dict[str, float]:
    """Of the batches in which anything was selected."""
    ratios, cosines = batches.T
    low, median, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    found = {"low": low, "median": median, "high": high, "batches": len(ratios)}
    found["cosine"] = np.median(cosines)
    return {key: float(f"{value:.3g}") for key, value in found.items()}


if __name__ == "__main__":
    main()
