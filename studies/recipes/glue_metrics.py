"""GLUE's metrics in NumPy, for what scikit-learn and SciPy would be a dependency."""

import numpy as np


def accuracy(truth, found):
    return float(np.mean(truth == found))


def f1(truth, found):
    """Of class 1: twice the hits by all that is 1 in one or the other."""
    hits = np.sum((truth == 1) & (found == 1))
    all_of_them = np.sum(truth == 1) + np.sum(found == 1)
    return float(2 * hits / all_of_them) if all_of_them else 0.0


def matthews(truth, found):
    """Of classes 0 and 1: the correlation of the two, 0 where one does not vary."""
    return pearson(truth, found)


def pearson(truth, found):
    x, y = (np.asarray(a, "float64") - np.mean(a) for a in (truth, found))
    size = np.sqrt(np.sum(x**2) * np.sum(y**2))
    return float(np.sum(x * y) / size) if size else 0.0


def spearman(truth, found):
    return pearson(ranks(truth), ranks(found))


def ranks(values):
    """From 1 up; equal values share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]


METRICS = {f.__name__: f for f in (accuracy, f1, matthews, pearson, spearman)}


def scores(task, truth, outputs):
    """The task's metrics by name; `outputs` are logits, or one column of scores."""
    found = outputs[:, 0] if task.labels is None else np.argmax(outputs, -1)
    return {name: METRICS[name](truth, found) for name in task.metrics}
