"""MEmeL's fine-tuning of BERT-base on a GLUE task, with KerasHub.

    KERAS_BACKEND=jax python studies/recipes/glue_bert.py --data GLUE --task CoLA \\
        --weights bert_base_en_uncased --method memel

Never run on the real data by the authors of this library. GLUE is a folder with the
published files, such as GLUE/CoLA/train.tsv. Trains once for every learning rate, takes
the best by the dev set, and writes all that came out to a JSON file.
docs/recipes.md tells what the paper reports and what was chosen here.
"""

import argparse
import itertools
import math
import time

import keras
import keras_hub
import numpy as np
from common import (
    Problem,
    WarmUpThenLinear,
    add_common_arguments,
    best_setting,
    check_out,
    check_weights,
    inhibition,
    placed,
    run,
    settings_of,
    without_decay_of_small_weights,
    write_results,
)
from glue_data import TASKS, read_task
from glue_metrics import scores

import keras_mono as km

LEARNING_RATES = (5e-5, 4e-5, 3e-5, 2e-5)
CHUNK = 4096  # texts to tokenize at a time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds CoLA/, ...")
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument("--weights", default="bert_base_en_uncased", help="or a folder")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=128, help="longest input, tokens")
    parser.add_argument(
        "--learning-rates", type=float, nargs="+", default=LEARNING_RATES
    )
    add_common_arguments(parser)
    return parser.parse_args()


def preprocessor_of(weights, length):
    """KerasHub's tokenizer; which needs tensorflow-text before KerasHub 0.30 or so."""
    kind = keras_hub.models.BertTextClassifierPreprocessor
    try:
        return kind.from_preset(weights, sequence_length=length)
    except ImportError as error:
        raise Problem(
            f"KerasHub {keras_hub.__version__} cannot make BERT's tokenizer here: "
            f"{error}. Install tensorflow-text, or a newer KerasHub, whose tokenizer "
            "does without."
        ) from None
    except (ValueError, FileNotFoundError) as error:
        raise Problem(
            f"--weights {weights}: KerasHub finds no tokenizer of BERT there. It says: "
            f"{error}"
        ) from None


def tokenized(preprocessor, texts):
    """The model's inputs by name, as NumPy arrays."""
    parts = []
    for start in range(0, len(texts), CHUNK):
        columns = zip(*texts[start : start + CHUNK], strict=True)
        # The None stands for labels: alone, a pair would be taken for (texts, labels).
        found = preprocessor(tuple(list(c) for c in columns), None)
        parts.append({k: keras.ops.convert_to_numpy(v) for k, v in found.items()})
    return {
        key: np.concatenate([part[key] for part in parts]).astype("int32")
        for key in parts[0]
    }


def classifier(weights, task, layer):
    """BERT with a new head, and `layer` after the four middle blocks."""
    outputs = 1 if task.labels is None else len(task.labels)
    model = keras_hub.models.BertTextClassifier.from_preset(
        weights, num_classes=outputs, preprocessor=None
    )
    where = km.middle(model, "*transformer_layer_*")
    if layer is not None:
        model = km.insert_after(model, where, layer)
    # A task's own `fit` wants a data loader; a plain model takes arrays.
    return keras.Model(model.input, model.output), where


def compiled(model, task, rate, steps):
    schedule = WarmUpThenLinear(rate, steps, round(0.1 * steps))
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0
    )
    loss = (
        keras.losses.MeanSquaredError()
        if task.labels is None
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.compile(without_decay_of_small_weights(optimizer), loss)
    return model


def trained(given, task, inputs, labels, seed, rate, setting):
    """One run: what it was asked for, and its metrics on every dev split."""
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model, where = classifier(given.weights, task, inhibition(setting, axis=-1))
    steps = given.epochs * math.ceil(len(labels["train"]) / given.batch_size)
    compiled(model, task, rate, steps)
    history = model.fit(
        inputs["train"],
        labels["train"][:, None],  # as the head's one column where it puts out a score
        batch_size=given.batch_size,
        epochs=given.epochs,
        verbose=2,
    )
    metrics = {}
    for split in task.dev:
        outputs = model.predict(inputs[split], given.batch_size, verbose=0)
        metrics[split] = scores(task, labels[split], outputs)
    return {
        "seed": seed,
        "learning_rate": rate,
        "k": setting and setting[0],
        "strength": setting and setting[1],
        "metrics": metrics,
        "loss": history.history["loss"],
        "steps": steps,
        "followed": where if setting else [],
        "layers": placed(model),
        "seconds": round(time.perf_counter() - start, 1),
    }


def score_of(task):
    """The table's metric on the first dev split, of a run."""
    split, metric = next(iter(task.dev)), task.metrics[0]
    return lambda run: run["metrics"][split][metric]


def main():
    given = arguments()
    settings = settings_of(given.method, given.k, given.strength)
    check_out(given.out)
    check_weights(given.weights)
    task = TASKS[given.task]
    splits, published = read_task(given.data, given.task, given.allow_other_sizes)
    preprocessor = preprocessor_of(given.weights, given.length)
    inputs = {s: tokenized(preprocessor, x.texts) for s, x in splits.items()}
    labels = {s: x.labels for s, x in splits.items()}
    about_data = {
        s: {
            "samples": len(x.texts),
            "labels": x.counts(task),
            "left_out": x.left_out,
        }
        for s, x in splits.items()
    }
    runs = []
    grid = list(itertools.product(given.seeds, settings, given.learning_rates))
    for seed, setting, rate in grid:
        runs.append(trained(given, task, inputs, labels, seed, rate, setting))
        print(f"seed {seed}, (k, Δ) {setting}, lr {rate}: {runs[-1]['metrics']}")
        write_results(  # after every run: what is done must survive a stop
            given,
            "glue_bert",
            complete=len(runs) == len(grid),
            published_sizes=published,
            data=about_data,
            runs=runs,
            best=best_setting(runs, ("learning_rate", "k", "strength"), score_of(task)),
        )


if __name__ == "__main__":
    run(main)
