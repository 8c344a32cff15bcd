"""MEmeL's ConvGRU for precipitation nowcasting on HKO-7: pretrained, then fine-tuned.

    KERAS_BACKEND=jax python studies/recipes/hko7_convgru.py --data HKO7 \\
        --pretrain plain --method memel

Never run on the real data by the authors of this library. HKO7 is a folder with
radarPNG/, radarPNG_mask/ and the lists of days. 5 frames in, 20 frames out, 6 minutes
apart; 20,000 steps, then 2,000. docs/recipes.md tells what the paper reports and what
was chosen here.
"""

import argparse
import time

import keras
import numpy as np
from common import (
    Problem,
    add_common_arguments,
    best_setting,
    check_out,
    check_save_weights,
    placed,
    run,
    settings_of,
    write_results,
)
from hko7_data import (
    INPUTS,
    OUTPUTS,
    THRESHOLDS,
    WEIGHTS,
    Sequences,
    pixel_value,
    read_layout,
)
from keras import layers, ops

import keras_mono as km

SHRINK = ((7, 5), (5, 3), (3, 2))  # kernel and stride of the way down: 480, 96, 32, 16
GROW = ((7, 5), (5, 3), (4, 2))  # and of the way up again
KERNELS = (5, 5, 3)  # of the recurrent layers, from fine to coarse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds radarPNG/")
    parser.add_argument("--pretrain", choices=("plain", "memel"), default="plain")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--finetune-steps", type=int, default=2_000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--filters", type=int, nargs=3, default=(64, 192, 192))
    parser.add_argument(
        "--history", type=int, default=1, help="n_f and l_s, in batches of sequences"
    )
    parser.add_argument("--test-sequences", type=int, help="only so many a split")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--save-weights", help="file NAME.weights.h5")
    add_common_arguments(parser)
    return parser.parse_args()


@keras.saving.register_keras_serializable(package="hko7_convgru")
class Nothing(layers.Layer):
    """A sequence of zeros: the coarsest forecaster gets no input but its state."""

    def call(self, state):
        return ops.zeros_like(ops.repeat(state[:, None, ..., :1], OUTPUTS, axis=1))


def encoder_forecaster(side, filters, setting, history):
    """Three recurrent layers down, three up, which start from the states of the first.

    Each has its own inhibition of the candidate state: 6 in all, as in the paper.
    """

    def recurrent(part, level):
        name, inhibition = f"{part}_{level + 1}", None
        if setting is not None:
            inhibition = km.layers.MonosemanticInhibition(
                setting[0],
                strength=float(setting[1]),
                start_step=history,
                forget_steps=history,
                name=f"{name}_inhibition",
            )
        return km.layers.ConvGRU2D(
            filters[level],
            KERNELS[level],
            padding="same",
            return_sequences=True,
            return_state=True,
            inhibition=inhibition,
            name=name,
        )

    def by_frame(kind, channels, kernel, stride=1, activation="leaky_relu"):
        layer = kind(channels, kernel, stride, padding="same", activation=activation)
        return layers.TimeDistributed(layer)

    x = inputs = keras.Input((INPUTS, side, side, 1))
    widths = (8, *filters[1:])
    states = []
    for level, shape in enumerate(SHRINK):
        x = by_frame(layers.Conv2D, widths[level], *shape)(x)
        x, state = recurrent("encoder", level)(x)
        states.append(state)
    x = Nothing()(states[-1])
    for level in (2, 1, 0):
        x, _ = recurrent("forecaster", level)(x, initial_state=[states[level]])
        width = filters[level] if level else 8
        x = by_frame(layers.Conv2DTranspose, width, *GROW[level])(x)
    x = by_frame(layers.Conv2D, 8, 3)(x)
    return keras.Model(inputs, by_frame(layers.Conv2D, 1, 1, activation=None)(x))


def pixel_weights(target):
    """1, 2, 5, 10 or 30 by the rain rate that a pixel shows."""
    weights = ops.full_like(target, WEIGHTS[0])
    for threshold, low, high in zip(THRESHOLDS, WEIGHTS, WEIGHTS[1:], strict=False):
        above = ops.cast(target >= pixel_value(threshold), target.dtype)
        weights = weights + (high - low) * above
    return weights


