"""The statistics of many devices are those of one device on the same global batches."""

import contextlib
import json
import socket
from pathlib import Path

import keras
import numpy as np
import pytest

from support import forked_runs
from support.forked_runs import Run
from support.shared_batches import KERNELS

PROGRAM = Path(__file__).with_name("program.py")
BACKEND = keras.config.backend()
# JAX refuses a batch that does not divide over the devices.
WHOLE = ["--whole"] if BACKEND == "jax" else []


@pytest.fixture(scope="module")
def forks():
    with forked_runs.Forks() as made:
        yield made


def start(forks, folder, replicas, *options):
    """What the processes of a run end with."""
    folder.mkdir()
    ports = free_ports(replicas) if "--workers" in options else []
    ranks = range(replicas) if ports else [0]
    given = [str(folder), f"--replicas={replicas}", *WHOLE, *options]
    return forks.run(
        *(
            Run(PROGRAM, [*given, f"--rank={rank}"], variables=of_worker(rank, ports))
            for rank in ranks
        )
    )


def of_worker(rank, ports):
    """What TensorFlow's workers find each other by."""
    if not ports:
        return {}
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    task = {"type": "worker", "index": rank}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def free_ports(number):
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def run(forks, folder, replicas, *options):
    """What each replica knows at the end, with fixed weights and with learning ones."""
    for status, printed in start(forks, folder, replicas, *options):
        assert status == 0, printed
    found = {}
    every = ["fixed", "learns", "gradients"]
    for name in ["learns"] if "--only=learns" in options else every:
        files = sorted(folder.glob(f"{name}-*.npz"))
        assert len(files) == (1 if BACKEND == "jax" else replicas), files
        found[name] = [dict(np.load(file)) for file in files]
    return found


@pytest.fixture(scope="module")
def one(forks, tmp_path_factory):
    """What one device knows."""
    found = run(forks, tmp_path_factory.mktemp("distribution") / "one", 1)
    return {name: knowledge for name, (knowledge,) in found.items()}


REPLICAS = {"jax": [4], "tensorflow": [2], "torch": [3]}


@pytest.fixture(scope="module", params=REPLICAS[BACKEND])
def many(request, forks, tmp_path_factory):
    """What each of several replicas knows."""
    folder = tmp_path_factory.mktemp("distribution") / "many"
    return run(forks, folder, request.param)


def check(of_replicas, alone, rtol):
    for knowledge in of_replicas:
        assert knowledge.keys() == alone.keys()
        for name, expected in alone.items():
            np.testing.assert_allclose(
                knowledge[name], expected, rtol=rtol, atol=1e-6, err_msg=name
            )


def test_what_one_device_knows_is_worth_comparing(one):
    for name in ("top", "follows", "penalty", "scale"):
        assert one["fixed"][f"{name} non_finite"] == 2 * 16
        assert one["fixed"][f"{name} step"] == 20
    for knowledge in (one["fixed"], one["learns"]):
        assert len(np.unique(knowledge["tau"][:, :, 0])) > 20
        assert (knowledge["tau"][3:, :, 1] > 0).mean() > 0.9
    for kernel in KERNELS:
        assert np.abs(one["learns"][kernel] - one["fixed"][kernel]).max() > 1e-3


@pytest.mark.support(
    "statistics and τ equal those of one device",
    jax="yes: `DataParallel`, 4 devices",
    tensorflow="yes: `MirroredStrategy`, 2 replicas",
    torch="yes: `DistributedDataParallel`, 3 processes",
)
@pytest.mark.support("a last batch that does not divide over the devices", jax=None)
@pytest.mark.support("a device without a sample of a batch", jax=None, tensorflow=None)
def test_with_fixed_weights(one, many):
    check(many["fixed"], one["fixed"], rtol=1e-5)


@pytest.mark.support("the penalty's gradient equals that of one device")
def test_gradient_of_the_penalty(one, many):
    """Weights that learn differ, and with them everything else, if it is not global."""
    check(many["learns"], one["learns"], rtol=1e-4)


FORMS = ("phi", "log_phi", "relative", "l2e", "scale_invariant")


@pytest.mark.support("one step's gradient at a layer's input, in float32, within 1e-5")
@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_one_step(one, many, form):
    """What a layer changes in it, relative to its largest entry."""
    alone = one["gradients"][form]
    shared = np.concatenate([found[form] for found in many["gradients"]])
    assert (np.abs(alone).max(axis=0) > 0).sum() >= 12
    assert np.abs(shared - alone).max() <= 1e-5 * np.abs(alone).max()


@pytest.mark.support("the replicas' state is equal to the bit", jax=None)
@pytest.mark.skipif(BACKEND == "jax", reason="an array is one thing on JAX")
def test_replicas_agree_to_the_bit(many):
    for first, *others in (many["fixed"], many["learns"]):
        for other in others:
            for name, value in first.items():
                np.testing.assert_array_equal(other[name], value, err_msg=name)


@pytest.mark.support("`keras.distribution.ModelParallel`")
@pytest.mark.skipif(BACKEND != "jax", reason="JAX has it")
def test_model_parallel(one, forks, tmp_path):
    found = run(forks, tmp_path / "many", 4, "--model-parallel", "--only=learns")
    check(found["learns"], one["learns"], rtol=1e-4)


@pytest.mark.support(
    "a last batch that does not divide over the devices", jax="Keras' error"
)
@pytest.mark.skipif(BACKEND != "jax", reason="the others take it")
def test_keras_refuses_a_batch_that_does_not_divide(forks, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.WHOLE", [])
    ((status, printed),) = start(forks, tmp_path / "uneven", 4)
    assert status != 0
    assert "divisible" in printed


@pytest.mark.support(
    "`MultiWorkerMirroredStrategy`",
    tensorflow="yes, in a loop of your own (with `fit`: Keras' error)",
)
@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow has it")
def test_several_workers(one, forks, tmp_path):
    found = run(forks, tmp_path / "workers", 2, "--workers", "--only=learns")
    check(found["learns"], one["learns"], rtol=1e-4)
    # Keras' own `fit` fails there for a model without our layers, too.
    error = (tmp_path / "workers" / "error-0.txt").read_text()
    assert "PerReplica" in error
