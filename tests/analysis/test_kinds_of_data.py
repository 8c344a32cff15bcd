"""What `fit` takes, the analysis and the calibration take too."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted

A = km.analysis
BACKEND = keras.config.backend()
BATCH = 100  # of 700 planted inputs


def model_of():
    n = len(planted.TRUTH)
    layers = [keras.Input((n,)), km.layers.MonosemanticScale(name="ours")]
    return keras.Sequential([*layers, keras.layers.Dense(4, name="more")])


def planted_data():
    z, labels = planted.activations()
    return z.astype("float32"), np.unique(labels, return_inverse=True)[1]


class Dataset(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    @property
    def num_batches(self):
        return len(self.arrays[0]) // BATCH

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return tuple(a[part] for a in self.arrays)


class Endless(Dataset):
    num_batches = None

    def __getitem__(self, index):
        return super().__getitem__(index % 7)


def generator(*arrays):
    for start in range(0, len(arrays[0]), BATCH):
        yield tuple(a[start : start + BATCH] for a in arrays)


def loader(*arrays):
    from torch.utils.data import DataLoader, TensorDataset

    tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
    return DataLoader(TensorDataset(*tensors), batch_size=BATCH)


def loader_of_unknown_length(*arrays):
    from torch.utils.data import DataLoader, IterableDataset

    class Batches(IterableDataset):
        def __iter__(self):
            return generator(*arrays)

    return DataLoader(Batches(), batch_size=None)


def tf_dataset(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)


KINDS = [Dataset, generator, lambda *a: list(generator(*a)).__iter__()]
KINDS += {"torch": [loader], "tensorflow": [tf_dataset], "jax": []}[BACKEND]


def parts_of_a_batch(number):
    x, y = planted_data()
    return (x, y, np.ones(len(x), "float32"))[:number]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_they_give_what_arrays_give(kind, number):
    x, y = planted_data()
    model, twin = model_of(), model_of()
    twin.set_weights(model.get_weights())
    expected = A.activations(model, x, ["ours", "more"])
    found = A.activations(model, kind(*parts_of_a_batch(number)), ["ours", "more"])
    for name, z in expected.items():
        np.testing.assert_allclose(found[name], z, rtol=1e-5, atol=1e-6)
    km.calibrate(model, x, batch_size=BATCH)
    km.calibrate(twin, kind(*parts_of_a_batch(number)), batch_size=9)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    whole = A.profile(model, x, y, ["more"], verbose=0)["more"]
    parts = A.profile(model, kind(*parts_of_a_batch(number)), y, ["more"], verbose=0)[
        "more"
    ]
    np.testing.assert_allclose(parts.scores.phi, whole.scores.phi, rtol=1e-4)


UNSIZED = [loader_of_unknown_length] if BACKEND == "torch" else []


@pytest.mark.parametrize("kind", [*KINDS, *UNSIZED])
def test_labels_may_come_with_the_data(kind):
    x, y = planted_data()
    order = np.random.default_rng(0).permutation(len(x))
    model = model_of()
    whole = A.profile(model, x, y, ["more"], verbose=0)["more"].scores
    for targets in (y[order], y[order, None]):
        data = kind(x[order], targets)
        found = A.profile(model, data, None, ["more"], verbose=0)["more"].scores
        np.testing.assert_array_equal(found.features, whole.features)
        np.testing.assert_allclose(found.phi, whole.phi, rtol=1e-4)


def test_a_stated_number_of_batches():
    x, y = planted_data()
    model = model_of()
    for data in (x, generator(x, y), Endless(x, y), Dataset(x)):
        found = A.activations(model, data, ["ours"], batch_size=BATCH, steps=3)["ours"]
        np.testing.assert_array_equal(found, x[:300])
    km.calibrate(model, Endless(x, y), steps=9)
    assert km.status(model)[0]["steps"] == 9
    source = generator(x)
    A.activations(model, source, ["ours"], steps=2)
    np.testing.assert_array_equal(next(source)[0], x[200:300])  # and no more is taken
    found = A.profile(model, Endless(x), y, ["more"], steps=3, verbose=0)["more"]
    assert found.inputs == 300


def test_data_that_end_too_early_or_never():
    x, y = planted_data()
    model = model_of()
    with pytest.raises(ValueError, match=r"must give 9 batches\. Received: 7"):
        A.activations(model, generator(x), ["ours"], steps=9)
    used = generator(x)
    list(used)
    with pytest.raises(ValueError, match=r"at least 1 batches\. Received: 0"):
        km.calibrate(model, used)
    for use in (
        lambda data: km.calibrate(model, data),
        lambda data: A.activations(model, data, ["ours"]),
        lambda data: A.profile(model, data, y, ["ours"], verbose=0),
        lambda data: A.report(model, data, y, ["ours"], verbose=0),
    ):
        with pytest.raises(ValueError, match="never ends"):
            use(Endless(x))


@pytest.mark.one_backend
def test_labels_beside_the_inputs_of_a_sequential_model():
    """It would take the first array, and say nothing."""
    x, y = planted_data()
    model = model_of()
    model.compile("sgd", "mse")
    monitor = km.callbacks.MonosemanticityMonitor((x, y))
    for use in (
        lambda: km.calibrate(model, (x, y)),
        lambda: A.activations(model, [x, y], ["ours"]),
        lambda: A.profile(model, {"x": x, "y": y}, y, ["ours"], verbose=0),
        lambda: model.fit(x, x[:, :4], callbacks=[monitor], verbose=0),
    ):
        with pytest.raises(ValueError, match=r"takes one input\. Received: 2 arrays"):
            use()
    assert km.status(model)[0]["steps"] == 0
    A.activations(model, [x], ["ours"])


@pytest.mark.one_backend
def test_labels_that_do_not_fit_the_data():
    x, y = planted_data()
    model = model_of()
    for labels in (y[:650], np.append(y, 0)):
        with pytest.raises(
            ValueError, match=r"one entry per sample of `data`.*70[01]|650"
        ):
            A.profile(model, generator(x), labels, ["more"], verbose=0)
    for data in (x, generator(x)):
        with pytest.raises(ValueError, match="labels are the targets y"):
            A.profile(model, data, None, ["more"], verbose=0)
    with pytest.raises(ValueError, match="700 samples and 650 targets"):
        A.profile(model, iter([(x, y[:650])]), None, ["more"], verbose=0)


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", [*KINDS[:2], *KINDS[3:], Endless])
def test_a_report(kind, tmp_path):
    x, y = planted_data()
    out, steps = tmp_path / "a.html", 7 if kind is Endless else None
    labels = y if kind is Dataset else None
    data = kind(x, y)
    A.report(model_of(), data, labels, ["more"], out, verbose=0, steps=steps)
    assert "700 inputs of 4 features" in out.read_text("utf-8")


def optional_model():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), optional=True, name="b")

    class AddsWhatIsThere(keras.layers.Layer):
        def call(self, a, b=None):
            return a if b is None else a + b

        def compute_output_shape(self, a_shape, b_shape=None):  # noqa: ARG002
            return a_shape

    y = keras.layers.Dense(4, name="hidden")(AddsWhatIsThere()(a, b))
    y = km.layers.MonosemanticInhibition(start_step=2, name="ours")(y)
    return keras.Model({"a": a, "b": b}, y)


@pytest.mark.one_backend
@pytest.mark.slow
def test_optional_inputs(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    model, labels = optional_model(), np.arange(40) % 2
    data = {"a": x, "b": None}
    expected = model.predict(data, batch_size=10, verbose=0)
    found = A.activations(model, data, ["hidden"], batch_size=7)["hidden"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    km.calibrate(model, data, batch_size=10)
    assert km.status(model)[0]["steps"] == 4
    assert A.profile(model, data, labels, ["ours"], verbose=0)["ours"].inputs == 40
    A.report(model, data, labels, ["ours"], tmp_path / "a.html", verbose=0)
    monitor = km.callbacks.MonosemanticityMonitor(data)
    model.compile("sgd", "mse")
    history = model.fit(data, np.zeros((40, 4)), verbose=0, callbacks=[monitor])
    assert np.isfinite(history.history["ours_ms_top1"]).all()
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    A.decrease_ratio(model, "ours", data, np.zeros((40, 4)), batch_size=20)
    A.ablation(model, "hidden", [0], data, np.zeros((40, 4)), labels)
    with pytest.raises(ValueError, match="same number of samples"):
        km.calibrate(model, {"a": None, "b": None})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tensors_are_data_and_labels(dtype):
    x, y = planted_data()
    tensor = keras.ops.cast(x, dtype)
    model = model_of()
    numbers = keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
    expected = A.activations(model, numbers, ["more"])["more"]
    if BACKEND == "torch":
        tensor = tensor.clone().requires_grad_()
    found = A.activations(model, tensor, ["more"])["more"]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)
    labels = keras.ops.cast(y, dtype)
    found = A.profile(model, tensor, labels, ["more"], verbose=0)["more"]
    assert found.scores.features.tolist() == [0, 1, 2, 3]
    km.calibrate(model, tensor)
    assert km.status(model)[0]["steps"] == 22
