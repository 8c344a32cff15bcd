"""What the recipes share: the papers' methods, schedules, and the file of results."""

import importlib.metadata
import itertools
import json
import platform
import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

import keras_mono as km

METHODS = ("plain", "memel", "naive-a", "naive-b", "tuned")
STRENGTHS = {"memel": 1.0, "naive-a": 0.0, "naive-b": -1.0}
TUNED = (1, 5, 10, 50, 100)  # MEmeL-Tune searches these for k and for Δ


class Problem(Exception):
    """Something that the user can put right; `run` prints it without a traceback."""


def expected(what, wanted, received, fix):
    return Problem(f"{what}: expected {wanted}, received {received}. {fix}")


def check_size(what, wanted, received, allow_other_sizes):
    """`wanted` is one number or, where two versions are published, a tuple of them."""
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    if received in wanted:
        return True
    numbers = " or ".join(f"{x:,}" for x in wanted)
    problem = expected(
        what,
        f"{numbers} as published",
        f"{received:,}",
        "Get the whole data set again, or pass --allow-other-sizes to go on.",
    )
    if not allow_other_sizes:
        raise problem
    print(f"warning: {problem}", file=sys.stderr)
    return False


def add_common_arguments(parser):
    parser.add_argument("--method", choices=METHODS, default="memel")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--k", type=int, nargs="+", help="of 'tuned': k to try")
    parser.add_argument("--strength", type=float, nargs="+", help="of 'tuned': Δ")
    parser.add_argument("--allow-other-sizes", action="store_true")
    parser.add_argument("--out", default="results.json")


def settings_of(method, ks=None, strengths=None):
    """The (k, Δ) to try: None for the plain model, one for a fixed method."""
    if method != "tuned":
        if ks or strengths:
            raise Problem(
                f"--k and --strength belong to --method tuned. Received: {method}."
            )
        return [None] if method == "plain" else [(1, STRENGTHS[method])]
    return list(itertools.product(ks or TUNED, strengths or TUNED))


def inhibition(setting, axis):
    """The layer with the paper's n_f = l_s = 10 and ε = 1/100, or None if plain."""
    if setting is None:
        return None
    k, strength = setting
    return km.layers.MonosemanticInhibition(k, strength=float(strength), axis=axis)


class WarmUpThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """BERT's: from 0 up to where the line from `peak` down to 0 has got by then."""

    def __init__(self, peak, steps, warm_up):
        self.peak, self.steps, self.warm_up = peak, steps, warm_up

    def __call__(self, step):
        step = ops.cast(step, "float32")
        up = self.peak * step / max(self.warm_up, 1)
        down = self.peak * ops.maximum(1.0 - step / self.steps, 0.0)
        return ops.where(step < self.warm_up, up, down)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "warm_up": self.warm_up}


def without_decay_of_small_weights(optimizer):
    """Biases and the weights of normalizations are not decayed, as in BERT and Swin."""
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def best_setting(runs, keys, score):
    """The setting with the largest mean score over seeds; of equals the first.

    `keys` names what a setting is made of. Chosen on the data that it reports, so that
    the best of many is flattered more than the best of few.
    """
    scores = {}
    for one in runs:
        scores.setdefault(tuple(one[key] for key in keys), []).append(score(one))
    best = max(scores, key=lambda setting: np.mean(scores[setting]))
    return {
        **dict(zip(keys, best, strict=True)),
        "mean_score": float(np.mean(scores[best])),
        "scores": scores[best],
        "tried": len(scores),
    }


def check_save_weights(path, runs):
    """One file holds the weights of one run."""
    if path and runs > 1:
        raise Problem(
            f"--save-weights {path}: expected one run, received {runs}. Name one seed "
            "and one setting."
        )


def check_out(path):
    """Before hours of training, not after."""
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise Problem(f"--out {path}: there is no folder {folder}. Create it first.")


def check_weights(weights):
    """A folder that is not there must not be taken for a name to download."""
    path = Path(weights)
    is_a_path = path.exists() or path.is_absolute() or "/" in weights
    if "://" in weights or not is_a_path or (path / "config.json").is_file():
        return
    raise Problem(
        f"--weights {weights}: expected a folder that KerasHub's `save_to_preset` "
        "wrote, with a config.json, received none. Pass its path, or the name of a "
        "preset, such as bert_base_en_uncased, to download it."
    )


def versions():
    packages = ("keras", "keras-hub", "numpy", "jax", "torch", "tensorflow", "pillow")
    found = {"python": platform.python_version(), "keras_mono": km.__version__}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found | {"backend": keras.backend.backend()}


def placed(model):
    """What stands where: of each of our layers its name, and what it has seen."""
    return [
        {key: row[key] for key in ("layer", "steps", "neurons", "select")}
        for row in km.status(model)
    ]


def write_results(given, recipe, **found):
    """JSON: what was asked for, with what, and what came out."""
    results = {
        "recipe": recipe,
        "arguments": {k: v for k, v in vars(given).items() if k != "out"},
        "versions": versions(),
        **found,
    }
    text = json.dumps(results, indent=1, default=plain_number, ensure_ascii=False)
    Path(given.out).write_text(text + "\n", "utf-8")
    print(f"wrote {given.out}")


def plain_number(value):
    """NumPy's numbers and arrays, which JSON does not know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def run(main):
    try:
        main()
    except Problem as problem:
        sys.exit(f"error: {problem}")