def balanced_errors(truth, found):
    """B-MSE and B-MAE of each frame: weighted sums over its unmasked pixels."""
    target, mask = truth[..., :1], truth[..., 1:]
    weights = pixel_weights(target) * mask
    error = found - target
    axes = (-3, -2, -1)
    squared = ops.sum(weights * ops.square(error), axis=axes)
    return squared, ops.sum(weights * ops.abs(error), axis=axes)


def loss(truth, found):
    """Both errors; the factor is the benchmark's and matters to the clipping only."""
    squared, absolute = balanced_errors(truth, found)
    return 1e-5 * ops.mean(squared + absolute, axis=-1)


def measured(model, sequences):
    """B-MSE and B-MAE of a frame, on average over frames and sequences."""
    sums, frames = np.zeros(2), 0
    for index in range(len(sequences)):
        x, y = sequences[index]
        found = np.clip(model.predict_on_batch(x), 0, 1)
        errors = balanced_errors(ops.convert_to_tensor(y), ops.convert_to_tensor(found))
        sums += [ops.convert_to_numpy(e).sum(dtype="float64") for e in errors]
        frames += y.shape[0] * y.shape[1]
    return {"b_mse": float(sums[0] / frames), "b_mae": float(sums[1] / frames)}


def stage(given, side, splits, setting, steps, seed, start_from=None):
    """Train one stage; gives the model and what to report of it."""
    keras.utils.set_random_seed(seed)
    begun = time.perf_counter()
    model = encoder_forecaster(side, given.filters, setting, given.history)
    if start_from is not None:
        pairs = zip(
            model.trainable_variables, start_from.trainable_variables, strict=True
        )
        for variable, value in pairs:
            variable.assign(value)
    optimizer = keras.optimizers.Adam(
        given.learning_rate, beta_1=0.5, epsilon=1e-8, global_clipnorm=50.0
    )
    model.compile(optimizer, loss)
    more = {"batch_size": given.batch_size, "workers": given.workers}
    train = Sequences(*splits["train"], steps=steps, seed=seed, **more)
    history = model.fit(train, epochs=1, shuffle=False, verbose=2)
    held_out = {
        split: Sequences(frames, starts[: given.test_sequences], **more)
        for split, (frames, starts) in splits.items()
        if split != "train"
    }
    return model, {
        "k": setting and setting[0],
        "strength": setting and setting[1],
        "steps": steps,
        "loss": history.history["loss"][-1],
        "metrics": {split: measured(model, x) for split, x in held_out.items()},
        "layers": placed(model),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def main():
    given = arguments()
    settings = settings_of(given.method, given.k, given.strength)
    check_out(given.out)
    if min(given.steps, given.finetune_steps, given.history) < 1:
        raise Problem("--steps, --finetune-steps and --history must be 1 or more.")
    check_save_weights(given.save_weights, len(given.seeds) * len(settings))
    splits, side, published = read_layout(given.data, given.allow_other_sizes)
    runs = []
    for seed in given.seeds:
        first = settings_of(given.pretrain)[0]
        pretrained, before = stage(given, side, splits, first, given.steps, seed)
        for setting in settings:
            model, after = stage(
                given, side, splits, setting, given.finetune_steps, seed + 1, pretrained
            )
            runs.append({"seed": seed, "pretraining": before, "finetuning": after})
            print(f"seed {seed}, (k, Δ) {setting}: {after['metrics']}")
            if given.save_weights:
                km.strip(model).save_weights(given.save_weights)
            write_results(  # after every run: what is done must survive a stop
                given,
                "hko7_convgru",
                complete=len(runs) == len(given.seeds) * len(settings),
                published_sizes=published,
                data={
                    split: {"frames": len(frames), "sequences": len(starts)}
                    for split, (frames, starts) in splits.items()
                },
                runs=runs,
                best=best_setting(
                    [run["finetuning"] for run in runs],
                    ("k", "strength"),
                    lambda found: -found["metrics"]["valid"]["b_mse"],
                ),
            )


if __name__ == "__main__":
    run(main)
