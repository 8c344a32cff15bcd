"""Train on global batches shared by some replicas; write down what the layers know.

    python program.py FOLDER --replicas N [--rank R] [--whole]
                             [--model-parallel | --workers] [--only learns]

Twice: with fixed weights, and learning by the penalty, or `--only` one of them. Each
replica writes FOLDER/fixed-RANK.npz and FOLDER/learns-RANK.npz; and with both, what the
layers change in the gradient of its part of one batch to FOLDER/gradients-RANK.npz.
TensorFlow with `--workers` has one process a replica (`--rank`), and so has PyTorch, by
forks of one that has imported everything; else one process has them all.
"""

import argparse
import functools
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--model-parallel", action="store_true", help="JAX")
    parser.add_argument("--workers", action="store_true", help="TensorFlow, TF_CONFIG")
    parser.add_argument(
        "--only", dest="names", nargs=1, default=["fixed", "learns"], metavar="NAME"
    )
    parser.add_argument("--whole", action="store_true", help="no short last batch")
    return parser.parse_args()


def main():
    given = arguments()
    backend = os.environ["KERAS_BACKEND"]
    {"jax": jax, "tensorflow": tensorflow, "torch": torch}[backend](given)


def fit(made, given, learns):
    import numpy as np

    from support import shared_batches

    tau = shared_batches.Tau()
    batches = shared_batches.batches(hard=not learns, short=not given.whole)
    x, padding, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    made.fit(
        {"x": x, "padding": padding},
        y,
        batch_size=shared_batches.ROWS,
        shuffle=False,
        verbose=0,
        callbacks=[tau],
    )
    return tau.steps


def save(given, name, rank, found):
    import numpy as np

    np.savez(given.folder / f"{name}-{rank}.npz", **found)


def jax(given):
    flag = f"--xla_force_host_platform_device_count={given.replicas}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    from keras import distribution

    from support import shared_batches

    devices = distribution.list_devices()
    assert len(devices) == given.replicas
    if given.model_parallel:
        shape = (given.replicas // 2, 2)
        mesh = distribution.DeviceMesh(shape, ["batch", "model"], devices)
        layout = distribution.LayoutMap(mesh)
        layout["hidden/kernel"] = (None, "model")
        layout["top/(mean|variance|count)"] = (None, "model")
        distribution.set_distribution(
            distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
        )
    elif given.replicas > 1:
        distribution.set_distribution(distribution.DataParallel(devices=devices))
    for name in given.names:
        made = shared_batches.model(name == "learns")
        tau = fit(made, given, name == "learns")
        kernel = made.get_layer("hidden").kernel.value
        assert len(kernel.sharding.device_set) == given.replicas
        save(given, name, 0, shared_batches.knowledge(made, tau))
    if "fixed" in given.names:
        save(given, "gradients", 0, jax_gradients(given))


def jax_gradients(given):
    import jax

    from support import shared_batches

    devices = jax.sharding.Mesh(jax.devices(), "batch")
    rows = jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec("batch"))

    def objective(z, variables, padding, behind):
        outputs, after, losses = layer.stateless_call(
            [], variables, z, padding_mask=padding, training=True, return_losses=True
        )
        return (behind * outputs).sum() + sum(losses), after

    found = {}
    for name, layer in shared_batches.gradient_layers().items():
        step = jax.jit(jax.grad(objective, has_aux=True))
        for batch in shared_batches.gradient_batches():
            z, padding, behind = (jax.device_put(part, rows) for part in batch)
            if not layer.built:
                layer.build(z.shape)
                variables = [v.value for v in layer.non_trainable_variables]
            gradient, variables = step(z, variables, padding, behind)
        assert len(gradient.sharding.device_set) == given.replicas
        found[name] = gradient - behind
    return found


def tensorflow(given):
    import tensorflow as tf

    from support import shared_batches

    if given.workers:
        tensorflow_workers(given)
        return
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * given.replicas
    tf.config.set_logical_device_configuration(cpu, parts)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(len(parts))])
    for name in given.names:
        with strategy.scope():
            made = shared_batches.model(name == "learns")
        tau = fit(made, given, name == "learns")
        for rank in range(given.replicas):
            copies = functools.partial(of_replica, rank=rank)
            found = shared_batches.knowledge(made, tau, copies)
            save(given, name, rank, found)
    for rank, found in enumerate(tensorflow_gradients(strategy, given)):
        save(given, "gradients", rank, found)


