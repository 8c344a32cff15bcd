"""A training loop in plain JAX with optax: `stateless_call` under `jit` and `grad`.

pip install jax optax scikit-learn
KERAS_BACKEND=jax python examples/native/jax_optax.py
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
from sklearn.datasets import load_digits

import keras_mono as km

EPOCHS, BATCH = 10, 50


def main() -> None:
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            km.layers.MonosemanticInhibition(name="inhibition"),
            keras.layers.Dense(64, activation="relu"),
            km.layers.MonosemanticPenalty(form="phi", name="penalty"),
            keras.layers.Dense(10),
        ]
    )
    optimizer = optax.adam(1e-3)

    def loss_of(trainable, rest, x, y):
        # With return_losses the model also gives what its layers add to the loss.
        logits, rest, added = model.stateless_call(
            trainable, rest, x, training=True, return_losses=True
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss + sum(added), (rest, loss)

    @jax.jit
    def step(trainable, rest, moments, x, y):
        gradient = jax.grad(loss_of, has_aux=True)
        gradients, (rest, loss) = gradient(trainable, rest, x, y)
        updates, moments = optimizer.update(gradients, moments, trainable)
        return optax.apply_updates(trainable, updates), rest, moments, loss

    trainable = [v.value for v in model.trainable_variables]
    rest = [v.value for v in model.non_trainable_variables]  # statistics are here
    moments = optimizer.init(trainable)
    rng = np.random.default_rng(0)
    for epoch in range(EPOCHS):
        for rows in rng.permutation(1500).reshape(-1, BATCH):
            trainable, rest, moments, loss = step(
                trainable, rest, moments, x[rows], y[rows]
            )
        print(f"epoch {epoch + 1}: loss {float(loss):.3f}")

    # Back into the model, for `status`, saving and serving.
    for variables, values in (
        (model.trainable_variables, trainable),
        (model.non_trainable_variables, rest),
    ):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    right = jnp.argmax(model(x[1500:]), -1) == y[1500:]
    print(f"test accuracy {float(right.mean()):.2f}")
    print(km.status(model))


if __name__ == "__main__":
    main()
