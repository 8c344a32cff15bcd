"""fer: which of seven emotions a face shows; a small Keras network of convolutions."""

import keras
import numpy as np

import keras_mono as km
from gallery.drawn_faces import EXPRESSION, Face, drawn, random_face
from gallery.experiment import Case, penalty
from gallery.packages import file_of
from gallery.panel import balanced

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
LAYERS = ("activation_5", "activation_6", "add_4")
WHERE = "add_4"
FACES, TRAINED = 400, 96
EACH, LEAST = 60, 30  # faces of an emotion


def network() -> keras.Model:
    """As the package has it, without the weight decay that two layers bring along."""
    path = file_of("fer", "data", "emotion_model.hdf5")
    model = keras.models.load_model(path, compile=False)
    for weight in model.weights:
        weight.regularizer = None
    return model


def prepared(pictures: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 255 as the network takes them."""
    return (pictures[..., None] / 255 - 0.5) * 2


def case() -> tuple[Case, dict]:
    """Faces drawn at random; the features are what the network takes them for."""
    rng = np.random.default_rng(0)
    faces = [random_face(rng) for _ in range(FACES + TRAINED)]
    pictures = np.stack([drawn(face) for face in faces])
    x, model = prepared(pictures), network()
    found = np.array(EMOTIONS)[model.predict(x, batch_size=64, verbose=0).argmax(-1)]
    labels, faces = found[:FACES], faces[:FACES]
    of = {e: [faces[i] for i in np.flatnonzero(labels == e)] for e in EMOTIONS}
    checks = {
        "faces": len(faces),
        "taken for": {emotion: len(found) for emotion, found in of.items()},
        "drawn": {emotion: _mean(found) for emotion, found in of.items()},
    }

    def entries(z):
        """A channel's mean over the picture, as the network's last layer takes it."""
        return balanced(z.mean(axis=(1, 2)), labels, EACH, LEAST)

    result = Case(
        model,
        x[:FACES],
        dict.fromkeys(LAYERS, entries),
        WHERE,
        x[FACES:],
        lambda model: km.insert_after(model, WHERE, penalty(0.1)),
        "categorical_crossentropy",
        rate=3e-4,
        batch=32,
        epochs=3,
        answer=lambda y: y.argmax(-1),
    )
    return result, checks


def _mean(faces: list[Face]) -> dict[str, float] | None:
    """How those faces are drawn, on average."""
    if not faces:
        return None
    return {n: float(np.mean([getattr(f, n) for f in faces])) for n in EXPRESSION}
