"""A training step with the moving threshold sorts nothing; one with top-k shows it."""

import re

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import value_and_gradient

BACKEND = keras.config.backend()
SORT = re.compile(r"\b(sort|topk\w*|top_k|top-k|kthvalue)\b")


def operations(layer, z):
    """What a training step executes, as lower-case text."""
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[BACKEND](layer, z)


def _jax(layer, z):
    import jax

    state = [v.value for v in layer.non_trainable_variables]

    def step(x, state):
        def loss(x):
            y, after, added = layer.stateless_call(
                [], state, x, training=True, return_losses=True
            )
            return keras.ops.sum(y * y) + sum(added), after

        return jax.grad(loss, has_aux=True)(x)

    return jax.jit(step).lower(z, state).compile().as_text().lower()


def _tensorflow(layer, z):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y * y) + tf.add_n([0.0, *layer.losses])
        return tape.gradient(loss, x)

    graph = step.get_concrete_function(tf.constant(z)).graph.as_graph_def()
    nodes = [n for part in (graph, *graph.library.function) for n in _nodes(part)]
    return " ".join(node.op for node in nodes).lower()


def _nodes(graph):
    return graph.node if hasattr(graph, "node") else graph.node_def


def _torch(layer, z):
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as done:
        value_and_gradient(layer, z, z)
    return " ".join(event.key for event in done.key_averages()).lower()


def trained(layer):
    rng = np.random.default_rng(0)
    for _ in range(5):  # past the first batch, which looks for its own quantile
        z = rng.normal(size=(8, 16, 32)).astype("float32")
        value_and_gradient(layer, z, z)
    return layer, z


THRESHOLD = [
    lambda: km.layers.MonosemanticInhibition(0.02, axis=-1, start_step=2),
    lambda: km.layers.MonosemanticPenalty(start_step=2),
]


@pytest.mark.parametrize("make", THRESHOLD)
def test_the_threshold_step_holds_no_sort(make):
    found = operations(*trained(make()))
    assert len(found) > 100
    assert not SORT.findall(found)


def test_a_top_k_step_is_seen_to_sort():
    selector = km.selectors.TopK(3, per="position")
    layer = km.layers.MonosemanticInhibition(selector, axis=-1, start_step=2)
    if BACKEND != "torch":  # bisection serves rows this short
        layer = km.layers.MonosemanticInhibition(3, axis=-1, start_step=2)
    found = operations(*trained(layer))
    assert SORT.findall(found)
