"""One training step of a layer, compiled as Keras' `fit` compiles it."""

from collections.abc import Callable

import devices
import keras
import numpy as np

BACKEND = keras.backend.backend()


def mode(jit: bool) -> str:
    return {
        "jax": "jax.jit, state passed in and out and donated",
        "torch": "torch.compile" if jit else "eager",
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
    """Forward and backward pass of the output and of the losses; state carries over.

    Calling it waits for the output, the gradients of the input and of the trainable
    weights, and the new state, then drops them; `keep=True` returns output and gradient
    of the input. `wait=False` only begins, where there is an accelerator.
    """

    def __init__(self, layer: Callable, jit: bool) -> None:
        self.layer = layer
        self.jit = jit
        self.calls = 0
        self._run = None

    def __call__(self, x, dy, keep: bool = False, wait: bool = True):
        if self._run is None:
            make = {"jax": self._jax, "torch": self._torch}
            self._run = make.get(BACKEND, self._tensorflow)(x)
        self.calls += 1
        y, dx, state = self._run(x, dy)
        if wait:
            devices.wait((y, dx, state))
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
                y, state_after, losses = self.layer.stateless_call(
                    trainable, state, x, training=True, return_losses=True
                )
                return (y, sum(losses, 0.0)), state_after

            (y, loss), backward, state = jax.vjp(forward, trainable, x, has_aux=True)
            return state, y, backward((dy, jax.numpy.ones_like(loss)))

        compiled = jax.jit(step, donate_argnums=0)
        self.lowered = lambda x, dy: compiled.lower(self._state, trainable, x, dy)

        def run(x, dy):
            self._state, y, (_, dx) = compiled(self._state, trainable, x, dy)
            return y, dx, self._state

        return run

    def _torch(self, x) -> Callable:
        import torch

        if isinstance(self.layer, keras.layers.Layer):
            self.layer.build(tuple(x.shape))
            if self.jit:
                self.layer.call = torch.compile(self.layer.call)
            weights = [v.value for v in self.layer.trainable_variables]
            forward = lambda x: self.layer(x, training=True)  # noqa: E731
        else:
            weights, forward = [], self.layer

        def run(x, dy):
            x = x.detach().requires_grad_()
            y = forward(x)
            outputs = [y, *getattr(self.layer, "losses", ())]
            upstream = [dy, *(torch.ones_like(loss) for loss in outputs[1:])]
            gradients = torch.autograd.grad(outputs, [x, *weights], upstream)
            return y.detach(), gradients[0], None

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
                losses = self.layer.losses
            upstream = [dy, *map(tf.ones_like, losses)]
            return y, tape.gradient([y, *losses], [x, *weights], upstream)

        def run(x, dy):
            y, gradients = step(x, dy)
            return y, gradients[0], None

        return run
