"""A model with its own `train_step`, as Keras' guides write it for each backend."""

import keras


def _tensorflow(model, data):
    import tensorflow as tf

    x, y = data
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=y, y_pred=model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply(gradients, model.trainable_variables)
    return {"loss": loss}


def _torch(model, data):
    import torch

    x, y = data
    model.zero_grad()
    loss = model.compute_loss(y=y, y_pred=model(x, training=True))
    loss.backward()
    with torch.no_grad():
        gradients = [v.value.grad for v in model.trainable_variables]
        model.optimizer.apply(gradients, model.trainable_variables)
    return {"loss": loss}


def _jax(model, state, data):
    import jax

    trainable, others, optimizer, metrics = state
    x, y = data

    def loss_of(trainable, others):
        prediction, others, added = model.stateless_call(
            trainable, others, x, training=True, return_losses=True
        )
        loss = keras.ops.mean(keras.losses.get(model.loss)(y, prediction))
        return loss + sum(added), others

    gradient_of = jax.value_and_grad(loss_of, has_aux=True)
    (loss, others), gradients = gradient_of(trainable, others)
    trainable, optimizer = model.optimizer.stateless_apply(
        optimizer, gradients, trainable
    )
    return {"loss": loss}, (trainable, others, optimizer, metrics)


class CustomStep(keras.Model):
    """Marks that its own step ran in `own_steps`: at least once, when traced."""

    own_steps = 0

    def train_step(self, *arguments):
        self.own_steps = self.own_steps + 1
        steps = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}
        return steps[keras.config.backend()](self, *arguments)