def tensorflow_gradients(strategy, given):
    import tensorflow as tf

    from support import shared_batches

    replicas = range(given.replicas)
    found = [{} for _ in replicas]
    with strategy.scope():
        layers = shared_batches.gradient_layers()
        for layer in layers.values():
            layer.build((None, shared_batches.UNITS))

    def step_of_all(layer):
        def step(z, padding, behind):
            with tf.GradientTape() as tape:
                tape.watch(z)
                of = layer, z, padding, behind, given.replicas
                loss = shared_batches.objective(*of)
            return tape.gradient(loss, z) - behind

        return tf.function(lambda *parts: strategy.run(step, args=parts))

    for name, layer in layers.items():
        together = step_of_all(layer)
        for batch in shared_batches.gradient_batches():
            cuts = [*[0, 9][: given.replicas], len(batch[0])]

            def part(context, batch=batch, cuts=cuts):
                rank = context.replica_id_in_sync_group
                mine = slice(cuts[rank], cuts[rank + 1])
                return tuple(tf.constant(each[mine]) for each in batch)

            distribute = strategy.experimental_distribute_values_from_function
            gradients = together(*distribute(part))
        for rank in replicas:
            of_each = strategy.experimental_local_results(gradients)
            found[rank][name] = of_each[rank].numpy()
    return found


def tensorflow_workers(given):
    """A loop of its own: Keras' `fit` does not run there, plain models neither."""
    import tensorflow as tf

    from support import shared_batches

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == given.replicas
    for name in given.names:
        with strategy.scope():
            made = shared_batches.model(name == "learns")
        tau = tensorflow_loop(made, strategy, given, name == "learns")
        save(given, name, given.rank, shared_batches.knowledge(made, tau))
    try:
        plain_fit(strategy)
    except ValueError as error:
        (given.folder / f"error-{given.rank}.txt").write_text(str(error))


def tensorflow_loop(made, strategy, given, learns):
    import tensorflow as tf

    from support import shared_batches

    def step(batch):
        with tf.GradientTape() as tape:
            made(batch, training=True)
            loss = sum(made.losses) / given.replicas
        if learns:
            variables = made.trainable_variables
            replica = tf.distribute.get_replica_context()
            gradients = replica.all_reduce("SUM", tape.gradient(loss, variables))
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.assign_sub(shared_batches.RATE * gradient)

    @tf.function(reduce_retracing=True)
    def step_of_all(batch):
        strategy.run(step, args=(batch,))

    tau = []
    for x, padding, _ in shared_batches.batches(hard=not learns, short=not given.whole):
        mine = slice(given.rank, None, given.replicas)
        step_of_all({"x": tf.constant(x[mine]), "padding": tf.constant(padding[mine])})
        tau.append(shared_batches.selector_states(made))
    return tau


def plain_fit(strategy):
    import keras
    import numpy as np

    with strategy.scope():
        plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        plain.compile("sgd", "mse")
    plain.fit(np.zeros((8, 2)), np.zeros((8, 1)), batch_size=4, verbose=0)


def of_replica(variable, rank):
    """TensorFlow's replicas have a copy each; reading gives the first."""
    return variable.value.values[rank].numpy()


def torch(given):
    import torch

    from support import shared_batches  # noqa: F401

    torch.set_num_threads(1)
    if given.replicas == 1:
        torch_replica(0, given)
        return
    start = torch.multiprocessing.start_processes
    start(torch_replica, (given,), given.replicas, start_method="fork")


def torch_replica(rank, given):
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from support import shared_batches

    given.rank = rank
    if given.replicas > 1:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{given.folder / 'store'}",
            rank=rank,
            world_size=given.replicas,
        )
    for name in given.names:
        made = module = shared_batches.model(name == "learns")
        if given.replicas > 1 and name == "learns":
            module = DistributedDataParallel(made)
        tau = torch_loop(made, module, given, name == "learns")
        save(given, name, given.rank, shared_batches.knowledge(made, tau))
    save(given, "gradients", given.rank, torch_gradients(given))


def torch_gradients(given):
    import torch

    from support import shared_batches

    found = {}
    for name, layer in shared_batches.gradient_layers().items():
        for batch in shared_batches.gradient_batches():
            cuts = [*[0, 9, 9][: given.replicas], len(batch[0])]  # one has none
            mine = slice(cuts[given.rank], cuts[given.rank + 1])
            z, padding, behind = (torch.tensor(part[mine]) for part in batch)
            of = layer, z.requires_grad_(), padding, behind, given.replicas
            (gradient,) = torch.autograd.grad(shared_batches.objective(*of), z)
        found[name] = gradient - behind
    return found


def torch_loop(made, module, given, learns):
    import numpy as np
    import torch

    from support import shared_batches

    random, tau = np.random.default_rng(8), []
    batches = shared_batches.batches(hard=not learns, short=not given.whole)
    for x, padding, _ in batches:
        # Uneven parts, and now and then none at all.
        cuts = np.sort(random.integers(0, len(x) + 1, given.replicas - 1))
        part = slice(*[0, *cuts, len(x)][given.rank : given.rank + 2])
        batch = {"x": torch.tensor(x[part]), "padding": torch.tensor(padding[part])}
        output = module(batch, training=True)
        if learns:
            (0.0 * output.sum() + sum(made.losses)).backward()
            with torch.no_grad():
                for variable in made.trainable_variables:
                    variable.assign_sub(shared_batches.RATE * variable.value.grad)
            made.zero_grad()
        tau.append(shared_batches.selector_states(made))
    return tau


if __name__ == "__main__":
    main()
