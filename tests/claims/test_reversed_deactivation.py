"""MEmeL's central claim: reversed deactivation moves a neuron towards its mean.

From the same trained weights and on the same batch, one small SGD step is taken with
each method, and the Decrease Ratio of the activations that the layer selects there is
compared (MEmeL Lemma 3.3 and Table 4):

`(1 - φ(z')/φ(z)) · 100 %`, z' the same neuron on the same input after the step

φ of both is taken with the statistics as they were before the step, so that only the
activation moves. A selected activation is an extreme one and extreme values fall back
whatever is done to them, while training on a batch also fits that batch; what counts is
therefore the difference from plain training, paired on the batch.

**The unit of clustering.** All activations of a batch move by one common update, so
they are no independent observations: the batch is the unit within a network, and its
mean paired difference counts as one. All batches of a network share its weights and its
statistics, so for a statement about networks in general the network (the training seed)
is the unit, and its mean over batches counts as one.
"""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_mono as km

pytestmark = pytest.mark.one_backend

SEEDS = range(5)
BATCH = 64
EPOCHS = 4
TRAINING_RATE = 0.05
SMALL_RATE = 0.001
STANDARD_ERRORS = 3


class Method(NamedTuple):
    """Whether the layer has started to inhibit, and with which strength."""

    inhibits: bool
    strength: float


# Before `start_step` the layer only observes: that is plain training.
PLAIN = Method(False, 1.0)
METHODS = {"rd": Method(True, 1.0), "naive (b)": Method(True, -1.0)}


class Trained:
    """A network trained plainly, and the state that every single step starts from."""

    def __init__(self, seed):
        keras.utils.set_random_seed(seed)
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.data))
        order = order[: len(order) // BATCH * BATCH]
        self.x = (digits.data[order] / 16).astype("float32")
        self.y = digits.target[order].astype("int32")
        self.hidden = keras.layers.Dense(256, activation="relu")
        self.inhibition = km.layers.MonosemanticInhibition(
            start_step=EPOCHS * len(order) // BATCH
        )
        self.model = keras.Sequential(
            [keras.Input((64,)), self.hidden, self.inhibition, keras.layers.Dense(10)]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.SGD(TRAINING_RATE), loss)
        self.model.fit(self.x, self.y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        self.model.optimizer.learning_rate = SMALL_RATE
        self.weights = self.model.get_weights()

    def batches(self):
        for start in range(0, len(self.x), BATCH):
            yield self.x[start : start + BATCH], self.y[start : start + BATCH]

    def activations(self, x):
        return keras.ops.convert_to_numpy(self.hidden(x))

    def after_a_step(self, x, y, method):
        """Activations of the batch after one step on it; everything is put back."""
        self.inhibition.strength = method.strength
        if not method.inhibits:
            self.inhibition.step.assign(0)
        self.model.train_on_batch(x, y)
        z = self.activations(x)
        self.model.set_weights(self.weights)
        return z

    def decrease_ratios(self, x, y, methods):
        """In percent, method by method, one for each activation selected on the batch.

        The variance cancels in φ(z')/φ(z); what is left are the squared distances from
        the mean before the step.
        """
        z = self.activations(x)
        selected = keras.ops.convert_to_numpy(self.inhibition.selected(z))
        assert (selected.sum(axis=1) >= 1).all()
        mean = keras.ops.convert_to_numpy(self.inhibition.mean).astype("float64")
        ratios = []
        for method in methods:
            moved = self.after_a_step(x, y, method)
            distance = (moved - mean)[selected] / (z - mean)[selected]
            ratios.append(100 * (1 - np.square(distance)))
        return ratios


def mean_and_t(units):
    """Mean of independent units, and how many standard errors it lies from 0."""
    mean, error = np.mean(units), np.std(units, ddof=1) / np.sqrt(len(units))
    return mean, mean / error


@pytest.fixture(scope="module")
def differences():
    """Method name to an array (seeds, batches): mean paired difference from plain."""
    found = []
    for seed in SEEDS:
        trained = Trained(seed)
        found.append([])
        for x, y in trained.batches():
            plain, *others = trained.decrease_ratios(x, y, [PLAIN, *METHODS.values()])
            found[-1].append([np.mean(other - plain) for other in others])
    return dict(zip(METHODS, np.moveaxis(found, -1, 0), strict=True))


def report(name, values):
    """What was measured; pytest shows it where an assertion fails."""
    print(f"Decrease Ratio, {name} minus plain, by {keras.config.backend()}")
    for seed, batches in zip(SEEDS, values, strict=True):
        print("seed {}: {:+.5f} %, t = {:+.1f}".format(seed, *mean_and_t(batches)))
    pooled = mean_and_t(values.mean(axis=1))
    print("over networks: {:+.5f} %, t = {:+.1f}".format(*pooled))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sign"), [("rd", 1), ("naive (b)", -1)])
def test_the_claim_holds_in_every_network(differences, name, sign):
    report(name, differences[name])
    for batches in differences[name]:
        assert sign * mean_and_t(batches)[1] > STANDARD_ERRORS


@pytest.mark.parametrize(("name", "sign"), [("rd", 1), ("naive (b)", -1)])
def test_the_claim_holds_over_networks(differences, name, sign):
    report(name, differences[name])
    networks = differences[name].mean(axis=1)
    assert sign * mean_and_t(networks)[1] > STANDARD_ERRORS
