"""One training step of a layer, compiled as Keras' `fit` compiles it."""

from collections.abc import Callable

import keras
import numpy as np

BACKEND = keras.backend.backend()


def mode(jit: bool) -> str:
    return {
        "jax": "jax.jit, state passed in and out and donated",
        "torch": "eager",
        "tensorflow": "tf.function, batch size unknown, "
        + ("XLA" if jit else "no XLA (Keras' default on a CPU)"),
    }[BACKEND]


def batches(shape: tuple, seed: int, count: int = 3) -> list:
    """Pairs of a random input and a random upstream gradient."""
    draw = np.random.default_rng(seed)
    return [
        tuple(
            keras.ops.convert_to_tensor(draw.normal(size=shape).astype("float32"))
            for _ in range(2)
        )
        for _ in range(count)
    ]


class Step:
    """Forward and backward pass with `training=True`; state carries over.

    Calling it waits for the output, the gradients of the input and of the trainable
    weights, and the new state, then drops them; `keep=True` returns output and gradient
    of the input.
    """

    def __init__(self, layer: Callable, jit: bool) -> None:
        self.layer = layer
        self.jit = jit
        self.calls = 0
        self._run = None

    def __call__(self, x, dy, keep: bool = False):
        if self._run is None:
            make = {"jax": self._jax, "torch": self._torch}
            self._run = make.get(BACKEND, self._tensorflow)(x)
        self.calls += 1
        y, dx = self._run(x, dy)
        return (y, dx) if keep else None

    def state(self, name: str) -> float:
        """A weight of the layer by name."""
        names = [v.name for v in self.layer.non_trainable_variables]
        return float(self._weights()[names.index(name)])

    def _weights(self) -> list:
        if BACKEND == "jax":
            return self._state
        return [
            keras.ops.convert_to_numpy(v) for v in self.layer.non_trainable_variables
        ]

    def _jax(self, x) -> Callable:
        import jax

        self.layer.build(x.shape)
        trainable = [v.value for v in self.layer.trainable_variables]
        # Copies: donated buffers are gone after a step, the layer's own must stay.
        self._state = [v.value + 0 for v in self.layer.non_trainable_variables]

        def step(state, trainable, x, dy):
            def forward(trainable, x):
                return self.layer.stateless_call(trainable, state, x, training=True)

            y, backward, state = jax.vjp(forward, trainable, x, has_aux=True)
            return state, y, backward(dy)

        compiled = jax.jit(step, donate_argnums=0)
        self.lowered = lambda x, dy: compiled.lower(self._state, trainable, x, dy)

        def run(x, dy):
            results = compiled(self._state, trainable, x, dy)
            self._state, y, (_, dx) = jax.block_until_ready(results)
            return y, dx

        return run

    def _torch(self, x) -> Callable:
        import torch

        if isinstance(self.layer, keras.layers.Layer):
            self.layer.build(tuple(x.shape))
            weights = [v.value for v in self.layer.trainable_variables]
            forward = lambda x: self.layer(x, training=True)  # noqa: E731
        else:
            weights, forward = [], self.layer

        def run(x, dy):
            x = x.detach().requires_grad_()
            y = forward(x)
            return y.detach(), torch.autograd.grad(y, [x, *weights], dy)[0]

        return run

    def _tensorflow(self, x) -> Callable:
        import tensorflow as tf

        self.layer.build(tuple(x.shape))
        weights = [v.value for v in self.layer.trainable_variables]
        spec = tf.TensorSpec([None, *x.shape[1:]], "float32")

        @tf.function(input_signature=[spec, spec], jit_compile=self.jit)
        def step(x, dy):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = self.layer(x, training=True)
            return y, tape.gradient(y, [x, *weights], dy)

        def run(x, dy):
            y, gradients = step(x, dy)
            return y, gradients[0]

        return run
