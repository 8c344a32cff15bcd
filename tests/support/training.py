"""One training call of a layer with the gradient of its input, on any backend."""

import weakref

import keras
import numpy as np


def value_and_gradient(layer, z, upstream, **arguments):
    """NumPy output and input gradient of `layer(z, training=True)`; state moves."""
    arguments = {"training": True, **arguments}
    z, upstream = np.asarray(z, "float32"), np.asarray(upstream, "float32")
    if not layer.built:
        layer.build(z.shape)
    return _BY_BACKEND[keras.backend.backend()](layer, z, upstream, arguments)


def numbers(x):
    """A NumPy copy of a tensor or variable."""
    return np.array(keras.ops.convert_to_numpy(x))


def _jax(layer, z, upstream, arguments):
    variables = layer.non_trainable_variables
    mask, training = arguments.get("mask"), arguments["training"]
    step = _compiled(layer, training)
    out, gradient, state = step([v.value for v in variables], z, upstream, mask)
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)
    return np.array(out), np.array(gradient)


_STEPS = weakref.WeakKeyDictionary()


def _compiled(layer, training):
    """A call of `layer` and its gradient: compiled, a stream takes a third as long."""
    import jax

    variables = layer.non_trainable_variables

    def step(values, z, upstream, mask):
        masked = {} if mask is None else {"mask": mask}

        def call(x):
            # `layer.stateless_call` would leave out the cast to the compute dtype.
            pairs = zip(variables, values, strict=True)
            with keras.StatelessScope(list(pairs)) as scope:
                out = layer(x, training=training, **masked)
            return out, [scope.get_current_value(v) for v in variables]

        out, pull, state = jax.vjp(call, z, has_aux=True)
        return out, pull(upstream.astype(out.dtype))[0], state

    if not variables:  # a function of a test, called once
        return step
    steps = _STEPS.setdefault(layer, {})
    key = repr((layer.get_config(), layer.trainable, training))
    return steps.setdefault(key, jax.jit(step))


def _tensorflow(layer, z, upstream, arguments):
    import tensorflow as tf

    x = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = layer(x, **arguments)
    gradient = tape.gradient(out, x, tf.cast(upstream, out.dtype))
    return out.numpy(), gradient.numpy()


def _torch(layer, z, upstream, arguments):
    import torch

    x = torch.tensor(z, requires_grad=True)
    out = layer(x, **arguments)
    out.backward(torch.tensor(upstream).to(out))
    return numbers(out), numbers(x.grad)


_BY_BACKEND = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
