"""A training loop in plain TensorFlow: `tf.function` with a `GradientTape`.

pip install tensorflow-cpu scikit-learn
KERAS_BACKEND=tensorflow python examples/native/tensorflow_gradient_tape.py
"""

import keras
import tensorflow as tf
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
    optimizer = keras.optimizers.Adam(1e-3)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = loss_of(y, logits)
            total = loss + sum(model.losses)  # what layers add to the loss
        gradients = tape.gradient(total, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    data = tf.data.Dataset.from_tensor_slices((x[:1500], y[:1500]))
    for epoch in range(EPOCHS):
        for batch in data.shuffle(1500, seed=epoch).batch(BATCH):
            loss = step(*batch)
        print(f"epoch {epoch + 1}: loss {float(loss):.3f}")

    right = tf.argmax(model(x[1500:]), -1) == y[1500:]
    print(f"test accuracy {float(tf.reduce_mean(tf.cast(right, 'float32'))):.2f}")
    print(km.status(model))


if __name__ == "__main__":
    main()
