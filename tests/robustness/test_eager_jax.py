"""On JAX nothing is compiled anew at each step outside a compiled function."""

import keras
import numpy as np
import pytest

import keras_mono as km

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="the others compile nothing there"
)


@pytest.fixture
def compilations():
    """A list that grows by one with each compilation."""
    import jax

    seen = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    jax.jit(lambda x: x + 1.0)(0.0)
    assert seen, "JAX reports compilations under another name"
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["scale", "top-1", "top-2", "threshold", "penalty"])
def test_a_step_compiles_nothing(compilations, kind, masked):
    layer = {
        "scale": lambda: km.layers.MonosemanticScale(),
        "top-1": lambda: km.layers.MonosemanticInhibition(start_step=1),
        "top-2": lambda: km.layers.MonosemanticInhibition(2, start_step=1),
        "threshold": lambda: km.layers.MonosemanticInhibition(0.1, start_step=1),
        "penalty": lambda: km.layers.MonosemanticPenalty(start_step=1),
    }[kind]()
    z = np.random.default_rng(0).normal(size=(6, 16, 5)).astype("float32")
    mask = np.arange(16) < 12 if masked else None
    for part in z[:3]:
        layer(part, training=True, mask=mask)
    compilations.clear()
    for part in z[3:]:
        layer(part, training=True, mask=mask)
    assert not compilations
