"""Models with a `call` of their own are errors; attributes that hold parts follow."""

import collections
import dataclasses

import keras
import numpy as np
import pytest
from packaging.version import Version

import keras_mono as km
from support.existing import LAYER, data, dense, ours, predict, same

Parts = collections.namedtuple("Parts", "first rest")


@dataclasses.dataclass(frozen=True)
class Config:
    part: keras.Model
    units: int


def part(name="inner"):
    z = keras.Input((8,))
    return keras.Model(z, dense(8, "deep")(z), name=name)


class OwnCall(keras.Model):
    """Functional, and its graph is never run."""

    def __init__(self):
        inputs, inner = keras.Input((8,)), part()
        super().__init__(inputs, dense(2, "head")(inner(inputs)), name="own")
        self.inner = inner

    def call(self, x, training=None):
        return self.inner(x, training=training)


class OwnChain(keras.Sequential):
    def call(self, x):
        return self.layers[0](x)


class Around(OwnCall):
    def call(self, x, training=None):
        return 2.0 * super(OwnCall, self).call(x, training=training)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="vae")
        self.encoder, self.decoder = part("enc"), [part("dec")]
        self.head = dense(2, "head")

    def call(self, x):
        return self.head(self.decoder[0](self.encoder(x)))


def own_chain():
    return OwnChain([keras.Input((8,)), dense(8, "deep"), dense(2, "head")])


@pytest.mark.one_backend
@pytest.mark.parametrize("make", [OwnCall, own_chain])
def test_a_graph_that_the_call_does_not_run_is_an_error(make):
    for run in (lambda m: km.insert_after(m, "*deep", LAYER), km.strip):
        with pytest.raises(ValueError, match="`call` of its own beside its graph is"):
            run(make())


def test_its_parts_are_not_reached_from_a_model_around_it():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, OwnCall()(inputs))
    with pytest.raises(ValueError, match="inside a block"):
        km.insert_after(model, "own/inner", LAYER)
    assert len(ours(km.insert_after(model, "own", LAYER))) == 1


@pytest.mark.skipif(
    Version(keras.__version__) < Version("3.15"),
    reason="Keras hands a class with a constructor of its own a name",
)
def test_a_call_that_comes_to_the_graph_is_kept():
    model = Around()
    big = km.insert_after(model, "inner/deep", LAYER)
    assert type(big) is Around
    assert same(predict(big, data()), predict(model, data()))
    big.compile("sgd", "mse")
    big.fit(data(), np.ones((24, 2)), batch_size=8, verbose=0)
    assert [row["steps"] for row in km.status(big)] == [3]


@pytest.mark.one_backend
def test_errors_on_a_subclassed_model_name_the_models_that_it_holds():
    names = r"enc, dec; pass one of them, and put .* is first called\."
    with pytest.raises(ValueError, match=rf"{names} Call the layer there yourself"):
        km.insert_after(Subclassed(), "head", LAYER)
    with pytest.raises(ValueError, match=rf"{names} At inference .*load the weights"):
        km.strip(Subclassed())
    big = km.insert_after(Subclassed().encoder, "deep", LAYER)
    assert len(ours(big)) == 1


CONTAINERS = {
    "tuple": lambda x: (x, 1),
    "list": lambda x: [x, 1],
    "namedtuple": lambda x: Parts(x, 1),
    "set": lambda x: {x},
    "frozenset": lambda x: frozenset([x]),
    "deque": lambda x: collections.deque([x], 5),
    "dict": lambda x: {"a": [x]},
    "ordered": lambda x: collections.OrderedDict(a=x, b=1),
    "default": lambda x: collections.defaultdict(list, a=[x]),
    "dataclass": lambda x: Config(x, 3),
    "nested": lambda x: {"a": Parts([x], {"b": (x,)})},
}


class Holding(keras.Model):
    def __init__(self, contain):
        inputs, inner = keras.Input((8,)), part()
        super().__init__(inputs, inner(inputs))
        self.held = contain(inner)


def parts_in(value):
    if isinstance(value, keras.Model):
        return [value]
    if isinstance(value, Config):
        return [value.part]
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, collections.abc.Iterable):
        return [x for v in value for x in parts_in(v)]
    return []


@pytest.mark.parametrize("contain", CONTAINERS.values(), ids=CONTAINERS)
def test_attributes_hold_the_new_parts(contain):
    model = Holding(contain)
    old = model.get_layer("inner")
    count = len(model._flatten_layers())
    big = km.insert_after(model, "inner/deep", LAYER)
    new = big.get_layer("inner")
    assert new is not old
    found = parts_in(big.held)
    assert found
    assert all(x is new for x in found)
    assert type(big.held) is type(model.held)
    assert all(x is old for x in parts_in(model.held))
    assert len(model._flatten_layers()) == count  # nothing was put into the old model
    assert not ours(km.strip(big))
    assert [x for x in parts_in(km.strip(big).held) if ours(x)] == []
